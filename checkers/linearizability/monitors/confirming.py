"""A monitor's core is refuted a second time, within a budget.

Four are asked in turn, until one has an answer. The verifier of refutations (refutation.py) shares nothing with the monitors and
the searches, and is meant for small cores. Cores of logs hold every append that a read shows: growing.py decides those in one pass
where nothing is put, and shares nothing with the monitors either. The search is for what else is long. The pure twin is the
same algorithm in another language, for cores that none of them gets through.
Whoever linearizes the core contradicts the monitor: then nobody knows which of the two is wrong.
"""

from __future__ import annotations

import traceback

from checkers.linearizability import growing
from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entries, part
from checkers.linearizability.monitors.monitor import Decision, Monitor, undecided
from checkers.linearizability.refutation import TooMany, failing_return
from checkers.linearizability.search import search
from checkers.linearizability.table import Table
from checkers.models.model import Model
from checkers.verdict import Validity

VERIFIER_MAX = 100
"""The verifier is asked about cores of up to so many operations."""

VERIFIER_CONFIGURATIONS_MAX = 1_000
"""What it may explore: some ms at most, and far less for a core of four operations."""

LOOKS_AHEAD_MIN = 20
"""A core of up to so many operations is refuted without asking the model for dead ends: nothing of them is taken for granted."""

SEARCH_MAX = 2_000
"""The search is asked about cores of up to so many operations."""

SEARCH_CONFIGURATIONS_MAX = 20_000
SEARCH_S = 0.1
"""What it may explore, and how long at most."""

TWIN_MAX = 20_000
"""The pure twin is asked about cores of up to so many operations: about a tenth of a second."""

NOT_CONFIRMED = "the monitor refuted operations that a second algorithm linearizes: one of the two is wrong"


def confirmed(
    decision: Decision, entries: Entries, model: Model, pure: Monitor | None, deadline: Deadline
) -> tuple[Decision, str]:
    """The decision, and who else refutes its core or why nobody does; UNKNOWN where somebody linearizes it.

    pure: the pure twin of the native monitor that decided; None where the pure one did.
    """
    try:
        core = part(entries, decision.core)
        for name, ask in (("second algorithm", _verifier), ("order of the log", _log), ("search", _search)):
            is_refuted = ask(core, model, deadline)
            if is_refuted is not None:
                return (decision, name) if is_refuted else (undecided(NOT_CONFIRMED), "")
        if pure is not None and len(core) <= TWIN_MAX and not deadline.is_over():
            of_twin = pure(core, model).validity
            if of_twin is not Validity.UNKNOWN:
                return (decision, "pure twin") if of_twin is Validity.INVALID else (undecided(NOT_CONFIRMED), "")
    except Exception:  # noqa: BLE001 - the search can still decide, or say what is wrong with the model
        return undecided(f"the confirmation of the monitor's core crashed: {traceback.format_exc()}"), ""
    return decision, f"nothing else yet: {len(core):,} operations"


def _verifier(core: Entries, model: Model, _: Deadline) -> bool | None:
    """Whether the verifier refutes it; None: it did not finish."""
    if len(core) > VERIFIER_MAX:
        return None
    try:
        failing = failing_return(
            list(core),
            model,
            configurations_max=VERIFIER_CONFIGURATIONS_MAX,
            looks_ahead=len(core) > LOOKS_AHEAD_MIN,
        )
    except TooMany:
        return None
    return failing is not None


def _log(core: Entries, model: Model, _: Deadline) -> bool | None:
    """The same of what a log's reads say of its order; None: it is no log that only grows."""
    return growing.is_refuted(core, model)


def _search(core: Entries, model: Model, deadline: Deadline) -> bool | None:
    """The same of the search."""
    if len(core) > SEARCH_MAX:
        return None
    left_s = deadline.left_s()
    limit_s = SEARCH_S if left_s is None else min(SEARCH_S, left_s)
    table = Table(model, core.operations, 0)  # Filled on demand: few steps are needed.
    found = search(core, model, states_max=SEARCH_CONFIGURATIONS_MAX, time_limit_s=limit_s, table=table).validity
    return None if found is Validity.UNKNOWN else found is Validity.INVALID
