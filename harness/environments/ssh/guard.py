"""The agent on a machine that is not ours alone: as real.agent, and it leaves the machine as it was.

    python -m harness.environments.ssh.guard serve ROOT RUN SILENCE_S     (its channel is an SSH session)
    python -m harness.environments.ssh.guard sweep ROOT                   (after it, whatever became of it)

It ends when its SSH session ends, and when it has heard nothing for SILENCE_S seconds, for a controller whose machine lost its
power closes no connection. Ending, it kills its node, takes back the firewall's rules and the shaping, and puts the clock
right. Were it killed itself, the kernel would kill its node (PR_SET_PDEATHSIG), and the rest is written below ROOT for `sweep`:

    guard.pid, node.pid     "pid:start" of the processes, so that a pid that is used again is not mistaken for them
    undo.json               what to take back, and how to see that it is gone
    clock.json              what the clock should show

Standard library and msgspec only: that is what the machine has.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from harness.environments.real import labelled_processes, mounts
from harness.environments.real.agent import Agent
from harness.environments.ssh.system_clock import SystemClock

GUARD_PID, NODE_PID, UNDO, CLOCK = "guard.pid", "node.pid", "undo.json", "clock.json"
DATA = "node/data"
"""Where a node keeps what is durable; a file system of its own where its disk is to be full."""
COMMAND_TIMEOUT_S = 10.0
LOOK_S = 0.5
END_TIMEOUT_S = 5.0
SILENT = 5
"""The exit status of a guard that heard nothing for too long."""


class Guard(Agent):
    """The guard of one run on one machine."""

    def __init__(self, root: Path, run_id: str) -> None:
        super().__init__()
        self.root = root
        self.labels = labelled_processes.labels(run_id)
        self.clock = SystemClock(root / CLOCK)
        self.heard_s = time.monotonic()
        self._closing = threading.Lock()
        (root / GUARD_PID).write_text(labelled_processes.identity(os.getpid()))

    def start(self, node: str, argv: list[str], environment: dict[str, str], directory: str, output: str) -> Any:
        """Starts a new process of this node, with the run's labels and a pid file."""
        child = super().start(node, argv, {**environment, **self.labels}, directory, output)
        (self.root / NODE_PID).write_text(labelled_processes.identity(child.pid))
        return child

    def do_beat(self) -> None:
        """Does nothing: every command tells that the controller is there."""

    def do_now(self) -> list[int]:
        """The wall clock and the monotonic clock of this machine, in ns."""
        return [time.time_ns(), time.monotonic_ns()]

    def do_undo(self, undo: dict[str, Any]) -> None:
        """Writes down what `undone` takes back at the end."""
        new = self.root / f"{UNDO}.new"
        new.write_text(json.dumps(undo))
        new.replace(self.root / UNDO)

    def do_clock_shift(self, offset_ns: int) -> None:
        """The machine's clock shows what it would have shown plus this offset."""
        self.clock.shift(offset_ns)

    def do_clock_rate(self, rate: float) -> None:
        """The machine's clock runs at so many seconds a second."""
        self.clock.run_at(rate)

    def do_clock_restore(self) -> None:
        """The machine's clock shows what it would have shown."""
        self.clock.restore()

    def close(self) -> None:
        """Puts the machine back as it was, except for the files below the root. Idempotent."""
        # A step that fails must not keep the others from being done.
        with self._closing, contextlib.ExitStack() as last:
            last.callback(undone, self.root)
            last.callback(self.clock.restore)
            last.callback(self.end_caches)
            last.callback(self.kill_all)

    def watch(self, silence_s: float) -> None:
        """Ends the process when it has heard nothing for so long."""
        while time.monotonic() - self.heard_s < silence_s:
            time.sleep(LOOK_S)
        sys.stderr.write(f"nothing was heard for {silence_s:g} s: ending\n")
        try:
            self.close()
        finally:
            os._exit(SILENT)  # Not sys.exit: the main thread waits for a line that may never come.


