"""Makes a run's result from what the run left: every checker's verdict, merged, and the counts for the summary."""

from __future__ import annotations

import logging
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from checkers import Verdict, guarded, log_alarms, merge, timelines
from checkers.availability import availability
from checkers.invariants import check_stream
from checkers.recovery import recovery
from checkers.vacuity import vacuity
from checkers.windows import fault_windows
from harness.errors import UsageError
from harness.run import clock_series, phases
from harness.run.failures import Failures
from harness.run.interruption import Interruption
from harness.run.plan import Plan, prepare
from harness.run.replays import schedule_anew
from harness.run.silent_nodes import despite_silence
from harness.run.sinks import FolderSink, Record, TracesRemoved
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory, Store, UnusableResult, write_atomically, write_json
from harness.store.traces import gap_of, whole_span_ns
from histories.history import History
from histories.printing import line
from histories.tracing import TraceRecord
from histories.wellformed import MalformedHistory
from nemesis.schedule import BadSchedule, Schedule, encode

_log = logging.getLogger("themis")

AFTER_THE_RUN = ("check", "count", "keep")
"""Phases of failures of the harness that say nothing about a second check."""

ENVIRONMENT_FINDINGS = ("nodes", "liveness", log_alarms.CHECKER, clock_series.CHECKER)
"""Verdicts of `Environment.findings` that cannot be had from the files of a run."""


def check(
    plan: Plan,
    record: Record,
    run_id: str,
    findings: Mapping[str, Verdict],
    failures: Failures,
    *,
    faults: Schedule | None = None,
    interruption: Interruption | None = None,
    was_interrupted: bool = False,
    with_measurements: bool = True,
) -> Result:
    """All checkers' verdicts on `record`, merged with what the environment found.

    faults: what was planned, where that is known. interruption: a second signal that it gets ends the checks; what they found
    stays, and what was not checked is UNKNOWN. None: a signal raises KeyboardInterrupt. was_interrupted: the record ends early.
    with_measurements: also the checks that only measure and cannot fail.
    """

    def result_of(verdict: Verdict, counts: dict[str, int]) -> Result:
        return Result(
            verdict,
            run_id=run_id,
            claim=plan.claim,
            target_claims=plan.claimed_model,
            interrupted=was_interrupted or (interruption is not None and interruption.is_asked),
            signal="" if interruption is None else interruption.signal_name,
            harness=tuple(failures.found),
            counts=counts,
        )

    try:
        history = record.history()
    except Exception as error:  # noqa: BLE001 - a file may hold anything
        why = str(error) if isinstance(error, MalformedHistory | OSError) else f"{type(error).__name__}: {error}"
        _log.exception("the recorded history cannot be read")
        failures.add("check", f"the recorded history cannot be read: {why}", traceback.format_exc())
        unread = Verdict.unknown(f"the history cannot be read: {why}", "history")
        return result_of(merge({**findings, "history": unread}), {})
    parts = dict(findings)
    to_do: dict[str, Callable[[], Verdict]] = {}
    for checker in plan.checkers:
        to_do[checker.name] = partial(timelines.checked, checker.name, checker.check, history, plan.context)
    if timelines.is_restored(history):
        to_do[timelines.CHECKER] = lambda: timelines.told(history)
    to_do["vacuity"] = lambda: vacuity(history, plan.thresholds, were_planned=plan.asks_for_faults)
    to_do["recovery"] = lambda: recovery(history)
    if with_measurements:
        to_do["availability"] = lambda: availability(history)
    rules = plan.target.invariants_under(plan.target_options)
    if "invariants" not in parts and rules:
        traces: Iterable[TraceRecord] | None = None
        with failures.noted("check"):
            try:
                traces = record.traces()
            except TracesRemoved as error:
                parts["invariants"] = Verdict.unknown(str(error), "invariants")
        if traces is not None:
            to_do["invariants"] = partial(check_traces, rules, traces, plan.spec.nodes, plan.topology.shard_by_node)
    try:
        for name, job in to_do.items():
            parts[name] = guarded(name, job)
    except KeyboardInterrupt:
        if interruption is None or not interruption.is_aborted:
            raise
        for name in to_do:
            parts.setdefault(name, Verdict.unknown("interrupted before it was checked", name))
    counts: dict[str, int] = {}
    with failures.noted("count"):
        counts = count_ops(history)
        if faults is not None:
            counts["faults_missed"] = count_faults_not_begun(history, phases.due(plan, faults))
    return result_of(merge(parts), counts)


def check_traces(
    rules: Sequence[str], traces: Iterable[TraceRecord], nodes: Sequence[str], shard_by_node: Mapping[str, str]
) -> Verdict:
    """The verdict of `rules` on the traces. It is UNKNOWN where one of the nodes told nothing."""
    silent = set(nodes)

    def told() -> Iterator[TraceRecord]:
        for record in traces:
            silent.discard(record.node)
            yield record

    records = told()
    verdict = check_stream(rules, records, len(nodes), shard_by_node)
    for _ in records:  # What follows a violation was not read.
        if not silent:
            break
    return despite_silence(verdict, silent)


