"""One run, from a plan to a result: up, main phase, heal, quiet period, final reads, collect, tear down, check, keep.

Whatever happens on the way (an exception, Ctrl-C, SIGTERM), faults are healed, nodes are removed, the history is kept, and
what was recorded is checked. A failure of the harness is written beside the verdict and never replaces it.
Every command that runs something calls `execute`; they differ in the sink.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import nullcontext

from msgspec.structs import replace

from checkers import Verdict, merge
from checkers.evidence import ClockSample
from checkers.invariants.observers import CHECKER as INVARIANTS
from harness.environments.leftovers import remove_before
from harness.run import clock_series, live_traces, node_logs, phases
from harness.run.check import check
from harness.run.clock_series import sampling
from harness.run.failures import Failures
from harness.run.interruption import Interruption
from harness.run.live import MAIN, watched
from harness.run.live_traces import LiveInvariants
from harness.run.plan import Plan
from harness.run.sinks import FolderSink, Sink
from harness.run.stage import Stage, prepare_stage
from harness.store.modes import created_by
from harness.store.runs import Findings, Result, RunDirectory, Store
from histories.op import Op
from nemesis.nemesis import Nemesis

_log = logging.getLogger("themis")


def run_into(
    store: Store, plan: Plan, *, keep_data: bool = False, is_watched: bool = True
) -> tuple[RunDirectory, Result]:
    """Run `plan` into a new folder of the store; Ctrl-C and SIGTERM end it well. Raises UsageError when it cannot be started.

    keep_data: the nodes' data directories are kept whatever the verdict is. is_watched: the state of the run is shown meanwhile.
    """
    sink = FolderSink.create(
        store, plan.spec, plan.folder, script=plan.script, keep_data=keep_data, is_watched=is_watched
    )
    interruption = Interruption()
    with interruption.handled(), created_by(is_shared=store.is_shared):
        return sink.run, execute(plan, sink, interruption)


def execute(plan: Plan, sink: Sink, interruption: Interruption | None = None) -> Result:
    """Run `plan`, check what happened, and keep the result in `sink`.

    interruption: tells when the user wants the run to end early; None: nobody can. Raises UsageError when the run cannot be
    started; then nothing was started, and nothing is left of it.
    """
    interruption = interruption or Interruption()
    try:
        with interruption.preparing():
            stage = prepare_stage(plan, sink)
    except BaseException:
        sink.discard()
        raise
    failures = Failures()
    with sink.opened(stage.environment, stage.faults):
        _log.info("run %s: %s", sink.run_id, plan.spec)
        result = run_and_check(stage, sink, failures, interruption)
        try:
            sink.keep(result)
        except KeyboardInterrupt:
            if not interruption.is_aborted:
                raise
            # The verdict stands, and is told; only packing the nodes' data was cut short.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a verdict that was found is told, whatever the disk says
            _log.exception("harness failure in keep")
            failures.add(
                "keep",
                f"{type(error).__name__}: {error}; `themis analyze` makes verdict.json once it can be written",
                traceback.format_exc(),
            )
            result = replace(result, harness=tuple(failures.found))
    return result


def run_and_check(stage: Stage, sink: Sink, failures: Failures, interruption: Interruption) -> Result:
    """Do the run and check it. Whatever goes wrong is in the result; the traceback is in the run's log.

    Raises KeyboardInterrupt when a signal came that `interruption` does not handle.
    """
    plan = stage.plan

    findings: dict[str, Verdict] = {}

    def unchecked(reason: str) -> Result:
        not_done = Verdict.unknown(reason, "check")
        return Result(
            merge({**findings, "check": not_done}) if findings else not_done,
            run_id=sink.run_id,
            claim=plan.claim,
            target_claims=plan.claimed_model,
            interrupted=interruption.is_asked,
            signal=interruption.signal_name,
            harness=tuple(failures.found),
        )

    leader = stage.environment.cluster.primary
    try:
        with watched(stage.progress, leader) if sink.is_watched else nullcontext():
            findings = perform(stage, sink, failures, interruption)
            with failures.noted("keep the findings"):
                sink.note_findings(Findings(findings, interruption.is_asked))
            stage.progress.enter("check")
            return check(
                plan,
                sink,
                sink.run_id,
                findings,
                failures,
                faults=stage.faults,
                interruption=interruption,
                with_measurements=sink.keeps_files,
            )
    except KeyboardInterrupt:
        if not interruption.is_aborted:
            raise
        return unchecked("told twice to stop, so nothing was checked; `themis analyze` checks what was recorded")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what nobody expected ends neither the command nor a sweep
        _log.exception("harness failure in %s", stage.progress.activity)
        failures.add(stage.progress.activity, f"{type(error).__name__}: {error}", traceback.format_exc())
        return unchecked("the harness failed before the check was over; `themis analyze` checks what was recorded")


def perform(stage: Stage, sink: Sink, failures: Failures, interruption: Interruption) -> dict[str, Verdict]:
    """Do the run, from bringing nodes up to tearing them down, with its history in the sink; return what the environment found
    wrong.

    Raises KeyboardInterrupt, after the tear-down, when the user wants out at once.
    """
    environment = stage.environment
    if not environment.is_virtual:
        with failures.noted("removing what an earlier run left"):
            for problem in remove_before(environment.name):
                _log.warning("could not be removed: %s", problem)
    findings: dict[str, Verdict] = {}
    live = None
    if sink.keeps_files and environment.writes_segments:
        live = LiveInvariants(
            stage.plan.target.invariants_under(stage.plan.target_options),
            sink.directory / "nodes",
            stage.plan.spec.nodes,
            live_traces.KEPT_BYTES,
            stage.plan.topology.shard_by_node,
        )
        live.start()
    with interruption.shielded():
        try:
            with interruption.unshielded():
                with failures.noted("run"), sink.recording() as record:
                    samples = drive(stage, record, interruption, is_watched=sink.is_watched)
                    if samples:
                        findings[clock_series.CHECKER] = clock_series.series(samples)
                with failures.noted("findings"):
                    stage.progress.enter("look at the nodes")
                    findings |= environment.findings()
        finally:
            if not interruption.is_aborted:
                with failures.noted("heal"):
                    stage.progress.enter("heal")
                    heal(stage.nemesis, failures)
            if sink.keeps_files:
                with failures.noted("collect"):
                    stage.progress.enter("collect logs")
                    environment.collect()
            with failures.noted("tear down"):
                stage.progress.enter("tear down")
                environment.down()
            if live is not None:
                stage.progress.enter("check the traces")
                verdict = live.end(lambda: interruption.is_aborted)
                if verdict is not None:
                    findings[INVARIANTS] = verdict
    if sink.keeps_files:
        with failures.noted("look at the logs"):
            findings |= node_logs.verdicts(stage.plan.target, sink.directory, stage.plan.spec.nodes)
    return findings


def drive(
    stage: Stage, record: Callable[[Op], None], interruption: Interruption, *, is_watched: bool
) -> list[ClockSample]:
    """Bring the nodes up and run the interpreter to its end, recording each op as it happens; return the clocks' readings
    meanwhile."""
    plan, environment, nemesis, progress = stage.plan, stage.environment, stage.nemesis, stage.progress
    progress.enter("start nodes")
    environment.up()
    progress.enter(MAIN)

    def record_and_count(op: Op) -> None:
        record(op)
        progress.note(op)

    interpreter = phases.interpreter(
        plan, stage.choices, stage.faults, record_and_count if is_watched else record, progress.enter
    )
    interruption.on_ask(interpreter.stop)
    # Where time is virtual, the faults themselves say exactly what each clock reads; elsewhere it is measured.
    clocks = None if environment.is_virtual else environment.cluster.clocks
    with sampling(clocks) as samples:
        environment.drive(interpreter, nemesis)
    return samples


def heal(nemesis: Nemesis, failures: Failures) -> None:
    """Heal every fault; a fault that cannot be healed is a failure of the harness, beside the verdict."""
    for name, healed in nemesis.heal_all().items():
        if healed.status == "indeterminate":
            failures.add("heal", f"{name}: {healed.why or 'the measurement disagrees'}")
