"""A program that knows nothing of this project, run by the whole command: every environment breaks it, measures that it did,
and moves its clock; and a bug of it that shows only when clocks disagree is found."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.environments import registry
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.real import faketime
from harness.environments.real.executor import run_here
from harness.tests import kernel
from harness.tests.outside import TARGET, OutsideTarget
from harness.tests.sshd import Machines, machines
from harness.tests.starting import start
from histories.units import NS_PER_S
from targets.target import Ports

MODULE = "harness.tests.outside:TARGET"
NEAR_NS = NS_PER_S
"""Far less than what is asked, and more than a reading is off on a busy machine."""
SECONDS = 10

Faults = list[tuple[float, str, object]]
"""When, in seconds; the op and its value."""

CLOCKS: Faults = [
    (4.6, "start-clock", {"kind": "offset", "offset_ns": {"n1": 40 * NS_PER_S, "n2": -25 * NS_PER_S}}),
    (6.0, "start-clock", {"kind": "jump", "offset_ns": {"n1": -7 * NS_PER_S}}),
    (7.0, "stop-clock", None),
    (7.4, "start-clock", {"kind": "drift", "rate": {"n3": 1.5}}),
    (9.2, "stop-clock", None),
]
"""The nodes named are up and reached at these times, so that every one of them can be measured."""
OTHERS: Faults = [
    (0.6, "start-partition", {"shape": "one", "grudge": {"n1": ["n2"], "n2": ["n1"]}}),
    (1.5, "stop-partition", None),
    (2.0, "kill", ["n1"]),
    (2.6, "start", ["n1"]),
    (3.4, "pause", ["n1", "n3"]),
    (4.2, "resume", ["n1", "n3"]),
]


def left_by_faketime() -> list[str]:
    """Shared memory of programs that do not live any more; those that live may be another test's."""
    pids = {path.name: path.name.rpartition("_")[2] for path in Path("/dev/shm").glob("*faketime*")}
    return [name for name, pid in pids.items() if not Path(f"/proc/{pid}").exists()]


def schedule(path: Path, faults: Faults) -> Path:
    entries = [{"time_ns": int(time_s * NS_PER_S), "f": f, "value": value} for time_s, f, value in faults]
    path.write_text(json.dumps({"version": 1, "nodes": ["n1", "n2", "n3"], "entries": entries}))
    return path


def run(where: list[str], store: Path, *more: str, seconds: int = SECONDS) -> tuple[dict[str, Any], Path]:
    """What `themis test --json` says of a run, and its folder."""
    common = ["--target", MODULE, "--time-limit", str(seconds), "--rate", "60", "--seed", "5", "--store", str(store)]
    ended = kernel.themis("test", *common, *where, *more, "--json")
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    assert not data["result"].get("harness"), data["result"]["harness"]
    return data, Path(data["run"])


def assert_valid_and_every_fault_was_seen(data: dict[str, Any], folder: Path, asked: Faults) -> None:
    assert data["exit_code"] == 0, data["result"]
    done = kernel.faults(folder)
    assert [fault["f"] for fault in done[: len(asked)]] == [f for _, f, _ in asked]
    for fault in done[: len(asked)]:
        assert fault["status"] == "installed", fault
        assert fault["evidence"], fault
    assert all(fault["status"] != "indeterminate" for fault in done), done
    for node in ("n1", "n2", "n3"):
        assert "home is n1" in (folder / "nodes" / node / "node.log").read_text()
        assert not (folder / "nodes" / node / "trace.jsonl").exists()


def assert_the_clocks_were_measured(data: dict[str, Any], folder: Path) -> None:
    """Those asked were those measured, at the fault and in the series of the whole run."""
    starts = [fault for fault in kernel.faults(folder) if fault["f"] == "start-clock"]
    for fault in starts[:2]:
        for node, asked_ns in fault["did"]["offset_ns"].items():
            assert fault["evidence"]["offsets_ns"][node] == pytest.approx(asked_ns, abs=NEAR_NS)
    assert starts[2]["evidence"]["rates"]["n3"] == pytest.approx(1.5, abs=0.15)
    series = data["result"]["verdict"]["parts"]["clocks"]["evidence"]["samples"]
    assert len(series) >= SECONDS - 2
    seen = {node: [sample["offset_ns"][node] or 0 for sample in series] for node in ("n1", "n2", "n3")}
    assert max(seen["n1"]) == pytest.approx(40 * NS_PER_S, abs=NEAR_NS)
    assert min(seen["n2"]) == pytest.approx(-25 * NS_PER_S, abs=NEAR_NS)
    assert max(seen["n3"]) > NS_PER_S // 5, "it drifted"
    last = series[-1]["offset_ns"]
    assert all(ns is not None and abs(ns) < NEAR_NS for ns in last.values()), "and was put right"


def assert_a_moved_clock_shows_the_bug(where: list[str], directory: Path) -> None:
    clocks = [(time_s - 3.8, f, value) for time_s, f, value in CLOCKS if time_s < 7.4]
    asked = schedule(directory / "clocks.json", clocks)
    data, _ = run(where, directory / "store", "--bug", "clock-lease", "--schedule", str(asked), seconds=5)
    assert data["exit_code"] == 1, data["result"]
    assert data["result"]["verdict"]["parts"]["linearizable"]["validity"] == "invalid"


