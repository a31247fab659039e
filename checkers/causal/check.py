"""Causal consistency in its three strengths, by the bad patterns of Bouajjani, Enea, Guerraoui and Hamza (POPL 2017, §5).

`causal` is causal convergence (CCv): all clients can agree on one order of the writes. AWDIT, DBCop and Biswas and Enea (OOPSLA
2019) call the same thing causal consistency, also of transactions. `weak-causal` (CC) asks nothing of concurrent writes, and
`causal-memory` (CM; Ahamad et al. 1995) asks that each client can order them once and for all, each in its own way. CCv and CM
both imply CC, and neither implies the other. docs/decisions/causal-consistency-is-convergent.md says why the middle one has the
plain name.

Time, for k sessions and n transactions: O(n k log n) for CC and CCv, as in AWDIT (PLDI 2025); CM repeats that for each session
until nothing changes, O(n k) times at worst and a few times as a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from checkers.causal.columns import core
from checkers.causal.order import CausalCycle, Clock, Writes, clocks, precedes, topological
from checkers.causal.patterns import overwritten, unordered
from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.relaxed.identity import Misfit
from checkers.verdict import Verdict
from histories.history import History
from histories.loaded import paused_gc

Strength = Literal["weak-causal", "causal", "causal-memory"]

CLOCK_ENTRIES_MAX = 200_000_000
"""Transactions times sessions: about 2 GiB of clocks."""
FINDINGS_MAX = 20


@paused_gc()
def causal(
    history: History,
    strength: Strength = "causal",
    *,
    initial: Any = None,
    nil_reads: bool = False,
    time_limit_s: float | None = None,
) -> Verdict:
    """Whether reads, writes, cas and txn keep causal consistency of that strength.

    initial: what each key holds at first. nil_reads: reads of None say nothing. UNKNOWN where a value that was read has several
    writers, where no read succeeded, and beyond the budget. stats: sessions, transactions, reads, core ("native" or
    "pure": which twin looked for overwritten reads).
    """
    deadline = Deadline(time_limit_s)
    try:
        trace = trace_of(history, initial, nil_reads=nil_reads)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), strength)
    stats: dict[str, Any] = {
        "sessions": len(trace.sessions),
        "transactions": len(trace),
        "reads": trace.reads_count,
        "core": core(trace),
    }
    if reason := out_of_reach(trace):
        return Verdict.unknown(reason, strength, stats=stats)
    try:
        findings = violations(trace, strength, deadline)
    except OutOfTime:
        return Verdict.unknown(f"not decided within {time_limit_s:g} s", strength, stats=stats)
    if findings:
        return Verdict.invalid(findings[0].words, strength, evidence=Findings(tuple(findings)), stats=stats)
    if not trace.reads_count:
        return Verdict.unknown("nothing was checked: no read succeeded", strength, stats=stats)
    return Verdict.valid(strength, stats=stats)


def out_of_reach(trace: Trace) -> str:
    """Why the clocks of so large a history are not even tried; empty where they are."""
    entries = len(trace) * len(trace.sessions)
    if entries <= CLOCK_ENTRIES_MAX:
        return ""
    return (
        f"{len(trace):,} transactions of {len(trace.sessions):,} sessions need clocks of {entries:,} entries, "
        f"more than {CLOCK_ENTRIES_MAX:,}"
    )


def violations(trace: Trace, strength: Strength, deadline: Deadline | None = None) -> list[Finding]:
    """What is wrong, the plainest first, at most FINDINGS_MAX; empty: the trace keeps causal consistency of that strength. Raises
    OutOfTime."""
    deadline = deadline or Deadline()
    if trace.baseless:
        return [
            Finding(each.words, key=each.key, ops=(OpNote(trace.op_index[each.node]),))
            for each in trace.baseless[:FINDINGS_MAX]
        ]
    try:
        clock = clocks(trace)
    except CausalCycle as cycle:
        return [_cycle_found(trace, cycle.nodes, {})]
    deadline.require()
    found = _overwritten_reads(trace, clock)
    if not found and strength == "weak-causal":
        found = _read_twice(trace)
    if not found and strength == "causal":
        found = _diverging(trace, clock)
    elif not found and strength == "causal-memory":
        writes = Writes(trace)
        for session in range(len(trace.sessions)):
            found += _disordered_for(trace, clock, writes, session, deadline)
    return found[:FINDINGS_MAX]


def _read_twice(trace: Trace) -> list[Finding]:
    """Transactions that read two values of a key: at no place in an order are both there. The stronger ones find a cycle."""
    found: list[Finding] = []
    for node, reads in enumerate(trace.reads):
        if len(dict(reads)) == len(set(reads)):
            continue
        key = next(key for key, writer in reads if dict(reads)[key] != writer)
        values = " and ".join(dict.fromkeys(repr(s.value) for s in trace.steps[node] if s.key == trace.keys[key]))
        words = f"{trace.name(node)} read {values} of key {trace.keys[key]!r} in one transaction"
        found.append(Finding(words, key=trace.keys[key], ops=(OpNote(trace.op_index[node]),)))
    return found


def _overwritten_reads(trace: Trace, clock: list[Clock]) -> list[Finding]:
    """The patterns WriteCOInitRead and WriteCORead: a read of what a cause of the read had overwritten."""
    return [_overwritten(trace, *each) for each in overwritten(trace, clock, FINDINGS_MAX)]


def _overwritten(trace: Trace, node: int, key: int, writer: int, other: int) -> Finding:
    name, newer = trace.keys[key], trace.value(other, key, is_write=True)
    read = trace.value(node, key, is_write=False)
    of_key = "" if name is None else f" of key {name!r}"
    words = f"{trace.name(node)} read {read!r}{of_key}, although a cause of the read had written {newer!r}"
    ops = [OpNote(trace.op_index[other], f"writes {newer!r}"), OpNote(trace.op_index[node], f"reads {read!r}")]
    edges = [Edge(trace.op_index[other], trace.op_index[node], "is a cause of it")]
    if writer != INITIAL:
        ops.insert(0, OpNote(trace.op_index[writer], f"writes {read!r}"))
        edges.insert(0, Edge(trace.op_index[writer], trace.op_index[other], "is a cause of it"))
        words += f", which {'itself ' if trace.session[other] == trace.session[node] else ''}came after it"
    return Finding(words, key=name, ops=tuple(ops), edges=tuple(edges))


def _diverging(trace: Trace, clock: list[Clock]) -> list[Finding]:
    """The pattern CyclicCF: what the readers saw overwritten by what cannot be one order."""
    before: dict[int, list[int]] = {}
    readers: dict[tuple[int, int], tuple[int, int]] = {}
    for other, writer, node, key in unordered(trace, clock):
        readers[other, writer] = node, key
        before.setdefault(writer, []).append(other)
    try:
        topological(trace, before)
    except CausalCycle as cycle:
        return [_cycle_found(trace, cycle.nodes, readers)]
    return []


def _cycle_found(trace: Trace, nodes: Sequence[int], readers: dict[tuple[int, int], tuple[int, int]]) -> Finding:
    edges: list[Edge] = []
    ops: dict[int, OpNote] = {}
    words: list[str] = []
    for before, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        ops.setdefault(trace.op_index[before], OpNote(trace.op_index[before], described(trace, before)))
        if trace.session[before] == trace.session[after] and trace.seq[before] < trace.seq[after]:
            why = "the same client did it before"
        elif any(writer == before for _, writer in trace.reads[after]):
            why = "the later one read it"
        else:
            node, key = readers[before, after]
            name = trace.keys[key]
            saw = f"{trace.name(node)} read {trace.value(after, key, is_write=True)!r} of key {name!r}"
            why = f"{saw} when {trace.value(before, key, is_write=True)!r} was among the causes of the read"
            ops[trace.op_index[node]] = OpNote(trace.op_index[node], described(trace, node))
            words.append(why)
        edges.append(Edge(trace.op_index[before], trace.op_index[after], why))
    what = "no order of the writes agrees with all reads" if words else "causes form a cycle"
    first = f": {words[0]}" if words else f": {described(trace, nodes[0])} comes before itself"
    return Finding(f"{what}{first}", ops=tuple(ops.values()), edges=tuple(edges))


def described(trace: Trace, node: int) -> str:
    """What the transaction did, in a few words."""
    parts = [
        f"{'writes' if step.is_write else 'reads'} {step.value!r}"
        + ("" if step.key is None else f" of key {step.key!r}")
        for step in trace.steps[node][:4]
    ]
    return f"{trace.name(node)} {', '.join(parts)}{', ...' if len(trace.steps[node]) > 4 else ''}"


def _disordered_for(
    trace: Trace, clock: list[Clock], writes: Writes, session: int, deadline: Deadline
) -> list[Finding]:
    """The patterns WriteHBInitRead and CyclicHB for one session: whatever it saw overwritten by what, each write once.

    Happened-before of its last transaction contains that of its earlier ones, so that one suffices. `before` grows until no read of
    the session adds to it.
    """
    own = [node for node in trace.sessions[session] if trace.reads[node]]
    if not own:
        return []
    among = clock[trace.sessions[session][-1]]
    before: dict[int, list[int]] = {}
    readers: dict[tuple[int, int], tuple[int, int]] = {}
    current = clock
    while True:
        deadline.require()
        has_grown = False
        for node in own:
            for key, writer in trace.reads[node]:
                for other in writes.latest(key, current[node], session, trace.seq[node]):
                    if writer == INITIAL:
                        return [_overwritten(trace, node, key, writer, other)]
                    if other != writer and not precedes(trace, current, other, writer):
                        readers[other, writer] = node, key
                        before.setdefault(writer, []).append(other)
                        has_grown = True
        if not has_grown:
            return []
        try:
            current = clocks(trace, before, among)
        except CausalCycle as cycle:
            return [_cycle_found(trace, cycle.nodes, readers)]


__all__ = ["Strength", "causal", "described", "out_of_reach", "violations"]
