"""Which checkers decide which claim: one table, for every workload.

A claim is the consistency model that a target promises, such as "linearizable". A data type is the kind of object that a workload's
ops act on, such as "register". A row of the table says which checker decides a claim for a data type. Rows come from here, from
entry point group `themis.checkers`, and from a workload's own member `checkers`. docs/checkers.md shows how to write one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any, get_args

import msgspec

from checkers import isolation
from checkers.causal import causal
from checkers.causal.check import Strength
from checkers.eventual import convergence, counters_kept, registers_kept
from checkers.linearizability import linearizable
from checkers.models import registry as models
from checkers.relaxed import final_set, total_queue, unique_ids, unordered_queue
from checkers.sequential import sequential
from checkers.sessions import GUARANTEES, Guarantee, session_guarantee
from checkers.sets import set_full
from checkers.staleness import staleness
from checkers.staleness.check import bounded_staleness
from checkers.transactions import Inference, UnfitTransactions, Wanted, transactions
from checkers.transactions import Workload as TransactionWorkload
from checkers.transactions.models import MODELS as TRANSACTION_MODELS
from checkers.verdict import Verdict
from harness.errors import UsageError, module_of_file, unknown_name
from harness.workloads.base import Workload, WorkloadContext
from histories.history import History

GROUP = "themis.checkers"

CLAIMS: Mapping[str, str] = {
    "strict-serializable": "transactions take effect one after another, in the order of real time",
    "serializable": "transactions take effect as if one after another",
    "snapshot-isolation": "each transaction reads one snapshot, and no two that write the same key overlap",
    "read-committed": "no transaction reads what was not committed",
    "linearizable": "each operation takes effect at one instant between its call and its answer",
    "sequential": "operations take effect in one order, which keeps each client's own",
    "causal": "whoever sees an effect also sees its causes, and all can agree on one order of the writes",
    "causal-memory": "each client sees causes before effects, in one order of its own",
    "weak-causal": "whoever sees an effect also sees its causes",
    "read-your-writes": "a client's reads see its own earlier writes",
    "monotonic-reads": "a client's reads never go back to an older state",
    "monotonic-writes": "a client's writes take effect in its order",
    "writes-follow-reads": "a write takes effect after what its client had read",
    "session": "all four session guarantees, and eventual",
    "quorum": "read-your-writes, monotonic-writes, and eventual: reads and writes whose quorums meet",
    "causal+": "causal, and eventual (Lloyd and others 2011)",
    "convergent": "once writes stop and faults are healed, all nodes answer the same",
    "bounded-staleness": "no read returns what had been overwritten more than 10 s before",
    "exactly-once": "what was put in comes out once, in any order",
    "at-least-once": "what was put in comes out, in any order, and perhaps more than once",
    "nothing-lost": "what was acknowledged is there in the end, and nothing that was never added",
    "unique": "no two answers are equal",
    "eventual": "once writes stop and faults are healed, all nodes answer the same, and nothing acknowledged is lost",
}
"""Claim -> what it promises. What a plugin or a workload checks beside these is known as well."""

SEQUENTIAL_MODELS: Mapping[str, str] = {
    "register": "cas-register",
    "counter": "counter",
    "set": "set",
    "queue": "fifo-queue",
    "stack": "lifo-stack",
    "priority-queue": "priority-queue",
    "lock": "fenced-lock",
    "append": "list-append",
    "consensus": "consensus",
}
"""Data type -> the model of checkers.models that says what its ops do one after another."""

RESERVED = frozenset(
    {"vacuity", "availability", "recovery", "restore", "invariants", "liveness", "nodes", "logs", "clocks"}
)
"""Names of verdicts that every run has beside its claim's."""

Check = Callable[[History, WorkloadContext], Verdict]


class ClaimChecker(msgspec.Struct, frozen=True):
    """A row: `check` decides whether a history of ops on `data_type` keeps `claim`.

    name: reports show its verdict under this name. check: takes the whole history, fault ops included, and the run as the workload
    sees it; it is pure, and its crash is UNKNOWN.
    """

    name: str
    claim: str
    data_type: str
    check: Check

    def __post_init__(self) -> None:
        if self.name in RESERVED:
            raise ValueError(f"the name {self.name!r} is taken: every run has a verdict of that name")


def check_linearizable(model: str, history: History, context: WorkloadContext) -> Verdict:
    """Whether every key is linearizable for the model, within the run's budget."""
    return linearizable(
        history.clients(),
        models.find(model),
        states_max=context.states_max,
        time_limit_s=context.check_time_limit_s,
    )


def check_sequential(model: str, history: History, context: WorkloadContext) -> Verdict:
    """Whether all keys together are sequentially consistent for the model, within the run's budget."""
    return sequential(
        history.clients(),
        models.find(model),
        states_max=context.states_max,
        time_limit_s=context.check_time_limit_s,
    )