class _Noted(io.BufferedReader):
    """The commands of a guard; each of them resets the time of the silence."""

    guard: Guard

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.guard.heard_s = time.monotonic()
        return line


def undone(root: Path) -> list[str]:
    """Takes back what undo.json lists, and returns in words what is still there.

    {"device": interface or "", "take_back": argvs, any of which may fail, "gone": argvs that must fail after it}
    """
    try:
        undo = json.loads((root / UNDO).read_text())
    except FileNotFoundError:
        return []
    for argv in undo["take_back"]:
        _run(argv)
    if undo["device"] and _has_tree(undo["device"]):
        _run(["tc", "qdisc", "del", "dev", undo["device"], "root"])
    problems = [f"`{' '.join(argv)}` still finds something" for argv in undo["gone"] if _run(argv).returncode == 0]
    if undo["device"] and _has_tree(undo["device"]):
        problems.append(f"{undo['device']} is still shaped")
    return problems


def swept(root: Path) -> list[str]:
    """Removes everything of the run from the machine except its files below `root`, and returns in words what is still there."""
    problems = []
    for name in (GUARD_PID, NODE_PID):
        try:
            identity = (root / name).read_text()
            pid = int(identity.partition(":")[0])
            # The pid counts only together with its start time: the process may have ended, and another have its pid by now.
            if labelled_processes.identity(pid) != identity:
                continue
        except (OSError, ValueError):
            continue
        if not _ended(pid, is_group=name == NODE_PID):
            problems.append(f"process {pid} does not end")
    try:
        SystemClock(root / CLOCK).restore()
    except OSError as error:
        problems.append(f"the clock cannot be put right: {error.strerror or error}")
    problems += undone(root)
    for _ in _mounts(root / DATA):  # One upon the other; what serves the upper one may be dead.
        if _run(["umount", str(root / DATA)]).returncode and _run(["umount", "-l", str(root / DATA)]).returncode:
            problems.append(f"{root / DATA} is still mounted")
    return problems


def _mounts(place: Path) -> list[str]:
    """What is mounted there, whether it answers or not."""
    return [mount.source for mount in mounts.read() if mount.place == str(place)]


def _ended(pid: int, is_group: bool) -> bool:
    try:
        if is_group and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    return not labelled_processes.end([pid], END_TIMEOUT_S)


def _has_tree(device: str) -> bool:
    """Whether our tree of qdiscs is on the interface: see linux.shaping."""
    lines = _run(["tc", "qdisc", "show", "dev", device]).stdout.decode(errors="replace").splitlines()
    return any(line.startswith("qdisc htb 1: root") for line in lines)


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(argv, 127, b"", str(error).encode())


def main(arguments: list[str]) -> int:
    """Serve one controller, or sweep up after one: then a JSON list of what is still there goes to the standard output."""
    match arguments:
        case ["serve", root, run_id, silence_s]:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # It ends with its channel and in no other way, so that it always cleans up.
                signal.signal(number, signal.SIG_IGN)
            guard = Guard(Path(root), run_id)
            threading.Thread(target=guard.watch, args=(float(silence_s),), daemon=True).start()
            try:
                commands = _Noted(io.FileIO(sys.stdin.fileno(), closefd=False))
                commands.guard = guard
                guard.serve(commands, sys.stdout.buffer)
            finally:
                guard.close()
            return 0
        case ["sweep", root]:
            problems = swept(Path(root))
            if not problems:
                shutil.rmtree(root, ignore_errors=True)
                if os.path.lexists(root):
                    problems.append(f"{root} is still there")
                for parent in list(Path(root).parents)[:2]:
                    try:
                        parent.rmdir()
                    except OSError:
                        break  # Other runs are there.
            sys.stdout.write(json.dumps(problems) + "\n")
            return 0
    sys.stderr.write("usage: guard serve ROOT RUN SILENCE_S | guard sweep ROOT\n")
    return 254


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
