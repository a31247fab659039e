"""Durability of registers and counters: what was acknowledged is in the end there, or was overwritten by something later or
concurrent.

Which of two concurrent writes stays is the store's choice. So a register's write is lost only where a final read returned what
was there at first, or a write that is a cause of the lost one (checkers.causal.order). A counter's final value lies between
what was acknowledged and what was attempted.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from checkers.causal.check import described, out_of_reach
from checkers.causal.order import CausalCycle, Clock, Writes, clocks, precedes
from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.eventual.convergence import unfinished
from checkers.eventual.settled import Settled, settled
from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.relaxed.identity import SHOWN, Misfit, identity
from checkers.verdict import Verdict
from histories.history import History
from histories.loaded import paused_gc
from histories.op import NEMESIS, Op

CHECKER = "durability"


@paused_gc()
def registers_kept(history: History, context: object = None) -> Verdict:
    """No final read of a register is older than an acknowledged write, and none came from nowhere.

    Ops: `read`, `write`, `cas` of distinct values. UNKNOWN where a value that was read has several writers, causes form a
    cycle, or a key with updates was not read in the end. stats: writes, lost.
    """
    try:
        trace = trace_of(history)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), CHECKER)
    if trace.baseless:
        findings = tuple(
            Finding(each.words, key=each.key, ops=(OpNote(trace.op_index[each.node]),))
            for each in trace.baseless[:SHOWN]
        )
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(findings))
    if reason := out_of_reach(trace):
        return Verdict.unknown(reason, CHECKER)
    try:
        clock = clocks(trace)
    except CausalCycle:
        return Verdict.unknown("what is older cannot be told: causes form a cycle", CHECKER)
    end = settled(history)
    acknowledged = {op.index for op in history if op.type == "ok"}
    doubted = {node for node, index in enumerate(trace.op_index) if index not in acknowledged}
    findings = tuple(_lost(trace, clock, end, doubted))
    stats = {"writes": sum(map(len, trace.writes)), "lost": len(findings)}
    if findings:
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(findings[:SHOWN]), stats=stats)
    if reason := unfinished(end):
        return Verdict.unknown(reason, CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _lost(trace: Trace, clock: list[Clock], end: Settled, doubted: Collection[int]) -> list[Finding]:
    """doubted: transactions of unknown outcome, which may be gone although somebody read what they wrote."""
    nodes = {index: node for node, index in enumerate(trace.op_index)}
    numbers = {identity(key): number for number, key in enumerate(trace.keys)}
    writes = Writes(trace, doubted)
    everything = [len(of_session) for of_session in trace.sessions]
    found = []
    for name, final in end.finals.items():
        key = numbers[name]
        for where, done in sorted(final.last.items()):
            reader = nodes[done.index]
            for read_key, writer in trace.reads[reader]:
                if read_key != key:
                    continue
                for newer in writes.latest(key, everything, -1, 0):
                    if writer == INITIAL or precedes(trace, clock, writer, newer):
                        found.append(_finding(trace, key, where, reader, writer, newer))
                        break
    return found


def _finding(trace: Trace, key: int, where: str, reader: int, writer: int, newer: int) -> Finding:
    read, lost = trace.value(reader, key, is_write=False), trace.value(newer, key, is_write=True)
    name, index = trace.keys[key], trace.op_index
    older = (
        "which was there before any write"
        if writer == INITIAL
        else "which its client had seen, or those it had read from"
    )
    notes = [OpNote(index[node], described(trace, node)) for node in (writer, newer, reader) if node != INITIAL]
    edges = (Edge(index[writer], index[newer], "is a cause of it"),) if writer != INITIAL else ()
    return Finding(
        f"the write of {lost!r} to key {name!r} is lost: the final read on {where or 'some node'} returned {read!r}, {older}",
        key=name,
        ops=tuple(notes),
        edges=edges,
        nodes=(where,) if where else (),
    )


def counters_kept(history: History, context: object = None) -> Verdict:
    """Each final read of a counter lies between the sum of what was acknowledged and the sum with what may have happened.

    Ops: `add` n (or `increment`), `read`. UNKNOWN where a counter that was added to was not read in the end. stats: counters,
    wrong.
    """
    sums: dict[Hashable, tuple[int, int]] = {}
    pending: dict[Any, Op] = {}
    for op in history:
        if op.process == NEMESIS:
            continue
        if op.type == "invoke":
            pending[op.process] = op
            continue
        invoked = pending.pop(op.process)
        if (misfit := _count(sums, invoked, op.type)) is not None:
            return Verdict.unknown(misfit, CHECKER)
    for invoked in pending.values():
        if (misfit := _count(sums, invoked, "info")) is not None:
            return Verdict.unknown(misfit, CHECKER)
    end = settled(history)
    findings = []
    for name, final in end.finals.items():
        least, most = sums.get(name, (0, 0))
        for where, done in sorted(final.last.items()):
            if not isinstance(done.value, int) or isinstance(done.value, bool):
                return Verdict.unknown(
                    f"op {done.index}: a counter reads as an integer, not {done.value!r:.100}", CHECKER
                )
            if not least <= done.value <= most:
                bounds = str(least) if least == most else f"{least} to {most}"
                words = f"key {final.key!r} reads {done.value} in the end on {where or 'some node'}; {bounds} was added"
                findings.append(
                    Finding(words, key=final.key, ops=(OpNote(done.index),), nodes=(where,) if where else ())
                )
    stats = {"counters": len(sums), "wrong": len(findings)}
    if findings:
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(tuple(findings[:SHOWN])), stats=stats)
    if reason := unfinished(end):
        return Verdict.unknown(reason, CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _count(sums: dict[Hashable, tuple[int, int]], invoked: Op, ended: str) -> str | None:
    """Counts an addition into the least and the greatest sum of its key. Returns what is wrong with the op."""
    if invoked.f == "read":
        return None
    amount = 1 if invoked.f == "increment" and invoked.value is None else invoked.value
    if invoked.f not in ("add", "increment") or not isinstance(amount, int) or isinstance(amount, bool):
        return f"op {invoked.index}: it knows add with an integer, increment and read, not {invoked.f} {invoked.value!r:.100}"
    least, most = sums.get(identity(invoked.key), (0, 0))
    if ended == "ok":
        least, most = least + amount, most + amount
    elif ended == "info":
        least, most = least + min(amount, 0), most + max(amount, 0)
    sums[identity(invoked.key)] = least, most
    return None
