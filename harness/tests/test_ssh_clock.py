"""The clock of a machine itself (`--allow-system-clock`), moved for real by less than half a second and put back. The one machine
here is this one: what is tested is that its clock is right afterwards. Needs root and a clock that may be set."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.real import labelled_processes
from harness.environments.real.executor import run_here
from harness.environments.ssh import examine, remote_directories
from harness.tests.sshd import Machines, awaited, in_background, machines, themis
from histories import jsonl

pytestmark = [pytest.mark.linux, pytest.mark.long, pytest.mark.timeout(300)]

MS_NS = 1_000_000
OFFSET_NS = 400 * MS_NS
RIGHT_NS = 5 * MS_NS
"""A clock within this is right: reading two clocks one after the other takes microseconds on an idle machine."""
READING_NS = 40 * MS_NS
"""How far a reading over SSH may be off on a busy machine."""
UP_S_MAX = 60.0
BACK_S_MAX = 10.0


def ahead_ns() -> int:
    """The wall clock less the clock that nobody sets, where the two were read with the least between them."""
    found = []
    for _ in range(5):
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        shown_ns = time.time_ns()
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found.append((after_ns - before_ns, shown_ns - (before_ns + after_ns) // 2))
    return min(found)[1]


class Watched:
    """This machine's clock, read all the time. true_ns: what it was ahead at first."""

    def __init__(self) -> None:
        self.true_ns = ahead_ns()
        self.seen_ns: list[int] = []
        """What it was off, in the order of time."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def off_ns(self) -> int:
        """What it is off now."""
        return ahead_ns() - self.true_ns

    def is_right(self) -> bool:
        return abs(self.off_ns()) < RIGHT_NS

    def is_moved(self) -> bool:
        return abs(self.off_ns() - OFFSET_NS) < RIGHT_NS

    def end(self) -> None:
        """Not watched any more."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.005):
            self.seen_ns.append(self.off_ns())


@pytest.fixture
def clock() -> Iterator[Watched]:
    watched = Watched()
    try:
        yield watched
    finally:
        watched.end()
        off_ns = watched.off_ns()
        if abs(off_ns) >= RIGHT_NS:  # Whatever was wrong: other tests must not find it so.
            time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() - off_ns)
    assert abs(off_ns) < RIGHT_NS


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("machines"), 1) as made:
        yield made


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def planned(path: Path, start: dict[str, Any], begin_s: float, end_s: float) -> str:
    """A schedule file with one clock fault."""
    entries = [
        {"time_ns": int(begin_s * 1e9), "f": "start-clock", "value": start},
        {"time_ns": int(end_s * 1e9), "f": "stop-clock"},
    ]
    path.write_text(json.dumps({"version": 1, "nodes": ["n1"], "entries": entries}))
    return str(path)


def arguments(made: Machines, tmp_path: Path, *more: str) -> list[str]:
    """Of `themis test`."""
    return ["test", *made.arguments("--rate", "50", "--seed", "1", "--store", str(tmp_path / "store"), *more)]


