"""Long fork: two reads see two writes in opposite orders. Jepsen's long-fork (jepsen.tests.long-fork).

Ops: transactions (`txn`, or Jepsen's `read` and `write`) of micro-operations r and w; each key is written once, so that a key is
absent before and holds its value after. Parallel snapshot isolation allows a long fork; snapshot isolation does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.isolation.reading import Call, transactions_of, written_once
from checkers.verdict import Verdict
from histories.history import History
from histories.printing import quoted

CHECKER = "long-fork"
FINDINGS_MAX = 5


def long_fork(history: History) -> Verdict:
    """No two reads of two keys see one of them each. UNKNOWN when no two reads of the same keys succeeded.

    Raises UnfitTransactions for other ops, and for a key that is written twice.
    """
    transactions = transactions_of(history)
    writers = written_once(transactions)
    groups: dict[frozenset[Any], dict[frozenset[Any], Call]] = defaultdict(dict)
    reads = 0
    strange: list[Finding] = []
    for call, steps in transactions:
        own = {key for f, key, _ in steps if f != "r"}
        seen = {key: value for f, key, value in steps if f == "r" and key not in own}
        if call.type != "ok" or len(seen) < 2:
            continue
        reads += 1
        there = frozenset(key for key, value in seen.items() if value is not None)
        # Reads of the same state say the same: one of each is enough.
        groups[frozenset(seen)].setdefault(there, call)
        for key in there:
            if key not in writers or writers[key][1] != seen[key] or writers[key][0].type == "fail":
                words = f"op {call.index} read {quoted(seen[key])} in {quoted(key)}, which nobody wrote there"
                strange.append(Finding(f"thin-air-read: {words}", key=key, ops=(OpNote(call.index),)))
    forks = [fork for states in (*groups.values(), *_shared(groups)) for fork in _forks(states, writers)]
    stats = {"reads": reads, "groups": len(groups), "forks": len(forks)}
    findings = (*strange[:FINDINGS_MAX], *forks[:FINDINGS_MAX])
    if findings:
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(findings), stats=stats)
    if not any(len(states) > 1 for states in groups.values()):
        return Verdict.unknown(
            "nothing was tested: no two reads saw different states of the same keys", CHECKER, stats=stats
        )
    return Verdict.valid(CHECKER, stats=stats)


def _shared(groups: dict[frozenset[Any], dict[frozenset[Any], Call]]) -> Iterator[dict[frozenset[Any], Call]]:
    """What the reads of two different groups saw of the keys that both have, where these are two or more."""
    of_key: dict[Any, list[frozenset[Any]]] = defaultdict(list)
    met: set[tuple[frozenset[Any], frozenset[Any]]] = set()
    for keys in groups:
        for key in keys:
            for other in of_key[key]:
                common = keys & other
                if len(common) > 1 and (other, keys) not in met:
                    met.add((other, keys))
                    both = (*groups[other].items(), *groups[keys].items())
                    yield {there & common: call for there, call in both}
            of_key[key].append(keys)


def _forks(states: dict[frozenset[Any], Call], writers: dict[Any, tuple[Call, Any]]) -> list[Finding]:
    """Pairs of neighbours, ordered by size, of which neither holds the other. If all neighbours grow, all pairs do."""
    found: list[Finding] = []
    ordered = sorted(states, key=len)
    for smaller, larger in pairwise(ordered):
        if smaller <= larger:
            continue
        first, second = states[smaller], states[larger]
        x, y = min(smaller - larger, key=repr), min(larger - smaller, key=repr)
        wrote_x, wrote_y = writers[x][0].index if x in writers else None, writers[y][0].index if y in writers else None
        words = (
            f"long fork: op {first.index} read {quoted(x)} as written and {quoted(y)} as absent, "
            f"op {second.index} read {quoted(y)} as written and {quoted(x)} as absent"
        )
        edges = [
            *([Edge(wrote_x, first.index, f"it read {quoted(x)}")] if wrote_x is not None else []),
            *([Edge(first.index, wrote_y, f"it read {quoted(y)} as absent")] if wrote_y is not None else []),
            *([Edge(wrote_y, second.index, f"it read {quoted(y)}")] if wrote_y is not None else []),
            *([Edge(second.index, wrote_x, f"it read {quoted(x)} as absent")] if wrote_x is not None else []),
        ]
        found.append(Finding(words, key=x, ops=(OpNote(first.index), OpNote(second.index)), edges=tuple(edges)))
    return found
