"""One run, from an empty folder to a verdict: up, main phase, heal, quiet period, final reads, collect, tear down, check, store.

Whatever happens on the way (an exception, Ctrl-C, SIGTERM), faults are healed, nodes are removed, the history is kept, and
what was recorded is checked. A failure of the harness is written beside the verdict and never replaces it.
"""

from __future__ import annotations

import logging
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from checkers import Verdict, guarded, merge
from checkers.availability import availability
from checkers.invariants import check_traces
from checkers.vacuity import vacuity
from harness.environments.base import Deployment, Environment, EnvironmentUnavailable
from harness.environments.leftovers import remove_before
from harness.errors import UsageError
from harness.run import clock_series, phases
from harness.run.clock_series import ClockSample, sampled
from harness.run.interruption import Interruption
from harness.run.live import Progress, watched
from harness.run.plan import Plan, prepare
from harness.spec import RunSpec
from harness.store.runs import HarnessFailure, Result, RunDirectory, Store, write_json
from harness.store.traces import read_traces
from histories import jsonl
from histories.history import History
from histories.op import Op
from histories.wellformed import MalformedHistory
from nemesis import schedule
from nemesis.nemesis import Nemesis
from nemesis.registry import FaultChoice, build_faults
from nemesis.schedule import Schedule

FAULT_TIMEOUT_S = 20.0
"""A fault op that is not done by then is given up as indeterminate; a restart of all nodes takes a second or two."""

_log = logging.getLogger("themis")


class Failures:
    """What went wrong in the harness itself, in order."""

    def __init__(self) -> None:
        self.found: list[HarnessFailure] = []

    @contextmanager
    def noted(self, phase: str) -> Iterator[None]:
        """An exception inside is recorded under `phase`, and the run goes on to what must still be done."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - recorded as a harness failure, which has an exit code of its own
            _log.exception("harness failure in %s", phase)
            self.add(phase, f"{type(error).__name__}: {error}", traceback.format_exc())

    def add(self, phase: str, error: str, trace: str = "") -> None:
        self.found.append(HarnessFailure(phase, error, trace))


def run(plan: Plan, store: Store) -> tuple[RunDirectory, Result]:
    """Run `plan`; its folder and what it came to. Raises UsageError when it cannot be started; then nothing was."""
    directory = store.create(plan.spec)
    try:
        environment = bound(plan, directory)
        choices, faults = plan.faults(environment.cluster)
    except BaseException:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise
    schedule.save(faults, directory.schedule)
    failures, interruption = Failures(), Interruption()
    with logging_to(directory.log), interruption.handled():
        _log.info("run %s: %s", directory.run_id, plan.spec)
        try:
            findings = lived(plan, environment, choices, faults, directory, failures, interruption)
            store.point("latest", directory)
            result = judged(directory, plan, faults, findings, failures, interruption.is_asked)
        except KeyboardInterrupt:
            if not interruption.is_aborted:
                raise
            store.point("latest", directory)
            failures.add("run", "told twice to stop, so nothing was checked; `themis analyze` checks what was recorded")
            unchecked = Verdict.unknown("interrupted before the check")
            result = Result(unchecked, run_id=directory.run_id, interrupted=True, harness=tuple(failures.found))
        write_json(directory.verdict, result)
    return directory, result


def lived(
    plan: Plan,
    environment: Environment,
    choices: Sequence[FaultChoice],
    faults: Schedule,
    directory: RunDirectory,
    failures: Failures,
    interruption: Interruption,
) -> dict[str, Verdict]:
    """The run's life, from up to torn down, with its history written; what the environment itself found to be wrong.

    Raises KeyboardInterrupt, after the tear-down, when the user wants out at once.
    """
    if plan.spec.env != "sim":
        with failures.noted("removing what an earlier run left"):
            for problem in remove_before(plan.spec.env):
                _log.warning("could not be removed: %s", problem)
    cluster = environment.cluster
    nemesis = Nemesis(
        cluster, build_faults(choices, cluster), timeout_s=None if plan.spec.env == "sim" else FAULT_TIMEOUT_S
    )
    findings: dict[str, Verdict] = {}
    try:
        with jsonl.Writer(directory.history, {"run": directory.run_id}) as writer, failures.noted("run"):
            samples = drive(plan, environment, nemesis, choices, faults, writer.append, interruption)
            if samples:
                findings[clock_series.CHECKER] = clock_series.series(samples)
        with failures.noted("findings"):
            findings |= environment.findings()
    finally:
        with interruption.shielded():
            if not interruption.is_aborted:
                with failures.noted("heal"):
                    heal(nemesis, failures)
            with failures.noted("collect"):
                environment.collect()
            with failures.noted("tear down"):
                environment.down()
    return findings


def heal(nemesis: Nemesis, failures: Failures) -> None:
    """Every fault healed; one that could not be is a failure of the harness, beside the verdict."""
    for name, healed in nemesis.heal_all().items():
        if healed.status == "indeterminate":
            failures.add("heal", f"{name}: {healed.why or 'the measurement disagrees'}")


def bound(plan: Plan, directory: RunDirectory) -> Environment:
    """The environment, checked but not started. Raises UsageError."""
    try:
        environment = plan.environment(
            Deployment(
                run_id=directory.run_id,
                directory=directory.path,
                target=plan.target,
                options=plan.target_options,
                bugs=frozenset(plan.spec.bugs),
                nodes=plan.spec.nodes,
                seed=plan.spec.seed,
                client_timeout_s=plan.spec.client_timeout_s,
                env_options=plan.spec.env_options,
                moves_clocks=plan.moves_clocks,
            )
        )
        environment.check()
    except EnvironmentUnavailable as error:
        raise UsageError(f"environment {plan.spec.env}: {error}") from error
    return environment


def drive(
    plan: Plan,
    environment: Environment,
    nemesis: Nemesis,
    choices: Sequence[FaultChoice],
    faults: Schedule,
    record: Callable[[Op], None],
    interruption: Interruption,
) -> list[ClockSample]:
    """Bring the nodes up and run the interpreter to its end, recording each op as it happens; the nodes' clocks meanwhile."""
    environment.up()
    progress = Progress(plan.spec.time_limit_s)

    def recorded(op: Op) -> None:
        record(op)
        progress.note(op)

    interpreter = phases.interpreter(plan, choices, faults, recorded)
    interruption.on_ask(interpreter.stop)
    # In a simulation the faults themselves say exactly what each clock reads; elsewhere it is measured.
    clocks = None if plan.spec.env == "sim" else environment.cluster.clocks
    with watched(progress, nemesis.fault_in_force, environment.cluster.primary), sampled(clocks) as samples:
        environment.drive(interpreter, nemesis, plan.target.client(plan.workload.interface))
    return samples


