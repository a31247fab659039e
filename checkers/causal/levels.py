"""Read committed and read atomic of sessions of transactions, exactly: as Biswas and Enea (OOPSLA 2019) and AWDIT (PLDI 2025) do.

Both ask for one order of all transactions that keeps sessions, and reads behind what they saw. Read committed: whoever saw
something of a transaction does not later in the same transaction read an older value of what that one wrote. Read atomic: whoever
saw something of a transaction, or comes after it in its session, reads no older value of what it wrote. Adya's PL-2 asks for less
than this read committed: docs/eventual.md.

Time: as AWDIT, O(n^1.5) for n steps: of a reader and one that it read from, the keys of whichever has fewer are looked at.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.relaxed.identity import Misfit
from checkers.transactions.components import components
from checkers.verdict import Verdict
from histories.history import History

Level = Literal["read-committed", "read-atomic"]
FINDINGS_MAX = 20

_Reason = tuple[str, int, int]
"""(kind: session, reads or behind; key, -1 for sessions; the reader that shows it, -1 where the two alone do)."""


def isolation(history: History, level: Level, *, initial: Any = None, nil_reads: bool = False) -> Verdict:
    """Whether reads, writes, cas and txn keep the level.

    initial: what each key holds at first. nil_reads: reads of None say nothing. UNKNOWN where a value that was read has several
    writers, and where no read succeeded. stats: sessions, transactions, reads.
    """
    try:
        trace = trace_of(history, initial, nil_reads=nil_reads)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), level)
    stats: dict[str, Any] = {"sessions": len(trace.sessions), "transactions": len(trace), "reads": trace.reads_count}
    findings = violations(trace, level)
    if findings:
        return Verdict.invalid(findings[0].words, level, evidence=Findings(tuple(findings)), stats=stats)
    if not trace.reads_count:
        return Verdict.unknown("nothing was checked: no read succeeded", level, stats=stats)
    return Verdict.valid(level, stats=stats)


def violations(trace: Trace, level: Level) -> list[Finding]:
    """What is wrong, at most FINDINGS_MAX; empty: an order exists."""
    if trace.baseless:
        return [
            Finding(each.words, key=each.key, ops=(OpNote(trace.op_index[each.node]),))
            for each in trace.baseless[:FINDINGS_MAX]
        ]
    edges: dict[tuple[int, int], _Reason] = {}
    for source, target, reason in _edges(trace, level):
        if target == INITIAL:
            return [_before_the_first(trace, source, reason)]
        edges.setdefault((source, target), reason)
    if not edges:
        return []
    sources = np.array([source for source, _ in edges], dtype=np.int32)
    targets = np.array([target for _, target in edges], dtype=np.int32)
    labels = components(len(trace), sources, targets).tolist()
    out: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        if labels[source] == labels[target]:
            out[source].append(target)
    first_of = {labels[node]: node for node in reversed(out)}
    return [_cycle(trace, out, start, edges) for start in list(first_of.values())[:FINDINGS_MAX]]


def _edges(trace: Trace, level: Level) -> Iterator[tuple[int, int, _Reason]]:
    """Each before the other, and why."""
    writes = [frozenset(keys) for keys in trace.writes]
    for of_session in trace.sessions:
        last: dict[int, int] = {}
        for place, node in enumerate(of_session):
            if place:
                yield of_session[place - 1], node, ("session", -1, -1)
            for key, writer in trace.reads[node]:
                if writer != INITIAL:
                    yield writer, node, ("reads", key, -1)
                if level == "read-atomic" and key in last and last[key] != writer:
                    yield last[key], writer, ("behind", key, node)
            for key in trace.writes[node]:
                last[key] = node
    for node in range(len(trace)):
        yield from _seen_and_older(trace, node, writes, level)


def _seen_and_older(
    trace: Trace, node: int, writes: list[frozenset[int]], level: Level
) -> Iterator[tuple[int, int, _Reason]]:
    """What this reader shows: a transaction that it saw something of, before the writer of what it read instead."""
    reads = trace.reads[node]
    if len(reads) < 2:
        return
    places: dict[int, list[int]] = defaultdict(list)
    first_seen: dict[int, int] = {}
    for place, (key, writer) in enumerate(reads):
        places[key].append(place)
        if writer != INITIAL:
            first_seen.setdefault(writer, place)
    for seen, since in first_seen.items():
        fewer, more = (places, writes[seen]) if len(places) < len(writes[seen]) else (writes[seen], places)
        for key in fewer:
            if key not in more:
                continue
            for place in places[key]:
                writer = reads[place][1]
                if writer == seen or (level == "read-committed" and place <= since):
                    continue
                yield seen, writer, ("behind", key, node)
                # A later read of the key is behind this one, where it is another's.
                if level == "read-committed" and writer != INITIAL:
                    break


def _words(trace: Trace, source: int, target: int, reason: _Reason) -> str:
    kind, key, reader = reason
    if kind == "session":
        return f"{trace.name(source)} ran it before"
    name = repr(trace.keys[key])
    if kind == "reads":
        return f"its {name} was read"
    return f"op {trace.op_index[reader]} came after it, and read {name} of the other"


def _before_the_first(trace: Trace, seen: int, reason: _Reason) -> Finding:
    _, key, reader = reason
    words = (
        f"op {trace.op_index[reader]} came after op {trace.op_index[seen]}, which wrote {trace.keys[key]!r}, and read what was "
        "there before any write"
    )
    edges = (Edge(trace.op_index[seen], trace.op_index[reader], "it came after"),)
    return Finding(
        words, key=trace.keys[key], ops=(OpNote(trace.op_index[seen]), OpNote(trace.op_index[reader])), edges=edges
    )


def _cycle(trace: Trace, out: dict[int, list[int]], start: int, edges: dict[tuple[int, int], _Reason]) -> Finding:
    """A shortest cycle through `start`, which is on one."""
    came: dict[int, int] = {}
    waiting = deque([start])
    while start not in came:
        node = waiting.popleft()
        for following in out[node]:
            if following not in came:
                came[following] = node
                waiting.append(following)
    path = [start, came[start]]
    while path[-1] != start:
        path.append(came[path[-1]])
    path.reverse()
    shown: list[Edge] = []
    sentences: list[str] = []
    for source, target in pairwise(path):
        why = _words(trace, source, target, edges[source, target])
        shown.append(Edge(trace.op_index[source], trace.op_index[target], why))
        sentences.append(f"op {trace.op_index[source]} comes before op {trace.op_index[target]}: {why}")
    readers = {edges[pair][2] for pair in pairwise(path)} - {-1}
    notes = [OpNote(trace.op_index[node]) for node in dict.fromkeys((*path, *sorted(readers)))]
    return Finding("; but ".join(["; ".join(sentences[:-1]), sentences[-1]]), ops=tuple(notes), edges=tuple(shown))