def analyze(
    store: Store, directory: RunDirectory, spec: RunSpec, say: Callable[[str], None] = lambda text: None
) -> Result:
    """Check a stored run again and write its verdict anew, and its schedule where that is damaged. `say` is told what was mended.

    The new verdict keeps what only the live run knew: it is in findings.json, and in the old verdict. Where it cannot be written,
    that is a failure of the harness in the result. Raises UsageError when the history cannot be read; then nothing has changed.
    """
    sink = FolderSink(store, directory)
    try:
        history = sink.history()
    except FileNotFoundError:
        raise UsageError(f"{directory.history}: missing, so that there is nothing to check") from None
    except OSError as error:
        raise UsageError(f"{directory.history}: {error.strerror or error}") from error
    except MalformedHistory as error:
        raise UsageError(f"{error}\nthe verdict stays as it is") from error
    failures = Failures()
    findings = directory.read_findings()
    was_interrupted = True  # A run without a verdict was killed.
    kept = findings.verdicts if findings is not None else {}
    live = kept.get("invariants")
    was_cut_off = findings is None and not directory.verdict.exists()
    try:
        if (old := directory.read_result()) is not None:
            was_interrupted = old.interrupted
            known = {**kept, **old.verdict.parts}  # Of a check that was cut off the old verdict may have none.
            kept = {name: part for name, part in known.items() if name in ENVIRONMENT_FINDINGS}
            live = live or old.verdict.parts.get("invariants")
            # Whether the check fails is decided anew; what failed before it nobody can make good.
            failures.found += [failure for failure in old.harness if failure.phase not in AFTER_THE_RUN]
    except UnusableResult as error:
        say(line(error))
        if findings is None:
            say("what only the live run could see (nodes that ended by themselves, liveness) is lost with it")
        else:
            was_interrupted = findings.interrupted
    script = directory.read_script(spec.concurrency) if spec.script_digest else None
    plan = prepare(spec, saved=read_schedule(directory, history, spec, say), script=script)
    if live is not None and whole_span_ns(directory.nodes) is not None:
        kept["invariants"] = live
    elif spec.env == "sim" and (why := _gap(directory, plan, is_cut_off=was_cut_off or bool(failures.found))):
        # There the rules take it for granted that whatever a node did is told.
        kept["invariants"] = live or Verdict.unknown(f"the nodes' traces have a gap: {why}", "invariants")
    result = check(plan, sink, directory.run_id, kept, failures, faults=plan.saved, was_interrupted=was_interrupted)
    try:
        if directory.verdict.is_dir():  # No file can take its place.
            directory.verdict.replace(directory.verdict.with_name(f"{directory.verdict.name}.damaged"))
        write_json(directory.verdict, result)
    except OSError as error:  # What was found is told, whatever the disk says.
        failures.add("keep", f"{type(error).__name__}: {error}; the verdict on the disk is as before", "")
        result = msgspec.structs.replace(result, harness=tuple(failures.found))
    return result


def _gap(directory: RunDirectory, plan: Plan, *, is_cut_off: bool) -> str:
    """What is missing of the traces of a simulated run; "" where they are whole, or where no rule asks for them. is_cut_off: the
    controller was killed, or its disk was full, maybe when some nodes had their latest records on the disk and others not."""
    if not plan.target.invariants_under(plan.target_options):
        return ""
    if is_cut_off:
        return "the run was cut off"
    return gap_of(directory.nodes, plan.spec.nodes)


def read_schedule(directory: RunDirectory, history: History, spec: RunSpec, say: Callable[[str], None]) -> Schedule:
    """The run's schedule. Where it is missing or damaged, it is made anew, and what is left of the old file is kept beside it."""
    try:
        return directory.read_schedule()
    except FileNotFoundError:
        why = f"{directory.schedule}: missing"
    except (BadSchedule, RecursionError) as error:
        why = str(error) or f"{directory.schedule}: nested too deeply"
        if not directory.is_damaged(directory.schedule):
            raise UsageError(
                why
            ) from error  # Of another version, or it names a fault that is not installed here: mended by no writing anew.
    saved, made_of = schedule_anew(spec, history)
    kept = ""
    if os.path.lexists(directory.schedule):
        damaged = directory.schedule.with_name(f"{directory.schedule.name}.damaged")
        directory.schedule.replace(damaged)
        kept = f", and the damaged file is {damaged.name} now"
    write_atomically(directory.schedule, encode(saved))
    say(f"{line(why)}; it is written anew, {made_of}{kept}")
    return saved


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
