"""Sequential consistency: one order of all operations, on all keys, that keeps each client's own (Lamport 1979).

Unlike linearizability it is not local: each key may be sequential and the whole not. Reads, writes and cas of distinct values
are decided by what must follow from each read (saturation.py), and by an order that keeps it (placing.py); everything else by
search (search.py). What neither decides within the budget is UNKNOWN, with how far it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.causal.check import described, out_of_reach
from checkers.causal.order import CausalCycle
from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.linearizability.check import fitting_entries
from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.linearizability.typed import alike_keys
from checkers.linearizability.wording import in_words
from checkers.models.maps import MultiRegister
from checkers.models.model import Model
from checkers.models.register import CasRegister, Register
from checkers.relaxed.identity import Misfit
from checkers.sequential.placing import place
from checkers.sequential.saturation import Contradiction, Saturation, Why
from checkers.sequential.search import search
from checkers.verdict import Verdict
from histories.history import History

CHECKER = "sequential"
STATES_MAX = 200_000
"""Dead ends and visited states where the caller sets no limit: some seconds."""


def sequential(
    history: History,
    model: Model,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
    nil_reads: bool = False,
) -> Verdict:
    """Whether all operations fit into one order that the model allows and that keeps each process's own.

    stats: decided_by (saturation, placing or search), transactions or operations, sessions. Raises UnfitHistory where the model
    does not know the ops.
    """
    deadline = Deadline(time_limit_s)
    states_max = STATES_MAX if states_max is None else states_max
    if alike := alike_keys(history):
        one, other = map(in_words, alike)
        return Verdict.unknown(
            f"keys {one} and {other} are not told apart: give each object a key of another name", CHECKER
        )
    if _are_registers(model, history):
        fitting_entries(history, model, nil_reads=nil_reads)
        initial = None if isinstance(model, MultiRegister) else model.initial()
        try:
            trace = trace_of(history, initial, nil_reads=nil_reads)
        except Misfit:
            pass  # Some value has several writers, or there are ops beside read, write and cas: the search takes them as they are.
        else:
            return of_trace(trace, states_max, deadline)
    return _searched(history, model, states_max, deadline, nil_reads=nil_reads)


def _are_registers(model: Model, history: History) -> bool:
    """Whether the model says of these ops just what a trace does: each key, or each name in a txn, holds one value, which a read
    returns and a write replaces. What a model is derived from does not tell: its `step` may be another.
    """
    if type(model) in (Register, CasRegister):
        return True
    is_empty = type(model) is MultiRegister and not model.initial()
    return is_empty and all(op.f == "txn" for op in history if op.is_client)


def of_trace(trace: Trace, states_max: int, deadline: Deadline) -> Verdict:
    """Whether the transactions fit into one order in which each read sees the last write of its key."""
    stats: dict[str, Any] = {"sessions": len(trace.sessions), "transactions": len(trace), "decided_by": "saturation"}
    if trace.baseless:
        first = trace.baseless[0]
        finding = Finding(first.words, key=first.key, ops=(OpNote(trace.op_index[first.node]),))
        return Verdict.invalid(first.words, CHECKER, evidence=Findings((finding,)), stats=stats)
    if reason := out_of_reach(trace):
        return Verdict.unknown(reason, CHECKER, stats=stats)
    if not trace.reads_count:
        return Verdict.unknown("nothing was checked: no read succeeded", CHECKER, stats=stats)
    saturation = Saturation(trace, deadline)
    try:
        saturation.run()
    except CausalCycle as cycle:
        finding = _cycle(trace, cycle.nodes, saturation.why)
    except Contradiction as contradiction:
        finding = _behind(trace, contradiction)
    except OutOfTime:
        reason = f"not decided in time: {saturation.rounds} rounds derived {len(saturation.why):,} orderings"
        return Verdict.unknown(reason, CHECKER, stats=stats)
    else:
        stats["derived"] = len(saturation.why)
        placed = place(saturation, states_max, deadline)
        stats |= {"decided_by": "placing", "dead_ends": placed.states, "placed_max": placed.placed_max}
        if placed.order is not None:
            return Verdict.valid(CHECKER, stats=stats)
        if not placed.is_exhausted:
            reason = f"not decided: the longest order found has {placed.placed_max:,} of {len(trace):,} transactions"
            return Verdict.unknown(reason, CHECKER, stats=stats)
        words = f"no order of the {len(trace):,} transactions agrees with what clients read; all were tried"
        finding = Finding(words)
    return Verdict.invalid(finding.words, CHECKER, evidence=Findings((finding,)), stats=stats)


def _behind(trace: Trace, contradiction: Contradiction) -> Finding:
    node, other, key = contradiction.node, contradiction.other, trace.keys[contradiction.key]
    read, newer = (
        trace.value(node, contradiction.key, is_write=False),
        trace.value(other, contradiction.key, is_write=True),
    )
    words = f"{trace.name(node)} read {read!r} of key {key!r}, which was there at first, but every order has {newer!r} before"
    indices = trace.op_index[other], trace.op_index[node]
    ops = (OpNote(indices[0], described(trace, other)), OpNote(indices[1], described(trace, node)))
    return Finding(words, key=key, ops=ops, edges=(Edge(*indices, "comes before it in every order"),))


def _cycle(trace: Trace, nodes: Sequence[int], why: Why) -> Finding:
    edges: list[Edge] = []
    ops: dict[int, OpNote] = {}
    words: list[str] = []
    for before, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        ops[trace.op_index[before]] = OpNote(trace.op_index[before], described(trace, before))
        if trace.session[before] == trace.session[after] and trace.seq[before] < trace.seq[after]:
            text = "the same client did it before"
        elif any(writer == before for _, writer in trace.reads[after]):
            text = "the later one read it"
        else:
            reader, key, writer = why[before, after]
            ops.setdefault(trace.op_index[reader], OpNote(trace.op_index[reader], described(trace, reader)))
            read = trace.value(reader, key, is_write=False)
            name = trace.keys[key]
            if before == reader:
                text = f"{trace.name(reader)} read {read!r} of key {name!r}, and the write comes behind what it read"
            else:
                text = f"it comes before {trace.name(reader)}'s read of {read!r} of key {name!r}"
            if writer == INITIAL:
                text += ", which was there at first"
            words.append(text)
        edges.append(Edge(trace.op_index[before], trace.op_index[after], text))
    what = f"{len(nodes)} operations would each have to come before the next, and the last before the first"
    first = f": {words[0]}" if words else ""
    return Finding(f"{what}{first}", ops=tuple(ops.values()), edges=tuple(edges))


def _searched(history: History, model: Model, states_max: int, deadline: Deadline, *, nil_reads: bool) -> Verdict:
    by_key, model = fitting_entries(history, model, nil_reads=nil_reads)
    done = search(by_key, model, states_max, deadline)
    stats = {
        "decided_by": "search",
        "operations": done.operations,
        "states": done.states,
        "placed_max": done.placed_max,
    }
    if done.is_sequential is None:
        reason = (
            f"not decided after {done.states:,} states: "
            f"the longest order found has {done.placed_max:,} of {done.operations:,} operations"
        )
        return Verdict.unknown(reason, CHECKER, stats=stats)
    if not done.operations:
        return Verdict.unknown("nothing was checked: no operation succeeded", CHECKER, stats=stats)
    if done.is_sequential:
        return Verdict.valid(CHECKER, stats=stats)
    words = (
        f"no order of the {done.operations:,} operations keeps each client's own and is allowed by {model.name}; "
        f"the longest has {done.placed_max:,}"
    )
    return Verdict.invalid(words, CHECKER, evidence=Findings((Finding(words),)), stats=stats)