def check_causal(strength: Strength, history: History, context: WorkloadContext) -> Verdict:
    """Whether reads and writes are causally consistent, within the run's budget."""
    return causal(history, strength, time_limit_s=context.check_time_limit_s)


def check_session(guarantee: Guarantee, history: History, context: WorkloadContext) -> Verdict:
    """Whether every client has that guarantee."""
    return session_guarantee(history, guarantee)


TRANSACTIONS: Mapping[str, TransactionWorkload] = {"txn-append": "list-append", "txn-register": "rw-register"}
"""Data type -> what checkers.transactions calls it."""


def check_transactions(model: str, kind: TransactionWorkload, history: History, context: WorkloadContext) -> Verdict:
    """Whether the transactions keep the model. A history that is none of this kind is UNKNOWN."""
    inference = Inference()
    if kind == "rw-register":
        # What each model says of single keys by itself: docs/transactions.md.
        inference = Inference(
            wfr_keys="read-uncommitted" not in model,
            sequential_keys=model == "strong-session-serializable",
            linearizable_keys=model == "strict-serializable",
            absent_at_first=True,  # A run begins with an empty store.
        )
    try:
        return transactions(history, kind, Wanted((model,), (), inference))
    except UnfitTransactions as error:
        return Verdict.unknown(f"the history cannot be checked as {kind}: {error}", kind)


def _transaction_rows() -> Iterable[ClaimChecker]:
    for data_type, kind in TRANSACTIONS.items():
        for model in sorted(TRANSACTION_MODELS):
            yield ClaimChecker(kind, model, data_type, partial(check_transactions, model, kind))
        # A store that is linearizable as one object carries out transactions in the order of real time.
        check = partial(check_transactions, "strict-serializable", kind)
        yield ClaimChecker(kind, "linearizable", data_type, check)


def check_isolation(name: str, history: History, context: WorkloadContext) -> Verdict:
    """Whether the workload's anomaly is absent. A history that is none of this workload is UNKNOWN."""
    try:
        return isolation.WORKLOADS[name].check(history)
    except UnfitTransactions as error:
        return Verdict.unknown(f"the history cannot be checked as {name}: {error}", name)


def _isolation_rows() -> Iterable[ClaimChecker]:
    for name, row in isolation.WORKLOADS.items():
        for model in ("linearizable", *row.models):
            yield ClaimChecker(name, model, name, partial(check_isolation, name))


BUILT_IN: tuple[ClaimChecker, ...] = (
    *(
        ClaimChecker("linearizable", "linearizable", data_type, partial(check_linearizable, model))
        for data_type, model in SEQUENTIAL_MODELS.items()
    ),
    *(
        ClaimChecker("sequential", "sequential", data_type, partial(check_sequential, model))
        for data_type, model in SEQUENTIAL_MODELS.items()
    ),
    *(ClaimChecker(strength, strength, "register", partial(check_causal, strength)) for strength in get_args(Strength)),
    *(ClaimChecker(guarantee, guarantee, "register", partial(check_session, guarantee)) for guarantee in GUARANTEES),
    *(
        ClaimChecker(name, claim, "register", check)
        for claim in ("eventual", "quorum", "session", "causal+")
        for name, check in (("convergence", convergence), ("durability", registers_kept))
    ),
    *(ClaimChecker(guarantee, "session", "register", partial(check_session, guarantee)) for guarantee in GUARANTEES),
    *(
        ClaimChecker(guarantee, "quorum", "register", partial(check_session, guarantee))
        for guarantee in ("read-your-writes", "monotonic-writes")
    ),
    ClaimChecker("causal", "causal+", "register", partial(check_causal, "causal")),
    ClaimChecker("bounded-staleness", "bounded-staleness", "register", bounded_staleness),
    ClaimChecker("convergence", "convergent", "register", convergence),
    ClaimChecker("convergence", "eventual", "counter", convergence),
    ClaimChecker("durability", "eventual", "counter", counters_kept),
    ClaimChecker("convergence", "eventual", "set", partial(convergence, is_set=True)),
    ClaimChecker("set-full", "eventual", "set", set_full),
    ClaimChecker("unordered-queue", "exactly-once", "queue", unordered_queue),
    ClaimChecker("unordered-queue", "exactly-once", "priority-queue", unordered_queue),
    ClaimChecker("total-queue", "at-least-once", "queue", total_queue),
    ClaimChecker("total-queue", "at-least-once", "priority-queue", total_queue),
    ClaimChecker("final-set", "nothing-lost", "set", final_set),
    ClaimChecker("unique-ids", "unique", "ids", unique_ids),
    *_transaction_rows(),
    *_isolation_rows(),
)

_SEVERAL = frozenset(
    {"linearizable", "sequential", "convergence", "durability", *TRANSACTIONS.values(), *isolation.WORKLOADS}
)
"""Names of rows that differ from data type to data type."""

