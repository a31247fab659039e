"""Read committed and read atomic against their definitions, tried over every order, and by example."""

from __future__ import annotations

from itertools import islice, permutations
from random import Random

import pytest

from checkers.causal import causal
from checkers.causal.levels import Level, isolation
from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Findings
from checkers.transactions.tests.brute import histories
from checkers.verdict import Validity
from histories.builder import h

VALID, INVALID = Validity.VALID, Validity.INVALID
LEVELS: tuple[Level, ...] = ("read-committed", "read-atomic")


def holds(trace: Trace, level: Level) -> bool:
    """By the axioms of Biswas and Enea, for some order."""
    if trace.baseless:
        return False
    nodes = range(len(trace))
    before = {(a, b) for s in trace.sessions for i, b in enumerate(s) for a in s[:i]}
    reads = {(writer, node) for node in nodes for _, writer in trace.reads[node] if writer != INITIAL}
    demands: set[tuple[int, int]] = set()
    for node in nodes:
        for place, (key, writer) in enumerate(trace.reads[node]):
            for other in nodes:
                if other == writer or key not in trace.writes[other]:
                    continue
                if level == "read-committed":
                    is_seen = any(by == other for _, by in trace.reads[node][:place])
                else:
                    is_seen = (other, node) in before | reads
                if is_seen:
                    demands.add((other, writer))
    for order in permutations(nodes):
        at = {node: place for place, node in enumerate(order)} | {INITIAL: -1}
        if all(at[a] < at[b] for a, b in before | reads | demands):
            return True
    return False


def compare(seed: int, count: int) -> dict[Level, int]:
    """How often each level was broken. Fails at a wrong verdict."""
    broken = dict.fromkeys(LEVELS, 0)
    for number, history in enumerate(islice(histories(Random(seed), "rw-register"), count)):
        trace = trace_of(history)
        found = {}
        for level in LEVELS:
            verdict = isolation(history, level)
            found[level] = verdict.validity
            if verdict.validity is Validity.UNKNOWN:
                assert holds(trace, level)
                continue
            assert (verdict.validity is VALID) == holds(trace, level), (seed, number, level, verdict.reason)
            broken[level] += verdict.validity is INVALID
        assert found["read-atomic"] is not VALID or found["read-committed"] is not INVALID
        assert causal(history).validity is not VALID or found["read-atomic"] is not INVALID
    return broken


def test_they_agree_with_their_definitions() -> None:
    broken = compare(3, 500)
    assert broken["read-atomic"] > broken["read-committed"] > 10


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_they_agree_with_their_definitions_in_many() -> None:
    compare(4, 30_000)


def txn(process: int, steps: str) -> str:
    told = [f'["{s[0]}","{s[1]}",{"null" if s[2:] == "-" else s[2:]}]' for s in steps.split()]
    return f"p{process} invoke txn [{','.join(told)}] | p{process} ok txn [{','.join(told)}] | "


@pytest.mark.parametrize(
    ("text", "committed", "atomic", "words"),
    [
        (txn(0, "wx1 wy1") + txn(1, "rx1 ry1"), VALID, VALID, ""),
        (txn(0, "wx1 wy1") + txn(1, "rx- ry1"), VALID, INVALID, "op 3 came after op 1, which wrote 'x', and read what was there"),
        (txn(0, "wx1 wy1") + txn(1, "ry1 rx-"), INVALID, INVALID, "before any write"),
        (txn(0, "wx1") + txn(0, "wx2 wy2") + txn(1, "rx1 ry2"), VALID, INVALID, "process 0 ran it before"),
        (txn(0, "wx1") + txn(0, "wx2 wy2") + txn(1, "ry2 rx1"), INVALID, INVALID, "read 'x' of the other"),
        (txn(0, "wx1") + txn(0, "rx-"), VALID, INVALID, "before any write"),
        (txn(0, "wx1") + txn(0, "wx2") + txn(1, "rx1 rx2"), VALID, INVALID, "read 'x' of the other"),
        (txn(0, "wx1") + txn(0, "wx2") + txn(1, "rx2 rx1"), INVALID, INVALID, "read 'x' of the other"),
        (txn(0, "wx1 wx2") + txn(1, "rx1"), INVALID, INVALID, "its writer overwrote"),
        (txn(1, "rx7"), INVALID, INVALID, "nobody wrote"),
        (txn(0, "rx1 wy1") + txn(1, "ry1 wx1"), INVALID, INVALID, "was read"),
    ],
)  # fmt: skip
def test_by_example(text: str, committed: Validity, atomic: Validity, words: str) -> None:
    history = h(text)
    found = {level: isolation(history, level) for level in LEVELS}
    assert [found[level].validity for level in LEVELS] == [committed, atomic]
    assert words in found["read-atomic"].reason
    if atomic is INVALID:
        for finding in found["read-atomic"].evidence_of(Findings).findings:
            assert finding.ops
            assert all(note.index < len(history) for note in finding.ops)
