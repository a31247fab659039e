"""The guard of an SSH machine, as a process of this one; and the clock that it moves, which is a fake here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.real import labelled_processes
from harness.environments.ssh import guard
from harness.environments.ssh.system_clock import SystemClock

SECOND_NS = 1_000_000_000

RUN = f"run-{os.getpid()}"
"""The label of this process's runs: other tests of this file may run beside it, in a process of their own."""


class Served:
    """A guard and its channel."""

    def __init__(self, root: Path, silence_s: float = 60) -> None:
        self.root = root
        root.mkdir(parents=True)
        command = [sys.executable, "-m", guard.__name__, "serve", str(root), RUN, str(silence_s)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def do(self, command: str, /, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["ok"]

    def spawn(self) -> int:
        pid: int = self.do(
            "spawn",
            node="n1",
            argv=["sleep", "1000"],
            environment={},
            directory=str(self.root),
            output=str(self.root / "node.log"),
            files={},
            folders=[],
        )
        return pid

    def close(self) -> None:
        """Its channel ends."""
        self.process.communicate(timeout=20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "base" / "run" / "n1")
    yield made
    made.process.kill()
    made.close()


def undo(directory: Path) -> dict[str, Any]:
    """To take back a rule, which is a file here."""
    rule = directory / "rule"
    rule.touch()
    return {"device": "", "take_back": [["false"], ["rm", str(rule)]], "gone": [["test", "-e", str(rule)]]}


def sweep(root: Path) -> list[str]:
    """What is still there after it."""
    command = [sys.executable, "-m", guard.__name__, "sweep", str(root)]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


@pytest.mark.real
def test_with_its_channel_end_the_node_the_rules_and_the_guard(served: Served, tmp_path: Path) -> None:
    served.do("undo", undo=undo(tmp_path))
    pid = served.spawn()
    assert (served.root / guard.NODE_PID).read_text() == labelled_processes.identity(pid)
    assert (served.root / guard.GUARD_PID).read_text() == labelled_processes.identity(served.process.pid)
    assert [(found.pid, found.is_orphan) for found in labelled_processes.labelled(RUN)] == [(pid, False)]
    served.do("signal", node="n1", name="SIGSTOP")
    served.close()
    assert served.process.returncode == 0
    assert labelled_processes.state(pid) == "dead"
    assert not (tmp_path / "rule").exists()
    assert sweep(served.root) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_silence_ends_it_although_its_channel_stands(tmp_path: Path) -> None:
    quiet = Served(tmp_path / "base" / "run" / "n1", silence_s=1.0)
    quiet.do("undo", undo=undo(tmp_path))
    pid = quiet.spawn()
    assert quiet.process.wait(20) == guard.SILENT
    assert labelled_processes.state(pid) == "dead"
    assert not (tmp_path / "rule").exists()
    quiet.close()


@pytest.mark.real
def test_beats_keep_it_alive(tmp_path: Path) -> None:
    beaten = Served(tmp_path / "base" / "run" / "n1", silence_s=1.5)
    began_s = time.monotonic()
    while time.monotonic() - began_s < 3:
        beaten.do("beat")
        time.sleep(0.2)
    assert beaten.process.poll() is None
    beaten.close()


@pytest.mark.real
def test_after_a_kill_9_of_the_guard_its_node_dies_and_a_sweep_takes_back_the_rest(
    served: Served, tmp_path: Path
) -> None:
    served.do("undo", undo=undo(tmp_path))
    pid = served.spawn()
    assert labelled_processes.end([served.process.pid]) == []
    deadline_s = time.monotonic() + 5
    while labelled_processes.state(pid) != "dead":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert (tmp_path / "rule").exists()
    assert sweep(served.root) == []
    assert not (tmp_path / "base").exists()
    assert not (tmp_path / "rule").exists()


@pytest.mark.real
def test_a_sweep_ends_a_guard_that_lives_on_and_its_node(served: Served) -> None:
    pid = served.spawn()
    assert sweep(served.root) == []
    assert served.process.wait(5) != 0
    assert labelled_processes.state(pid) == "dead"


def test_a_pid_that_is_used_again_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "base" / "run" / "n1"
    root.mkdir(parents=True)
    for name in (guard.GUARD_PID, guard.NODE_PID):
        (root / name).write_text(f"{os.getpid()}:1")
    assert guard.swept(root) == [], "and this process lives"


def test_what_cannot_be_taken_back_is_said_and_kept(tmp_path: Path) -> None:
    root = tmp_path / "base" / "run" / "n1"
    root.mkdir(parents=True)
    (root / guard.UNDO).write_text(json.dumps({"device": "", "take_back": [], "gone": [["true"]]}))
    assert sweep(root) == ["`true` still finds something"]
    assert root.exists()


class FakeMachine:
    """A clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.steady_ns = 50 * SECOND_NS
        self.ahead_ns = 1_000_000 * SECOND_NS
        self.boot_id = "first"

    def clock(self, path: Path) -> SystemClock:
        return SystemClock(
            path, lambda: self.steady_ns + self.ahead_ns, lambda: self.steady_ns, self._set, lambda: self.boot_id
        )

    def _set(self, ns: int) -> None:
        self.ahead_ns = ns - self.steady_ns


def test_the_system_clock_is_shifted_from_what_it_would_show_and_restored(tmp_path: Path) -> None:
    machine = FakeMachine()
    clock = machine.clock(tmp_path / "clock.json")
    clock.restore()
    for offset_s in (3, -7):
        clock.shift(offset_s * SECOND_NS)
        machine.steady_ns += SECOND_NS
        assert machine.ahead_ns == (1_000_000 + offset_s) * SECOND_NS
    clock.restore()
    assert machine.ahead_ns == 1_000_000 * SECOND_NS
    assert list(tmp_path.iterdir()) == []
    machine.ahead_ns += 5  # Somebody sets it: that is not ours to take back.
    clock.restore()
    assert machine.ahead_ns == 1_000_000 * SECOND_NS + 5


def test_another_process_can_restore_the_system_clock(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.clock(tmp_path / "clock.json").shift(9 * SECOND_NS)
    machine.clock(tmp_path / "clock.json").restore()
    assert machine.ahead_ns == 1_000_000 * SECOND_NS


def test_after_a_new_start_of_the_machine_there_is_no_clock_to_restore(tmp_path: Path) -> None:
    machine = FakeMachine()
    machine.clock(tmp_path / "clock.json").shift(9 * SECOND_NS)
    machine.steady_ns, machine.boot_id, machine.ahead_ns = SECOND_NS, "second", 1_000_060 * SECOND_NS
    machine.clock(tmp_path / "clock.json").restore()
    assert machine.ahead_ns == 1_000_060 * SECOND_NS
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_cannot_be_restored_keeps_nothing_else_from_being_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: SystemClock) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(SystemClock, "restore", refused)
    (tmp_path / guard.UNDO).write_text(json.dumps(undo(tmp_path)))
    held = guard.Guard(tmp_path, RUN)
    with pytest.raises(PermissionError):
        held.close()
    assert not (tmp_path / "rule").exists()
    (tmp_path / guard.GUARD_PID).unlink()  # This process, which the sweep would end.
    (tmp_path / guard.UNDO).write_text(json.dumps(undo(tmp_path)))
    assert guard.swept(tmp_path) == ["the clock cannot be put right: Operation not permitted"]
    assert not (tmp_path / "rule").exists()


def test_the_system_clock_drifts_by_small_steps_and_is_restored(tmp_path: Path) -> None:
    machine = FakeMachine()
    clock = machine.clock(tmp_path / "clock.json")
    clock.run_at(2.0)
    machine.steady_ns += SECOND_NS
    deadline_s = time.monotonic() + 5
    while machine.ahead_ns != 1_000_001 * SECOND_NS:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    clock.restore()
    assert machine.ahead_ns == 1_000_000 * SECOND_NS
    with pytest.raises(ValueError, match="rate"):
        clock.run_at(0)


def test_files_that_cannot_be_removed_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the controller would forget the machine, and no `cleanup` would look there again."""
    root = tmp_path / "base" / "run" / "n1"
    root.mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", lambda *_arguments, **_more: None)
    assert guard.main(["sweep", str(root)]) == 0
    assert json.loads(capsys.readouterr().out) == [f"{root} is still there"]