STANDALONE: Mapping[str, ClaimChecker] = {
    **{row.name: row for row in BUILT_IN if row.name not in _SEVERAL},
    "convergence": ClaimChecker("convergence", "eventual", "", convergence),
    "set-convergence": ClaimChecker("set-convergence", "eventual", "set", partial(convergence, is_set=True)),
    "durability": ClaimChecker("durability", "eventual", "register", registers_kept),
    "counter-durability": ClaimChecker("counter-durability", "eventual", "counter", counters_kept),
    "staleness": ClaimChecker("staleness", "", "register", staleness),
}
"""What `--checker` knows by name: checkers that need no model."""


def choose_checkers(claim: str, workload: Workload, *, claimed_by: str) -> tuple[ClaimChecker, ...]:
    """The checkers that decide whether the history of `workload` keeps `claim`.

    claimed_by: who claims it, such as "raft claims"; for the message. Raises UsageError when the claim is unknown or nothing can
    decide it for this workload.
    """
    rows = rows_for(workload)
    chosen = tuple(row for row in rows if row.claim == claim)
    if chosen:
        _require_names_once(chosen)
        return chosen
    decidable = sorted({row.claim for row in rows})
    if claim not in known_claims(rows):
        raise unknown_name("consistency model", claim, known_claims(rows))
    if not decidable:
        raise UsageError(
            f"nothing can check the workload {workload.name}: no checker is known for ops on {workload.data_type!r}, and the "
            "workload brings none (docs/checkers.md)"
        )
    raise UsageError(
        f"{claimed_by} {claim!r}, which nothing can check for the workload {workload.name} (ops on {workload.data_type!r}). "
        f"It can be checked for: {', '.join(decidable)}. To check for one of them all the same, add: "
        f"--consistency {'linearizable' if 'linearizable' in decidable else decidable[0]}"
    )


def rows_for(workload: Workload) -> tuple[ClaimChecker, ...]:
    """Every row for the workload: its own `checkers`, where it has some, and those of the table for its data type."""
    own: Sequence[ClaimChecker] = getattr(workload, "checkers", ())
    return (*own, *(row for row in (*BUILT_IN, *plugin_rows()) if row.data_type == workload.data_type))


def known_claims(rows: Iterable[ClaimChecker]) -> frozenset[str]:
    """Every claim that has a name."""
    return frozenset(CLAIMS) | {row.claim for row in rows}


def plugin_rows() -> tuple[ClaimChecker, ...]:
    """The rows of entry point group `themis.checkers`. Raises UsageError when one cannot be loaded."""
    found: list[ClaimChecker] = []
    for point in metadata.entry_points(group=GROUP):
        found += _rows_in(_load(point.name, point.value))
    return tuple(found)


def find_checker(name: str) -> ClaimChecker:
    """The checker called `name`, of STANDALONE or entry point group `themis.checkers`, or at package.module:function, for
    `--checker`.

    It may be a ClaimChecker, or a function of a history and a WorkloadContext. Raises UsageError.
    """
    if name in STANDALONE:
        return STANDALONE[name]
    points = {point.name: point.value for point in metadata.entry_points(group=GROUP)}
    if name not in points and ":" not in name:
        raise unknown_name("checker", name, [*STANDALONE, *points], own="package.module:function")
    path = points.get(name, name)
    found = _load(name, path)
    if isinstance(found, ClaimChecker):
        return found
    if callable(found) and not isinstance(found, type):
        shown = name if name in points else path.rpartition(":")[2]
        try:
            return ClaimChecker(shown, "", "", found)
        except ValueError as error:
            raise UsageError(f"--checker {name}: {error}") from error
    raise UsageError(f"--checker {name}: {path} is neither a function nor a ClaimChecker (docs/checkers.md)")


def with_extra(chosen: Sequence[ClaimChecker], extra: Iterable[ClaimChecker]) -> tuple[ClaimChecker, ...]:
    """The claim's checkers and those that the user added. Raises UsageError when two have the same name."""
    checkers = (*chosen, *extra)
    _require_names_once(checkers)
    return checkers


def _require_names_once(rows: Sequence[ClaimChecker]) -> None:
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two checkers are called {name!r}; their verdicts could not be told apart")


def _rows_in(loaded: Any) -> list[ClaimChecker]:
    """A plugin's rows: one, several, or none where it is a function for `--checker` only."""
    if isinstance(loaded, ClaimChecker):
        return [loaded]
    return [row for row in loaded if isinstance(row, ClaimChecker)] if isinstance(loaded, list | tuple) else []


def _load(name: str, path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        if not (module and attribute):
            raise ValueError("write it as package.module:function")
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        shown = name if name == path else f"{name} ({path})"
        why = f"{type(error).__name__}: {error}{module_of_file(path)}"
        raise UsageError(f"the checker {shown} cannot be loaded: {why}") from error
