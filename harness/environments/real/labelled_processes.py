"""Finds the processes of a run by their label: which they are, what they do now, and which have lost their controller.

Every process that an environment starts on this machine carries THEMIS_RUN (the run's id) and THEMIS_CONTROLLER (the process that
wants it, as "pid:start", so that a pid that is used again is not mistaken for it) in its environment, where /proc shows it. So no
file is needed that could be out of date.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from nemesis.capabilities import ProcessState

RUN = "THEMIS_RUN"
CONTROLLER = "THEMIS_CONTROLLER"

_PROC = Path("/proc")


MonotonicSpan = tuple[int, int]
"""From when to when, in ns of the controller's monotonic clock."""


class Ended(msgspec.Struct, frozen=True):
    """A process that ended although nobody killed it. status: its exit status, minus the signal's number for a signal."""

    node: str
    pid: int
    status: int


class Labelled(msgspec.Struct, frozen=True):
    """A process that belongs to a run. is_orphan: its controller is gone. identity: as the function of this name gives it."""

    pid: int
    run_id: str
    command: str
    is_orphan: bool
    identity: str


def identity(pid: int) -> str:
    """ "pid:start" of a process: different for every process that ever has this pid. Raises OSError when there is none."""
    return f"{pid}:{_fields(pid)[19]}"


def pid_namespace(pid: int | str = "self") -> str:
    """The namespace of pids in which the process has its number. Raises OSError when there is no such process."""
    return str((_PROC / str(pid) / "ns" / "pid").stat().st_ino)


def labels(run_id: str) -> dict[str, str]:
    """The environment variables to add for each process that the calling process starts for this run."""
    return {RUN: run_id, CONTROLLER: identity(os.getpid())}


def state(pid: int) -> ProcessState:
    """What the process does now, as the kernel says: a zombie is dead."""
    try:
        letter = _fields(pid)[0]
    except OSError:
        return "dead"
    if letter in ("T", "t"):
        return "paused"
    return "dead" if letter in ("Z", "X", "x") else "running"


def labelled(run_id: str | None = None) -> list[Labelled]:
    """Every living process that carries the label of this run, or of any; not the calling process.

    One in a container of its own is no orphan: the number of its controller holds in there, and cannot be looked up from outside.
    """
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # Ended meanwhile, or another user's.
            environment = _environment(int(entry.name))
            label = environment.get(RUN)
            if label is None or run_id not in (None, label) or state(int(entry.name)) == "dead":
                continue
            pid = int(entry.name)
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            is_orphan = not is_alive(environment.get(CONTROLLER, "")) and pid_namespace(pid) == pid_namespace()
            found.append(Labelled(pid, label, command, is_orphan, identity(pid)))
    return sorted(found, key=lambda process: process.pid)


def find_leftovers() -> list[Labelled]:
    """Processes of runs whose controller is gone."""
    return [process for process in labelled() if process.is_orphan]


def end_found(processes: Collection[Labelled], timeout_s: float = 5.0) -> list[int]:
    """As `end`, of processes that may have ended since they were found: who has such a pid by now is left alone."""
    return end([process.pid for process in processes if is_alive(process.identity)], timeout_s)


def end(pids: Collection[int], timeout_s: float = 5.0) -> list[int]:
    """Kill these, paused ones too; return those that still live after the time-out."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline_s = time.monotonic() + timeout_s
    left = [pid for pid in pids if state(pid) != "dead"]
    while left and time.monotonic() < deadline_s:
        time.sleep(0.01)
        left = [pid for pid in left if state(pid) != "dead"]
    return left


def _fields(pid: int) -> list[str]:
    """The fields of /proc/pid/stat behind the command, which may itself hold spaces and parentheses: state is the first."""
    text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()


def _environment(pid: int) -> dict[str, str]:
    data = (_PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    return dict(entry.partition("=")[::2] for entry in data.split("\0") if "=" in entry)


def is_alive(controller: str) -> bool:
    """Whether the process of this identity ("pid:start") lives."""
    pid = controller.partition(":")[0]
    if not pid.isdecimal() or state(int(pid)) == "dead":
        return False
    try:
        return identity(int(pid)) == controller
    except OSError:
        return False