@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(180)
def test_a_program_is_broken_measured_and_found_valid_here(tmp_path: Path) -> None:
    """With clocks where libfaketime is installed; where it is not, they are refused with the command that mends it."""
    where = ["--env", "local", "--nodes", "3"]
    try:
        faketime.find_library(TARGET, run_here, "here")
    except EnvironmentUnavailable:
        clocks = schedule(tmp_path / "clocks.json", CLOCKS)
        refused = kernel.themis("test", "--target", MODULE, *where, "--schedule", clocks, "--store", tmp_path / "store")
        assert refused.returncode == 254
        assert "apt-get install libfaketime" in refused.stderr
        data, folder = run(where, tmp_path, "--schedule", str(schedule(tmp_path / "others.json", OTHERS)))
        assert_valid_and_every_fault_was_seen(data, folder, OTHERS)
        return
    data, folder = run(where, tmp_path, "--schedule", str(schedule(tmp_path / "all.json", OTHERS + CLOCKS)))
    assert_valid_and_every_fault_was_seen(data, folder, OTHERS + CLOCKS)
    assert_the_clocks_were_measured(data, folder)


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("env", kernel.ENVIRONMENTS)
def test_a_program_is_broken_measured_and_found_valid_there(env: str, tmp_path: Path) -> None:
    before = kernel.traces()
    asked = schedule(tmp_path / "all.json", OTHERS + CLOCKS)
    data, folder = run(["--env", env, "--nodes", "3"], tmp_path, "--schedule", str(asked))
    assert_valid_and_every_fault_was_seen(data, folder, OTHERS + CLOCKS)
    assert_the_clocks_were_measured(data, folder)
    assert not kernel.leaked(before)
    assert not left_by_faketime()


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("env", ["local", *kernel.ENVIRONMENTS])
def test_a_moved_clock_shows_the_bug(env: str, tmp_path: Path) -> None:
    assert_a_moved_clock_shows_the_bug(["--env", env, "--nodes", "3"], tmp_path)


@pytest.mark.linux
@pytest.mark.real
def test_nothing_but_a_moved_clock_shows_the_bug(tmp_path: Path) -> None:
    others = schedule(tmp_path / "others.json", OTHERS)
    where = ["--env", "local", "--nodes", "3"]
    data, _ = run(where, tmp_path / "store", "--bug", "clock-lease", "--schedule", str(others), seconds=6)
    assert data["exit_code"] == 0, data["result"]


class Untold(OutsideTarget):
    """Does not tell its clock."""

    async def status(self, node: Ports) -> Mapping[str, Any]:
        return {"role": (await super().status(node))["role"]}


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("env", ["local", *kernel.ENVIRONMENTS])
def test_a_clock_that_the_program_does_not_tell_is_measured_beside_it_and_outlives_a_restart(
    env: str, tmp_path: Path
) -> None:
    target = Untold()
    nodes = ("n1", "n2", "n3")
    deployment = Deployment(
        f"test-{env}-{time.time_ns()}", tmp_path, target, target.option_type(), frozenset(), nodes, 7, moves_clocks=True
    )
    environment = registry.find(env)(deployment)
    environment.check()
    clocks, processes = environment.cluster.clocks, environment.cluster.processes
    assert clocks is not None
    assert processes is not None

    def assert_read(**offsets_s: int) -> None:
        expected = {node: offsets_s[node] * NS_PER_S for node in offsets_s}
        assert clocks.offsets_ns() == pytest.approx(expected, abs=NEAR_NS)

    try:
        environment.up()
        assert_read(n1=0, n2=0, n3=0)
        clocks.set_offset({"n2": -3600 * NS_PER_S, "n3": 25 * NS_PER_S})
        assert_read(n1=0, n2=-3600, n3=25)
        processes.kill(["n2"])
        assert clocks.offsets_ns()["n2"] is None
        start(environment.cluster, ["n2"])
        processes.pause(["n3"])
        assert clocks.offsets_ns()["n3"] is None
        processes.resume(["n3"])
        assert_read(n1=0, n2=-3600, n3=25)
        assert environment.statuses()["n2"] == {"role": "passer"}
        clocks.heal()
        assert_read(n1=0, n2=0, n3=0)
    finally:
        environment.down()


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with machines(tmp_path, 3) as made:
        yield made


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(300)
def test_a_program_on_machines_is_broken_measured_and_found_valid_and_the_bug_shows(
    three: Machines, tmp_path: Path
) -> None:
    asked = schedule(tmp_path / "all.json", OTHERS + CLOCKS)
    data, folder = run(three.arguments(), tmp_path / "store", "--schedule", str(asked))
    assert_valid_and_every_fault_was_seen(data, folder, OTHERS + CLOCKS)
    assert_the_clocks_were_measured(data, folder)
    assert three.is_clean()
    assert_a_moved_clock_shows_the_bug(three.arguments(), tmp_path)


@pytest.mark.linux
@pytest.mark.real
def test_a_program_is_looked_for_in_the_image_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_program.py").write_text(
        "from harness.tests.outside import OutsideTarget\n"
        "class Theirs(OutsideTarget):\n"
        "    installed = ('their-server', '--version')\n"
        "    install = 'apt-get install their-server'\n"
        "TARGET = Theirs()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = kernel.traces()
    for env in ("local", *kernel.ENVIRONMENTS):
        ended = kernel.themis("test", "--target", "their_program:TARGET", "--env", env, "--store", tmp_path / "store")
        assert ended.returncode == 254, ended.stderr
        assert "apt-get install their-server" in ended.stderr
    assert not kernel.leaked(before)


def test_the_server_needs_nothing_of_ours() -> None:
    source = (Path(__file__).parent / "outside_server.py").read_text()
    imported = {
        line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported <= sys.stdlib_module_names
