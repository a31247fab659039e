"""However a run ends, nothing of it is left on the machine: one table of what ends it and when.

Looked at, before and after: processes, shared memory, temporary files; for environments in the kernel also namespaces, links,
firewall rules, mounts, containers and their networks. Sweeps have their rows in test_workers.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from harness.environments.docker.environment import RUN_LABEL
from harness.environments.real import labelled_processes
from harness.errors import HARNESS, UNKNOWN, VALID
from harness.soak import machine
from harness.store.runs import RunDirectory
from harness.tests import kernel
from harness.tests.engine_relay import EngineRelay
from histories import jsonl

PATIENCE_S = 60.0
NODES = ("--nodes", "3", "--rate", "50", "--nemesis", "partition,kill,pause", "--nemesis-interval", "0.5")

ENDS_WITHOUT_A_VIOLATION = (VALID, UNKNOWN, HARNESS)

PHASES: dict[str, Callable[[RunDirectory], bool]] = {
    "bring up": lambda run: run.path.is_dir(),
    "main": lambda run: run.history.exists() and run.history.read_bytes().count(b"\n") > 20,
    "quiet": lambda run: run.log.exists() and "themis: quiet" in run.log.read_text(),
}
"""Phase -> whether the run has come to it."""

CONTROLLER, SUPERVISOR, FORK_SERVER, AGENT = "controller", "local.supervisor", "fork_server", "agent.py"
QUICK = [
    ("bring up", CONTROLLER, signal.SIGTERM),
    ("main", CONTROLLER, signal.SIGHUP),
    ("main", CONTROLLER, signal.SIGKILL),
]
"""(phase, who gets the signal, which)"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
ALL = [(phase, CONTROLLER, number) for phase in PHASES for number in SIGNALS]
ALL += [(phase, whom, signal.SIGKILL) for phase in ("main", "quiet") for whom in (SUPERVISOR, FORK_SERVER)]


def named(row: object) -> str:
    return row.name if isinstance(row, signal.Signals) else str(row)


KERNEL_ROWS = [
    # What a signal means the controller decides, the same in both: docker has each signal once, and the rest in `make soak`.
    pytest.param(
        *(env, phase, number),
        marks=[pytest.mark.soak] if env == "docker" and phase != "main" and number != signal.SIGKILL else [],
    )
    for env in kernel.ENVIRONMENTS
    for phase in PHASES
    for number in SIGNALS
]


local_rows = pytest.mark.parametrize(
    ("phase", "whom", "number"),
    [pytest.param(*row, marks=[] if row in QUICK else [pytest.mark.long]) for row in ALL],
    ids=named,
)


def until(happened: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.01)


