"""Makes a run's result from what the run left: every checker's verdict, merged, and the counts for the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from checkers import Verdict, guarded, merge
from checkers.availability import availability
from checkers.invariants import check_stream
from checkers.recovery import recovery
from checkers.vacuity import vacuity
from checkers.windows import fault_windows
from harness.run import clock_series, phases
from harness.run.failures import Failures
from harness.run.plan import Plan, prepare
from harness.run.sinks import FolderSink, Record
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory, Store, UnusableResult, write_json
from histories.history import History
from histories.wellformed import MalformedHistory
from nemesis import schedule
from nemesis.schedule import Schedule

ENVIRONMENT_FINDINGS = ("nodes", "liveness", clock_series.CHECKER)
"""Verdicts of `Environment.findings` that cannot be had from the files of a run."""


def check(
    plan: Plan,
    record: Record,
    run_id: str,
    findings: Mapping[str, Verdict],
    failures: Failures,
    *,
    faults: Schedule | None = None,
    is_interrupted: bool = False,
    with_measurements: bool = True,
) -> Result:
    """All checkers' verdicts on `record`, merged with what the environment found.

    faults: what was planned, where that is known. with_measurements: also the checks that only measure and cannot fail.
    """

    def result_of(verdict: Verdict, counts: dict[str, int]) -> Result:
        return Result(
            verdict,
            run_id=run_id,
            claim=plan.claim,
            target_claims=plan.claimed_model,
            interrupted=is_interrupted,
            harness=tuple(failures.found),
            counts=counts,
        )

    try:
        history = record.history()
    except (MalformedHistory, OSError) as error:
        failures.add("check", f"the recorded history cannot be read: {error}")
        return result_of(Verdict.unknown(f"the history cannot be read: {error}"), {})
    parts = dict(findings)
    for checker in plan.checkers:
        parts[checker.name] = guarded(checker.name, partial(checker.check, history, plan.context))
    parts["vacuity"] = guarded("vacuity", lambda: vacuity(history, plan.thresholds))
    parts["recovery"] = guarded("recovery", lambda: recovery(history))
    if with_measurements:
        parts["availability"] = guarded("availability", lambda: availability(history))
    rules = plan.target.invariants
    if "invariants" not in parts and rules and (traces := record.traces()) is not None:
        parts["invariants"] = guarded("invariants", lambda: check_stream(rules, traces, len(plan.spec.nodes)))
    counts = count_ops(history)
    if faults is not None:
        counts["faults_missed"] = count_faults_not_begun(history, phases.due(plan, faults))
    return result_of(merge(parts), counts)


def analyze(store: Store, directory: RunDirectory, spec: RunSpec) -> Result:
    """Check a stored run again and write its verdict anew. The new verdict keeps from the old one what only the live run knew."""
    try:
        old = directory.read_result()
        was_interrupted = old.interrupted if old else True
    except UnusableResult:
        old, was_interrupted = None, False
    saved = schedule.load(directory.schedule, spec.nodes) if directory.schedule.is_file() else None
    plan = prepare(spec, saved=saved)
    failures = Failures()
    if old is not None:
        # Whether the check fails is decided anew; what failed before it nobody can make good.
        failures.found += [failure for failure in old.harness if failure.phase != "check"]
    kept = {name: part for name, part in old.verdict.parts.items() if name in ENVIRONMENT_FINDINGS} if old else {}
    result = check(
        plan,
        FolderSink(store, directory),
        directory.run_id,
        kept,
        failures,
        faults=saved,
        is_interrupted=was_interrupted,
    )
    write_json(directory.verdict, result)
    return result


def count_ops(history: History) -> dict[str, int]:
    """How many client ops of each type, and how many faults were seen to be in force."""
    counts = Counter(op.type for op in history if op.is_client)
    installed = sum(window.status == "installed" for window in fault_windows(history))
    return {**{name: counts[name] for name in ("invoke", "ok", "fail", "info")}, "faults": installed}


def count_faults_not_begun(history: History, due: Sequence[tuple[int, str, Any]]) -> int:
    """How many of the fault ops that were due while the run lasted were never begun. A run that a violation stopped has not
    missed what was due after it."""
    end_ns = max((op.time for op in history), default=0)
    begun = [(op.f, op.value) for op in history.nemesis() if op.type == "invoke"]
    # As JSON has them: a plan that was never read from a file may hold tuples.
    asked = [(f, msgspec.json.decode(msgspec.json.encode(value))) for time_ns, f, value in due if time_ns <= end_ns]
    done = next((number for number, (a, b) in enumerate(zip(asked, begun, strict=False)) if a != b), len(begun))
    return max(0, len(asked) - done)
