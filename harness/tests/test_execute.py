"""What a run leaves when something goes wrong on the way: the failure is said, nothing else is skipped, and no verdict is lost."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, cast

import msgspec
import pytest

from checkers import Validity, Verdict
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.sim.environment import SimEnvironment
from harness.errors import HARNESS, INVALID, UsageError
from harness.generators.interpreter import Interpreter
from harness.report import summary
from harness.run import execute as execute_module
from harness.run import phases
from harness.run.check import analyze
from harness.run.execute import execute, run_into
from harness.run.interruption import Interruption
from harness.run.plan import Plan, prepare
from harness.run.sinks import FolderSink, MemorySink, logging_to
from harness.spec import RunSpec
from harness.store.runs import Store
from histories.history import History
from histories.op import NEMESIS, Op
from nemesis.capabilities import FaultError
from nemesis.family import Entry
from nemesis.nemesis import Nemesis
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3")
SECOND = 1_000_000_000
SPEC = RunSpec(env="sim", nodes=NODES, concurrency=4, time_limit_s=1.0, quiet_s=0.1, seed=1)
UNWATCHED = msgspec.structs.replace(SPEC, env_options={"liveness_s": 0})
"""Without the heal with which the simulation asks for liveness."""
CUT = Entry(SECOND // 10, "start-partition", {"grudge": {"n1": ["n2", "n3"]}})


class Environment(SimEnvironment):
    """The simulation, of which one method fails, or does something else first."""

    instead: Mapping[str, Callable[..., Any]] = {}

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self.called: list[str] = []
        for name in ("check", "up", "drive", "findings", "collect", "down"):
            setattr(self, name, self._watched(name, getattr(self, name)))

    def _watched(self, name: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.called.append(name)
            other = self.instead.get(name)
            return usual(*arguments) if other is None else other(self, usual, *arguments)

        return call


def planned(spec: RunSpec = SPEC, /, *faults: Entry, **instead: Callable[..., Any]) -> Plan:
    """The run's plan in an environment in which these methods are replaced: (environment, usual, arguments...) -> answer."""
    saved = Schedule(nodes=spec.nodes, entries=faults) if faults else None
    environment = type("Patched", (Environment,), {"instead": instead})
    return msgspec.structs.replace(prepare(spec, saved=saved), environment=environment)


def noting(make: Callable[[Deployment], Any], made: list[Environment]) -> Callable[[Deployment], Environment]:
    """Makes the environment, and notes it in `made`."""

    def noted(deployment: Deployment) -> Environment:
        made.append(make(deployment))
        return made[-1]

    return noted


def raising(*_arguments: Any) -> None:
    raise RuntimeError("no luck")


def environment_of(sink: MemorySink) -> Environment:
    return cast(Environment, sink.environment)


def open_links(environment: Environment) -> set[str]:
    return {reach for row in environment.cluster.links.probe().values() for reach in row.values()}


def cut_and_raise(environment: Environment, _usual: object, _interpreter: Interpreter, nemesis: Nemesis) -> None:
    """The first fault, and then the end of the run."""
    assert nemesis.invoke(Op(0, 0, "invoke", NEMESIS, CUT.f, value=CUT.value)).status == "installed"
    assert open_links(environment) == {"answers", "cut"}
    raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("method", "phase"),
    [("up", "run"), ("drive", "run"), ("findings", "findings"), ("collect", "collect"), ("down", "tear down")],
)
def test_what_fails_is_said_and_all_that_follows_is_done(method: str, phase: str, tmp_path: Path) -> None:
    plan = planned(**{method: raising})
    sink = FolderSink.create(Store(tmp_path), plan.spec, plan.folder)
    made: list[Environment] = []
    plan = msgspec.structs.replace(plan, environment=noting(plan.environment, made))
    result = execute(plan, sink)
    assert [(failure.phase, failure.error) for failure in result.harness] == [(phase, "RuntimeError: no luck")]
    assert "raising" in result.harness[0].traceback
    assert made[0].called[-3:] == ["findings", "collect", "down"]
    assert summary.code(result) == HARNESS
    assert sink.run.read_result() == result


def test_a_run_that_ends_in_the_middle_leaves_no_fault_in_force() -> None:
    sink = MemorySink("cut")
    result = execute(planned(UNWATCHED, CUT, drive=cut_and_raise), sink)
    assert open_links(environment_of(sink)) == {"answers"}
    assert environment_of(sink).called[-1] == "down"
    assert [failure.phase for failure in result.harness] == ["run"]


def test_a_heal_that_fails_is_a_failure_of_the_harness() -> None:
    def refuse_and_cut(environment: Environment, *arguments: Any) -> None:
        def refuse() -> None:
            raise FaultError("the cable is gone")

        environment.cluster.links.heal = refuse  # type: ignore[method-assign]
        cut_and_raise(environment, *arguments)

    result = execute(planned(UNWATCHED, CUT, drive=refuse_and_cut), MemorySink("cut"))
    assert [(failure.phase, failure.error) for failure in result.harness][1:] == [
        ("heal", "partition: FaultError: the cable is gone")
    ]


def test_what_the_environment_found_decides_and_a_failed_tear_down_does_not_hide_it() -> None:
    def found(*_arguments: Any) -> dict[str, Verdict]:
        return {"nodes": Verdict.invalid("the core of n1 raised", "nodes")}

    result = execute(planned(findings=found, down=raising), MemorySink("found"))
    assert result.verdict.validity is Validity.INVALID
    assert result.verdict.reason == "nodes: the core of n1 raised"
    assert [failure.phase for failure in result.harness] == ["tear down"]
    assert summary.code(result) == INVALID