def judged(
    directory: RunDirectory,
    plan: Plan,
    faults: Schedule | None,
    findings: dict[str, Verdict],
    failures: Failures,
    interrupted: bool,
) -> Result:
    """All checkers' verdicts on what the folder holds, merged. faults: what was planned, where that is known."""
    try:
        loaded = jsonl.read(directory.history)
    except (MalformedHistory, OSError) as error:
        failures.add("check", f"the recorded history cannot be read: {error}")
        return Result(
            Verdict.unknown(f"the history cannot be read: {error}"),
            run_id=directory.run_id,
            interrupted=interrupted,
            harness=tuple(failures.found),
        )
    history = loaded.history
    parts = dict(findings)
    parts[plan.workload.name] = guarded(plan.workload.name, lambda: plan.workload.check(history, plan.context))
    parts["vacuity"] = guarded("vacuity", lambda: vacuity(history, plan.thresholds))
    parts["availability"] = guarded("availability", lambda: availability(history))
    if "invariants" not in parts and (traces := read_traces(directory.nodes)):
        parts["invariants"] = guarded("invariants", lambda: check_traces(traces, len(plan.spec.nodes)))
    return Result(
        merge(parts),
        run_id=directory.run_id,
        interrupted=interrupted,
        harness=tuple(failures.found),
        counts=counted(history)
        | ({} if faults is None else {"faults_missed": missed(history, phases.due(plan, faults))}),
    )


def missed(history: History, due: Sequence[tuple[int, str, Any]]) -> int:
    """How many of the fault ops that were due were never begun."""
    begun = [(op.f, op.value) for op in history.nemesis() if op.type == "invoke"]
    # As JSON has them: a plan that was never read from a file may hold tuples.
    asked = [(f, msgspec.json.decode(msgspec.json.encode(value))) for _, f, value in due]
    done = next((number for number, (a, b) in enumerate(zip(asked, begun, strict=False)) if a != b), len(begun))
    return max(0, len(asked) - done)


def counted(history: History) -> dict[str, int]:
    """How many client ops of each type, and how many faults were installed."""
    counts = Counter(op.type for op in history if op.is_client)
    installed = sum(
        1
        for op in history.nemesis()
        if op.type == "info" and isinstance(op.value, dict) and op.value.get("status") == "installed"
    )
    return {**{name: counts[name] for name in ("invoke", "ok", "fail", "info")}, "faults": installed}


def analyze(directory: RunDirectory, spec: RunSpec) -> Result:
    """Check a stored run again and write its verdict anew. What only the live run knew is kept from its old verdict."""
    old = directory.read_result()
    saved = schedule.load(directory.schedule, spec.nodes) if directory.schedule.is_file() else None
    plan = prepare(spec, saved=saved)
    failures = Failures()
    if old is not None:
        failures.found += [failure for failure in old.harness if failure.phase in ("heal", "tear down", "collect")]
    kept = {name: part for name, part in old.verdict.parts.items() if name in ENVIRONMENT_FINDINGS} if old else {}
    result = judged(directory, plan, saved, kept, failures, old.interrupted if old else True)
    write_json(directory.verdict, result)
    return result


ENVIRONMENT_FINDINGS = ("nodes", "liveness", clock_series.CHECKER)
"""Verdicts of `Environment.findings` that cannot be had from the files of a run."""


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The harness's log goes to `path`, with times in UTC."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()
