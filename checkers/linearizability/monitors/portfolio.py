"""One key's verdict: from the model's monitor where its conditions hold, else from the search.

A monitor's VALID is replayed by the independent verifier up to VERIFIED_MAX operations. What a monitor gets wrong, or
what makes it crash, costs its answer and not the verdict: the search decides, and the stats say why.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.monitor import Decision, Monitor, undecided
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import Cancellation, Core, chosen_core, search
from checkers.linearizability.table import Table
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.verdict import Validity

VERIFIED_MAX = 500
"""Linearizations of so many operations are replayed: a few ms. Longer ones cost more than finding them did; tests replay
those."""


def decide(
    entries: Entries,
    model: Model,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
    stop: Cancellation | None = None,
    core: Core = "auto",
    table: Callable[[], Table | None] = lambda: None,
) -> SearchResult:
    """Whether one object's operations are linearizable; options and errors as `search`.

    table: asked only when it comes to searching. stats: `decided_by` is the monitor's name or the search's; `monitor` says
    why a monitor did not decide, where the model has one.
    """
    twins = monitor_of(model)
    if twins is None or (stop is not None and stop.reason):
        return search(
            entries, model, states_max=states_max, time_limit_s=time_limit_s, stop=stop, core=core, table=table()
        )
    began_ns = time.perf_counter_ns()
    is_pure = twins.native is None or chosen_core(core) == "pure"
    decision = _decision(twins.pure if is_pure or twins.native is None else twins.native, entries, model)
    spent_ns = time.perf_counter_ns() - began_ns
    if decision.validity is not Validity.UNKNOWN:
        stats: dict[str, Any] = {
            "core": "pure" if is_pure else "native",
            "decided_by": twins.name,
            "configurations": 0,
            "ns": spent_ns,
        }
        return _result(decision, entries, stats)
    left_s = None if time_limit_s is None else max(0.0, time_limit_s - spent_ns / 1e9)
    result = search(entries, model, states_max=states_max, time_limit_s=left_s, stop=stop, core=core, table=table())
    result.stats["monitor"] = decision.reason
    return result


def _decision(monitor: Monitor, entries: Entries, model: Model) -> Decision:
    """The monitor's decision; UNKNOWN when it crashed or its linearization is not one."""
    try:
        decision = monitor(entries, model)
        if decision.validity is not Validity.VALID or len(decision.linearization) > VERIFIED_MAX:
            return decision
        wrong = verify(entries, model, decision.linearization)
    except Exception:  # noqa: BLE001 - the search can still decide what a faulty monitor cannot
        return undecided(f"the monitor crashed: {traceback.format_exc()}")
    return undecided(f"the monitor's linearization is wrong: {wrong}") if wrong else decision


def _result(decision: Decision, entries: Entries, stats: dict[str, Any]) -> SearchResult:
    if decision.validity is Validity.VALID:
        return SearchResult(
            Validity.VALID, decision.linearization, stats=stats, linearizable_up_to=len(entries.returns)
        )
    core = tuple(decision.core)
    return SearchResult(
        Validity.INVALID,
        failed_at=max(core, key=lambda position: entries.end[position]),
        is_shortest=False,
        core=core,
        stats=stats,
    )