def one_run(made: Machines, tmp_path: Path, *more: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What each clock op of a whole run says of itself, the heal at the end left out; and what the command warns of."""
    ended = themis(*arguments(made, tmp_path, "--time-limit", "5", "--json", *more))
    assert ended.stdout, ended.stderr
    data = json.loads(ended.stdout)
    assert data["exit_code"] == 0, data
    assert not data["result"].get("harness"), data
    history = jsonl.read(Path(data["run"]) / "history.jsonl").history
    found: dict[str, dict[str, Any]] = {}
    for op in history.nemesis():
        if op.type == "info" and isinstance(op.value, dict) and "status" in op.value:
            found.setdefault(op.f, op.value)
    assert {value["status"] for value in found.values()} == {"installed"}
    return found, ended.stderr


def test_the_clock_is_moved_measured_and_put_back(one: Machines, tmp_path: Path, clock: Watched) -> None:
    offset = {"kind": "offset", "offset_ns": {"n1": OFFSET_NS}}
    schedule = planned(tmp_path / "schedule.json", offset, 1.5, 2.5)
    ops, said = one_run(one, tmp_path, "--nemesis", "clock:offset", "--allow-system-clock", "--schedule", schedule)
    assert clock.is_right()
    moved = [ns for ns in clock.seen_ns if abs(ns) > RIGHT_NS]
    assert moved
    assert all(abs(ns - OFFSET_NS) < RIGHT_NS for ns in moved)
    assert "has this machine's clock" in said
    assert ops["start-clock"]["evidence"]["offsets_ns"]["n1"] == pytest.approx(OFFSET_NS, abs=READING_NS)
    assert ops["stop-clock"]["evidence"]["before_offsets_ns"]["n1"] == pytest.approx(OFFSET_NS, abs=READING_NS)
    assert ops["stop-clock"]["evidence"]["offsets_ns"]["n1"] == pytest.approx(0, abs=READING_NS)
    assert one.is_clean()


def test_the_clock_runs_fast_and_is_put_back(one: Machines, tmp_path: Path, clock: Watched) -> None:
    drift = {"kind": "drift", "rate": {"n1": 1.2}}
    schedule = planned(tmp_path / "schedule.json", drift, 1.0, 2.0)
    ops, _ = one_run(one, tmp_path, "--nemesis", "clock:drift", "--allow-system-clock", "--schedule", schedule)
    assert clock.is_right()
    assert 100 * MS_NS < max(clock.seen_ns) < 600 * MS_NS
    assert ops["start-clock"]["evidence"]["rates"]["n1"] == pytest.approx(1.2, abs=0.05)
    assert one.is_clean()


def test_unless_it_is_allowed_the_clock_is_not_touched(one: Machines, tmp_path: Path, clock: Watched) -> None:
    offset = {"kind": "offset", "offset_ns": {"n1": OFFSET_NS}}
    schedule = planned(tmp_path / "schedule.json", offset, 1.0, 2.0)
    ops, said = one_run(one, tmp_path, "--schedule", schedule)
    assert "has this machine's clock" not in said
    assert ops["start-clock"]["evidence"]["offsets_ns"]["n1"] == pytest.approx(OFFSET_NS, abs=READING_NS)
    # All but a reading or two between which this thread was set aside.
    far = [ns for ns in clock.seen_ns if abs(ns) > RIGHT_NS]
    assert len(clock.seen_ns) > 100
    assert far == []


@pytest.fixture
def moved(one: Machines, tmp_path: Path, clock: Watched) -> Iterator[subprocess.Popen[bytes]]:
    """A controller in the middle of a run, with the machine's clock moved."""
    offset = {"kind": "offset", "offset_ns": {"n1": OFFSET_NS}}
    schedule = planned(tmp_path / "schedule.json", offset, 0.5, 50)
    more = ("--time-limit", "60", "--allow-system-clock", "--schedule", schedule)
    controller = in_background(*arguments(one, tmp_path, *more))
    try:
        awaited(clock.is_moved, UP_S_MAX, controller)
        yield controller
    finally:
        controller.kill()
        controller.wait()


def test_after_sigterm_the_clock_is_put_back(one: Machines, clock: Watched, moved: subprocess.Popen[bytes]) -> None:
    moved.send_signal(signal.SIGTERM)
    moved.wait(60)
    assert clock.is_right()
    assert one.is_clean()


def test_after_kill_9_of_the_controller_the_guard_puts_the_clock_back(
    one: Machines, clock: Watched, moved: subprocess.Popen[bytes]
) -> None:
    moved.kill()
    awaited(clock.is_right, BACK_S_MAX)
    (left,) = remote_directories.find_leftovers()
    assert left.remove() is None
    assert clock.is_right()
    assert one.is_clean()


def test_a_controller_that_falls_silent_leaves_the_clock_to_the_guard(
    one: Machines, tmp_path: Path, clock: Watched
) -> None:
    offset = {"kind": "offset", "offset_ns": {"n1": OFFSET_NS}}
    schedule = planned(tmp_path / "schedule.json", offset, 0.5, 50)
    more = ("--time-limit", "60", "--allow-system-clock", "--schedule", schedule, "-e", "silence_s=30")
    controller = in_background(*arguments(one, tmp_path, *more))
    try:
        awaited(clock.is_moved, UP_S_MAX, controller)
        controller.send_signal(signal.SIGSTOP)
        awaited(clock.is_right, 30 + BACK_S_MAX)
    finally:
        controller.kill()
        controller.wait()
    for left in remote_directories.find_leftovers():
        assert left.remove() is None
    assert one.is_clean()


def test_after_kill_9_of_both_the_sweep_puts_the_clock_back(
    one: Machines, clock: Watched, moved: subprocess.Popen[bytes]
) -> None:
    moved.send_signal(signal.SIGSTOP)  # It must not see its guard end, and end the run in good order.
    (pid_file,) = Path(one.remote).glob("*/*/guard.pid")
    assert labelled_processes.end([int(pid_file.read_text().partition(":")[0])]) == []
    moved.kill()
    moved.wait()
    assert clock.is_moved(), "nobody is there to put it back"
    (left,) = remote_directories.find_leftovers()
    assert left.remove() is None
    assert clock.is_right()
    assert one.is_clean()


def refused(made: Machines, tmp_path: Path) -> str:
    """What the command says; it must refuse the run before anything is started."""
    ended = themis(*arguments(made, tmp_path, "--time-limit", "2", "--nemesis", "clock", "--allow-system-clock"))
    assert ended.returncode == 254, (ended.stdout, ended.stderr)
    assert not list((tmp_path / "store").glob("*/*/spec.json"))
    assert not made.is_used()
    return ended.stderr


def test_machines_that_share_one_clock_are_refused(tmp_path: Path, clock: Watched) -> None:
    with machines(tmp_path, 3) as three:
        said = refused(three, tmp_path)
    assert "the machines of n1 and n2 share one kernel and with it one clock" in said
    assert "n3" in said
    assert "Leave --allow-system-clock out" in said


@pytest.mark.parametrize("name", ["chronyd", "ntpd", "systemd-timesyncd"])
def test_a_program_that_keeps_the_clock_is_seen(one: Machines, tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "100"]) as keeper:
        try:
            said = refused(one, tmp_path)
        finally:
            keeper.kill()
    assert f"{name[:15]} would set the clock back" in said
    assert "leave --allow-system-clock out" in said


def test_a_machine_that_may_not_set_its_clock_is_refused(tmp_path: Path, clock: Watched) -> None:
    with machines(tmp_path, 1) as confined:
        confined.stop("n1")
        confined.confinement = ("setpriv", "--bounding-set=-sys_time", "--")
        confined.start("n1")
        said = refused(confined, tmp_path)
    assert "its clock cannot be set" in said
    assert "leave --allow-system-clock out" in said


def test_who_may_set_the_clock_is_known_without_setting_it() -> None:
    assert examine.may_set_clock()
    alone = Path(examine.__file__).read_text().partition("def main")[0] + "print(may_set_clock())"
    for confined in (
        ["setpriv", "--bounding-set=-sys_time", "--"],
        ["setpriv", "--reuid=65534", "--clear-groups", "--"],
        ["unshare", "--user", "--map-root-user", "--"],
    ):
        # The system's own Python: this one may be where others cannot read.
        ran = run_here([*confined, "/usr/bin/python3", "-c", alone]).checked()
        assert ran.text.strip() == "False", confined