def start(env: str, place: Path, length_s: float, **variables: str) -> tuple[subprocess.Popen[bytes], RunDirectory]:
    """A run, as soon as it has a folder. Its temporary files are in place/tmp. variables: of its environment."""
    (place / "tmp").mkdir()
    store = place / "store"
    argv = [sys.executable, "-m", "harness", "test", "--env", env, *NODES, "--time-limit", f"{length_s:g}"]
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(
            [*argv, "--store", str(store)],
            env={**os.environ, "TMPDIR": str(place / "tmp"), **variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until(lambda: (store / "current").exists(), "the run did not begin")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, RunDirectory((store / "current").resolve())


def strike(process: subprocess.Popen[bytes], run: RunDirectory, whom: str, number: signal.Signals) -> None:
    """Send the signal to the controller, or to that process of the run."""
    if whom == CONTROLLER:
        process.send_signal(number)
        return
    for found in labelled_processes.labelled(run.run_id):
        # A node is forked from the fork server and has its command line too, but a name of its own.
        if whom in found.command and Path(f"/proc/{found.pid}/comm").read_text().startswith("python"):
            os.kill(found.pid, number)
            return
    raise AssertionError(f"no {whom} of {run.run_id} is there")


def kill_a_container(run: RunDirectory) -> None:
    """Kill the first process of one of the run's containers, which is its node's agent."""
    client = docker.from_env()
    try:
        client.containers.list(filters={"label": f"{RUN_LABEL}={run.run_id}"})[0].kill()
    finally:
        client.close()


def left(run: RunDirectory, place: Path, pid: int) -> list[str]:
    """What the run left, when it had the time to go."""

    def seen() -> Iterator[str]:
        yield from machine.processes(lambda run_id: run_id == run.run_id)
        yield from machine.semaphores(pid)
        yield from machine.temporary_files(place / "tmp")

    return machine.left(seen, frozenset(), PATIENCE_S)


@pytest.mark.real
@local_rows
def test_of_a_run_in_local(phase: str, whom: str, number: signal.Signals, tmp_path: Path) -> None:
    process, run = start("local", tmp_path, 0.5 if phase == "quiet" else 5.0)
    try:
        until(lambda: PHASES[phase](run), f"the run did not come to {phase}")
        strike(process, run, whom, number)
        process.wait(PATIENCE_S)
        assert left(run, tmp_path, process.pid) == []
        if run.history.exists():
            jsonl.read(run.history)
        if whom == CONTROLLER and number != signal.SIGKILL and phase != "bring up":
            assert json.loads(run.verdict.read_text())["interrupted"]
        assert b"Traceback" not in (tmp_path / "output").read_bytes()
    finally:
        process.kill()
        process.wait()


@pytest.mark.real
@pytest.mark.long
def test_of_a_run_in_local_that_ends_by_itself(tmp_path: Path) -> None:
    process, run = start("local", tmp_path, 0.5)
    assert process.wait(PATIENCE_S) in (0, 2)
    assert left(run, tmp_path, process.pid) == []


@pytest.mark.parametrize("number", SIGNALS, ids=named)
@pytest.mark.long
@pytest.mark.real
def test_of_a_run_in_the_simulation(number: signal.Signals, tmp_path: Path) -> None:
    process, run = start("sim", tmp_path, 1000.0)
    try:
        until(lambda: PHASES["main"](run), "the run did not come to main")
        process.send_signal(number)
        process.wait(PATIENCE_S)
        assert left(run, tmp_path, process.pid) == []
        jsonl.read(run.history)
    finally:
        process.kill()
        process.wait()


@pytest.mark.linux
@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("env", "phase", "number"), KERNEL_ROWS, ids=named)
def test_of_a_run_in_the_kernel(env: str, phase: str, number: signal.Signals, tmp_path: Path) -> None:
    """After SIGKILL `themis cleanup` removes it; after any other signal the run itself does."""
    before = kernel.traces()
    process, run = start(env, tmp_path, 2.0 if phase == "quiet" else 30.0)
    try:
        until(lambda: PHASES[phase](run), f"the run did not come to {phase}")
        process.send_signal(number)
        process.wait(PATIENCE_S)
        if number == signal.SIGKILL:
            cleaned = kernel.themis("cleanup")
            assert cleaned.returncode == 0, cleaned.stdout
        assert not kernel.leaked(before)
        assert left(run, tmp_path, process.pid) == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.linux
@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("env", kernel.ENVIRONMENTS)
@pytest.mark.parametrize("phase", ["main", "quiet"])
def test_of_a_run_in_the_kernel_whose_agent_is_killed(env: str, phase: str, tmp_path: Path) -> None:
    """The agent of one node, which is the first process of a container: the run takes everything away by itself."""
    before = kernel.traces()
    process, run = start(env, tmp_path, 1.0 if phase == "quiet" else 8.0)
    try:
        until(lambda: PHASES[phase](run), f"the run did not come to {phase}")
        if env == "docker":
            kill_a_container(run)
        else:
            strike(process, run, AGENT, signal.SIGKILL)
        assert process.wait(PATIENCE_S) in ENDS_WITHOUT_A_VIOLATION
        assert not kernel.leaked(before)
        assert left(run, tmp_path, process.pid) == []
        jsonl.read(run.history)
        assert b"Traceback" not in (tmp_path / "output").read_bytes()
    finally:
        process.kill()
        process.wait()


@pytest.mark.linux
@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("phase", PHASES)
def test_of_a_run_in_docker_whose_engine_is_killed(phase: str, tmp_path: Path) -> None:
    """Nobody can remove a container without an engine: the run ends with 255, and `cleanup` does the rest when one is back."""
    before = kernel.traces()
    engine = EngineRelay(tmp_path / "engine.sock")
    process, run = start("docker", tmp_path, 1.0 if phase == "quiet" else 20.0, DOCKER_HOST=engine.address)
    try:
        until(lambda: PHASES[phase](run), f"the run did not come to {phase}")
        engine.kill()
        assert process.wait(PATIENCE_S) == HARNESS
        said = (tmp_path / "output").read_text()
        assert "Traceback" not in said
        cleaned = kernel.themis("cleanup")
        assert cleaned.returncode == 0, cleaned.stdout
        assert not kernel.leaked(before)
        assert left(run, tmp_path, process.pid) == []
        if run.history.exists():
            jsonl.read(run.history)
    finally:
        engine.kill()
        process.kill()
        process.wait()