def test_a_run_that_was_asked_to_end_says_so() -> None:
    interruption = Interruption()
    interruption.number = signal.SIGTERM
    sink = MemorySink("asked")
    assert execute(planned(), sink, interruption).interrupted
    assert {op.f for op in sink.history() if op.is_client} <= {"read"}, "final reads at the most"
    assert not execute(planned(), MemorySink("whole")).interrupted


def test_a_run_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    def refuse(*_arguments: Any) -> None:
        raise EnvironmentUnavailable("no engine")

    with pytest.raises(UsageError, match="environment sim: no engine"):
        run_into(Store(tmp_path), planned(check=refuse))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("faults", "is_kept"), [((), False), ((CUT,), True)])
def test_node_data_goes_only_when_the_run_was_good(faults: tuple[Entry, ...], is_kept: bool, tmp_path: Path) -> None:
    """Without its heal the second run is UNKNOWN."""

    def store_data(environment: Environment, usual: Callable[[], None]) -> None:
        usual()
        data = environment.deployment.directory / "nodes" / "n1" / "data"
        data.mkdir(parents=True)
        (data / "wal.log").write_text("x")

    def forget_heals(environment: Environment, usual: Callable[..., None], *arguments: Any) -> None:
        if faults:
            environment.cluster.links.drop = lambda grudge: None  # type: ignore[method-assign]
        usual(*arguments)

    run, result = run_into(Store(tmp_path), planned(SPEC, *faults, collect=store_data, drive=forget_heals))
    assert (result.verdict.validity is Validity.UNKNOWN) == is_kept
    assert sorted(path.name for path in (run.nodes / "n1").glob("data*")) == (["data.tar.gz"] if is_kept else [])


def test_final_reads_come_after_the_heal_and_faults_beyond_the_time_limit_never() -> None:
    late = Entry(2 * SECOND, "kill", ["n1"])
    sink = MemorySink("order")
    result = execute(planned(SPEC, CUT, late), sink)
    history = sink.history()
    faults = [op for op in history.nemesis() if op.type == "invoke"]
    assert [op.f for op in faults] == [CUT.f, "start", "stop-partition"]
    healed_ns = max(op.time for op in history.nemesis())
    after = [op for op in history if op.is_client and op.time > healed_ns]
    assert {(op.f, op.process) for op in after if op.type == "ok"} == {("read", thread) for thread in range(4)}
    assert result.counts["faults_missed"] == 0


def test_a_replay_waits_for_all_its_faults_and_a_planned_run_for_as_long_again_as_it_lasts() -> None:
    assert phases.late_s_max(planned(SPEC, CUT)) is None
    assert phases.late_s_max(planned(SPEC)) == SPEC.time_limit_s


def struck(at: int | None) -> tuple[list[str], int]:
    """A run that gets two signals before the so many-th line that its tear-down depends on: what was called of its environment,
    and how many such lines were done."""
    watched = {
        execute_module.perform.__code__,
        *(inspect.unwrap(part).__code__ for part in (Interruption.shielded, Interruption.unshielded)),
    }
    interruption, sink = Interruption(), MemorySink("struck")
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if frame.f_code not in watched:
            return None
        if event == "line":
            count += 1
            if count == at:
                for _ in range(2):
                    interruption._received(signal.SIGINT, None)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        execute(planned(msgspec.structs.replace(UNWATCHED, time_limit_s=0.1)), sink, interruption)
    finally:
        sys.settrace(before)
    return environment_of(sink).called, count


def test_no_moment_of_a_run_lets_a_second_signal_skip_the_tear_down() -> None:
    called, count = struck(None)
    assert called[-1] == "down"
    for at in range(1, count + 1):
        called, _ = struck(at)
        assert "up" not in called or called[-1] == "down", f"at line {at} of {count}"


def test_the_times_of_the_log_are_utc_wherever_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    with logging_to(tmp_path / "themis.log"):
        logging.getLogger("themis").handle(
            logging.makeLogRecord(
                {"name": "themis", "levelno": logging.INFO, "created": 0.0, "msecs": 0.0, "msg": "here"}
            )
        )
    monkeypatch.undo()
    time.tzset()
    assert (tmp_path / "themis.log").read_text().startswith("1970-01-01 00:00:00,000 ")


@pytest.mark.parametrize("how", ["the disk", "two signals"])
def test_what_the_live_run_found_outlives_a_check_that_is_cut_short(how: str, tmp_path: Path) -> None:
    """Liveness was INVALID when the history was to be read. Then the verdict was UNKNOWN, and `analyze` found the run VALID."""

    class Sink(FolderSink):
        is_first = True

        def history(self) -> History:
            if Sink.is_first:
                Sink.is_first = False
                if how == "the disk":
                    raise OSError(5, "Input/output error")
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            return super().history()

    slow = {"slow_nodes_ms": {"n1": 400, "n2": 400}, "liveness_s": 1}
    spec = msgspec.structs.replace(SPEC, env_options=slow)
    plan = prepare(spec)
    sink = Sink.create(Store(tmp_path), spec, plan.folder, is_watched=False)
    interruption = Interruption()
    with interruption.handled():
        result = execute(plan, sink, interruption)
    assert summary.code(result) == INVALID
    assert result.verdict.parts["liveness"].validity is Validity.INVALID
    assert analyze(Store(tmp_path), sink.run, spec).verdict.validity is Validity.INVALID
