"""One key's verdict: from the model's monitor where its conditions hold, else from the search.

A monitor's VALID is replayed by the independent verifier up to VERIFIED_MAX operations, and the core of its INVALID is refuted
once more (confirming.py). What a monitor gets wrong, or what makes it crash, costs its answer and not the verdict: the search
decides, and the stats say why. Where values are put in more than once, the monitor is asked about their copies; where the object
falls into parts, the monitor and the search are asked for each part.
"""

from __future__ import annotations

import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entries, part
from checkers.linearizability.monitors.confirming import NOT_CONFIRMED, confirmed
from checkers.linearizability.monitors.copies import NO_COPIES
from checkers.linearizability.monitors.monitor import Copies, Decision, Monitor, undecided
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
    confirms_core: bool = True,
) -> SearchResult:
    """Whether one object's operations are linearizable; options and errors as `search`.

    table: asked only when it comes to searching. confirms_core: False where the caller confirms the core of an INVALID itself.
    stats: `decided_by` is the monitor's name or the search's; `monitor` says why a monitor did not decide, where the model has
    one; `core_confirmed_by` says what else refutes the core, or why nothing was asked.
    """
    twins = monitor_of(model)
    is_stopped = stop is not None and bool(stop.reason)
    if twins is None or is_stopped:
        found = None if is_stopped else table()
        return search(
            entries, model, states_max=states_max, time_limit_s=time_limit_s, stop=stop, core=core, table=found
        )
    began_ns = time.perf_counter_ns()
    is_pure = twins.native is None or chosen_core(core) == "pure"
    monitor = twins.pure if is_pure or twins.native is None else twins.native
    decision = _decision(monitor, entries, model)
    decided_by, pure = twins.name, twins.pure
    if decision.validity is Validity.UNKNOWN and twins.copies is not None:
        of_copies = _decision(_asking(twins.copies, monitor), entries, model)
        if of_copies.validity is Validity.UNKNOWN:
            decision = decision if of_copies.reason == NO_COPIES else of_copies
        else:
            decision, decided_by = of_copies, f"{twins.name}, of copies"
            pure = _asking(twins.copies, pure)
    confirmed_by = ""
    if decision.validity is Validity.INVALID and confirms_core:
        twin, deadline = None if is_pure else pure, Deadline(time_limit_s).share(0.5)
        decision, confirmed_by = confirmed(decision, entries, model, twin, deadline)
    spent_ns = time.perf_counter_ns() - began_ns
    if decision.validity is not Validity.UNKNOWN:
        stats: dict[str, Any] = {
            "core": "pure" if is_pure else "native",
            "decided_by": decided_by,
            "configurations": 0,
            "ns": spent_ns,
        }
        if confirmed_by:
            stats["core_confirmed_by"] = confirmed_by
        return _result(decision, entries, stats)
    left_s = None if time_limit_s is None else max(0.0, time_limit_s - spent_ns / 1e9)
    parts = twins.parts(entries, model) if twins.parts is not None else []
    if len(parts) > 1:
        return _in_parts(
            entries,
            parts,
            model,
            states_max=states_max,
            deadline=Deadline(left_s),
            stop=stop,
            core=core,
            reason=decision.reason,
        )
    result = search(entries, model, states_max=states_max, time_limit_s=left_s, stop=stop, core=core, table=table())
    result.stats["monitor"] = decision.reason
    if result.validity is Validity.UNKNOWN and decision.reason == NOT_CONFIRMED:
        return replace(result, reason=f"{NOT_CONFIRMED}; the search then: {result.reason}")
    return result


def _asking(copies: Copies, monitor: Monitor) -> Monitor:
    """The monitor of copies as one of entries."""
    return lambda entries, model: copies(entries, model, monitor)


def _in_parts(
    entries: Entries,
    parts: Sequence[Sequence[int]],
    model: Model,
    *,
    states_max: int | None,
    deadline: Deadline,
    stop: Cancellation | None,
    core: Core,
    reason: str,
) -> SearchResult:
    """Each part decided on its own, until one is refuted. reason: why the monitor did not decide the whole."""
    stats: dict[str, Any] = {"core": "pure", "decided_by": "", "monitor": reason, "configurations": 0, "ns": 0}
    placed: list[tuple[int, int]] = []
    undecided_result: SearchResult | None = None
    by: dict[str, None] = {}
    for positions in parts:
        of_part = part(entries, positions)
        result = decide(of_part, model, states_max=states_max, time_limit_s=deadline.left_s(), stop=stop, core=core)
        stats["core"] = result.stats["core"]
        stats["configurations"] += result.stats.get("configurations", 0)
        stats["ns"] += result.stats.get("ns", 0)
        if decided_by := result.stats.get("decided_by"):
            by[decided_by] = None
        stats["decided_by"] = " and ".join(by)
        if result.validity is Validity.INVALID:
            return _refuted_part(result, positions, of_part, stats)
        if result.validity is Validity.UNKNOWN:
            undecided_result = undecided_result or result
            continue
        assert result.linearization is not None
        moment = -1
        for position in result.linearization:
            moment = max(moment, of_part.call[position])
            placed.append((moment, positions[position]))
    if undecided_result is not None:
        return replace(undecided_result, stats=stats, linearizable_up_to=0)
    # Each operation has returned after its moment, or never: operations of different parts keep the order of real time.
    placed.sort(key=lambda each: each[0])
    order = array("i", [position for _, position in placed])
    return SearchResult(Validity.VALID, order, stats=stats, linearizable_up_to=len(entries.returns))


def _refuted_part(
    result: SearchResult, positions: Sequence[int], of_part: Entries, stats: dict[str, Any]
) -> SearchResult:
    """A part's refutation as one of the whole: its core is what of the part was called before it failed."""
    assert result.failed_at is not None
    if "core_confirmed_by" in result.stats:
        stats["core_confirmed_by"] = result.stats["core_confirmed_by"]
    last = of_part.end[result.failed_at]
    core = result.core or [i for i in range(len(of_part)) if of_part.call[i] <= last]
    return SearchResult(
        Validity.INVALID,
        failed_at=positions[result.failed_at],
        is_shortest=False,
        core=tuple(positions[i] for i in core),
        stats=stats,
    )


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
