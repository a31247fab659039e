"""Whether some order explains a history of registers: serializability and snapshot isolation without a known order of versions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.transactions import explain
from checkers.transactions.check import Wanted
from checkers.transactions.exact.certificate import Event, have_no_order, replay
from checkers.transactions.exact.core import minimal
from checkers.transactions.exact.problem import INITIAL, Polygraph, Timing, TooLarge, Txn, committed, polygraph
from checkers.transactions.exact.prune import VERTICES_MAX, Refuted, prune
from checkers.transactions.exact.search import NoSolver, Progress, order
from checkers.transactions.models import canonical
from checkers.transactions.reading import Transactions, read
from checkers.transactions.verdict import transactions
from checkers.verdict import Validity, Verdict
from histories.history import History
from histories.printing import quoted

EXACT_MODELS: Mapping[str, tuple[bool, Timing]] = {
    "serializable": (False, ""),
    "strong-session-serializable": (False, "-process"),
    "strict-serializable": (False, "-realtime"),
    "snapshot-isolation": (True, ""),
    "strong-session-snapshot-isolation": (True, "-process"),
    "strong-snapshot-isolation": (True, "-realtime"),
}
"""Model -> (whether transactions read snapshots, which order beside the data counts)."""

CHECKER = "exact"
STATES_MAX = 200_000
"""Of the second look at a set without an order: some seconds."""
SET_S = 20.0
"""How long a minimal set is looked for, where no budget says otherwise."""
CONFIRMED_MAX = 30
"""Larger sets are not tried in all orders."""


def exact(history: History, model: str = "serializable", *, time_limit_s: float | None = None) -> Verdict:
    """Whether the history of registers keeps the model: VALID where an order explains it, INVALID where none does.

    history: transactions of [w, key, value] and [r, key, value]; each value of a key is written once. Nothing is assumed of the
    order of values. VALID was replayed from the recorded operations; INVALID comes with a minimal set of transactions that have no
    order, which was tried in all orders where that is quick (stats: `set_confirmed`). UNKNOWN beyond the budget, with how far the
    search came. Raises UnfitTransactions, and LookupError for a model that is none of EXACT_MODELS.
    """
    model = canonical(model)
    is_snapshot, timing = EXACT_MODELS[model]
    began = time.perf_counter_ns()
    deadline = Deadline(time_limit_s)
    plain = transactions(history, "rw-register", Wanted((model,)), checker=CHECKER)
    if plain.validity is Validity.INVALID:
        return plain
    try:
        found = read(history, "rw-register")
        txns = committed(found)
    except TypeError:
        found = read(history, "rw-register", frozen=True)
        txns = committed(found)
    stats: dict[str, Any] = {"model": model, "transactions": len(txns)}
    progress = Progress()

    def ended(verdict: Verdict) -> Verdict:
        verdict.stats.update(stats, rounds=progress.rounds, clauses=progress.clauses)
        verdict.stats["elapsed_ns"] = time.perf_counter_ns() - began
        return verdict

    if not any(txn.reads for txn in txns):
        return ended(Verdict.unknown("nothing was tested: no transaction that succeeded read anything", CHECKER))
    try:
        graph = polygraph(txns, timing, is_snapshot=is_snapshot)
        if graph.vertices > VERTICES_MAX:
            return ended(Verdict.unknown(f"{len(txns):,} transactions are too many for an exact check", CHECKER))
        stats["pairs"] = len(graph.open)
        stats["decided_by_pruning"] = prune(graph, deadline)
        vertices = order(graph, progress, deadline)
    except Refuted:
        return ended(_refuted(history, found, txns, model, deadline if time_limit_s else Deadline(SET_S)))
    except (NoSolver, TooLarge) as error:
        return ended(Verdict.unknown(str(error), CHECKER))
    except OutOfTime:
        left = f"{stats.get('pairs', 0) - stats.get('decided_by_pruning', 0):,} of {stats.get('pairs', 0):,} pairs were left open"
        reason = f"not decided within {time_limit_s:g} s: {left} by pruning, {progress.rounds:,} orders were tried"
        return ended(Verdict.unknown(reason, CHECKER))
    replay(history, _events(graph, vertices), timing, is_snapshot=is_snapshot)
    return ended(Verdict.valid(CHECKER))


def _events(graph: Polygraph, vertices: Sequence[int]) -> list[Event]:
    """Begins and commits in that order."""
    begins = {vertex: graph.txns[i].begin for i, vertex in enumerate(graph.begins)}
    commits = {vertex: graph.txns[i].begin for i, vertex in enumerate(graph.commits)}
    events: list[Event] = []
    for vertex in vertices:
        if vertex in begins:
            events.append((begins[vertex], False))
        if vertex in commits:
            events.append((commits[vertex], True))
    return events


def _refuted(history: History, found: Transactions, txns: Sequence[Txn], model: str, deadline: Deadline) -> Verdict:
    """With the transactions that have no order, as few as were found."""
    is_snapshot, timing = EXACT_MODELS[model]
    core, is_minimal = minimal(txns, timing, deadline, is_snapshot=is_snapshot)
    core.sort(key=lambda txn: txn.begin)
    confirmed: bool | None = None
    if len(core) <= CONFIRMED_MAX:
        begins = [txn.begin for txn in core]
        confirmed = have_no_order(history, begins, timing, is_snapshot=is_snapshot, states_max=STATES_MAX)
        if confirmed is False:
            raise AssertionError(f"the transactions at {begins} were said to have no order, and have one")
    numbers = {txn.number: f"T{i}" for i, txn in enumerate(core, 1)}
    edges = []
    for txn in core:
        for key, by in txn.reads:
            if by != INITIAL and by in numbers:
                why = f"{numbers[txn.number]} read in {quoted(key)} what {numbers[by]} wrote"
                edges.append(Edge(found.op(by).index, found.op(txn.number).index, why))
    several = f"no order of these {len(core)} transactions explains what they read"
    how = {"": "", "-process": ", in which each process keeps its own", "-realtime": ", in which real time is kept"}[
        timing
    ]
    words = f"{several}{how}" + (": each is needed for that" if is_minimal else "")
    finding = Finding(
        words,
        ops=tuple(OpNote(found.op(txn.number).index, numbers[txn.number]) for txn in core),
        edges=tuple(edges),
        tables=(explain.table(found, [txn.number for txn in core]),),
    )
    stats = {"set": len(core), "set_is_minimal": is_minimal, "set_confirmed": confirmed is True}
    return Verdict.invalid(f"not {model}: {words}", CHECKER, evidence=Findings((finding,)), stats=stats)
