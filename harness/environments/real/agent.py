"""The agent: one small process beside each node, which is the node's parent and sees the network as the node does.

    python agent.py [--linger]    (commands on its standard input, answers on its standard output, JSON, one a line)

It lives exactly as long as the channel that it was started through: when its input ends, it kills the processes that it started and
ends. With --linger it kills nothing, and stays. It is one file and needs nothing but Python 3.8, so that it can be sent to a host
or into a container as it is. It listens only on the UDP port for probes, and obeys only its channel.

Commands: {"do": name, ...}; answers: {"ok": value} or {"error": text}. See `Agent`.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
SIGNAL_WAIT_S = 5.0
CACHE_END_S = 10.0
PROBE_BYTES_MAX = 512
TAIL_BYTES_MAX = 1 << 20
LINGER = "--linger"
BALLAST = ".themis-ballast"
"""The file that fills a disk."""
FILL_BYTES_MAX = 4 << 30
"""A larger disk is not filled: it is the machine's own, not one of the run's."""
DRIFT_TICK_S = 0.01
"""How often a drifting clock is moved on: a rate of 2 is a step of 10 ms each time, below what a reading can tell."""


class ClockFiles:
    """The files that tell libfaketime what to add to programs' clocks: each holds an offset in seconds, with its sign.

    A clock that runs at another rate has its file rewritten every DRIFT_TICK_S. The library has rates of its own, but it counts
    them from the start of each program, and they speed up and slow down time-outs as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._anchors: dict[str, tuple[int, int, float]] = {}
        """Path -> the offset, when it was that on the monotonic clock, and the rate since."""
        self._thread: threading.Thread | None = None

    def set(self, path: str, offset_ns: int | None, rate: float | None) -> None:
        """The clock of this file jumps to the offset, or runs at the rate from now on without a jump; None: as it was."""
        with self._lock:
            now_ns = time.monotonic_ns()
            _, _, old_rate = self._anchors.get(path, (0, now_ns, 1.0))
            offset = self._offset_ns(path, now_ns) if offset_ns is None else offset_ns
            self._anchors[path] = (offset, now_ns, old_rate if rate is None else rate)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _put(path, offset)
            if self._thread is None and self._drifting():
                self._thread = threading.Thread(target=self._drift, name="drift", daemon=True)
                self._thread.start()

    def _offset_ns(self, path: str, now_ns: int) -> int:
        offset_ns, since_ns, rate = self._anchors.get(path, (0, now_ns, 1.0))
        return offset_ns + int((now_ns - since_ns) * (rate - 1.0))

    def _drifting(self) -> list[str]:
        return [path for path, (_, _, rate) in self._anchors.items() if rate != 1.0]

    def _drift(self) -> None:
        while True:
            time.sleep(DRIFT_TICK_S)
            with self._lock:
                drifting = self._drifting()
                if not drifting:
                    self._thread = None
                    return
                for path in drifting:
                    with contextlib.suppress(OSError):  # A full disk: the next tick tries again, and readings tell.
                        _put(path, self._offset_ns(path, time.monotonic_ns()))


def _put(path: str, offset_ns: int) -> None:
    seconds, ns = divmod(abs(offset_ns), 10**9)
    with open(f"{path}.new", "w") as file:
        file.write(f"{'-' if offset_ns < 0 else '+'}{seconds}.{ns:09d}\n")
    # Renamed into place: the library opens the file at every reading of a clock, and an empty one would be no offset.
    os.replace(f"{path}.new", path)


def forget_faketime(pid: int) -> None:
    """Remove the shared memory that libfaketime makes for each program: a program that was killed leaves it behind."""
    # In this order: with the memory there and the semaphore gone, the next program of this pid would refuse to start.
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        with contextlib.suppress(OSError):
            os.unlink(f"/dev/shm/{name}")


class Signalled:
    """A child that was sent a signal, and the pids of the processes below it, of other process groups too, that were sent it."""

    def __init__(self, child: Any, below: frozenset[int]) -> None:
        self.child = child
        self.below = below

    @property
    def pid(self) -> int:
        """The child's own."""
        return int(self.child.pid)


def signal_all(child: Any, number: signal.Signals) -> Signalled:
    """Send SIGSTOP, SIGCONT or SIGKILL to the child's process group and to all that it has started, whatever their groups are:
    each server process of PostgreSQL leads one of its own.

    They are stopped first, one generation after the other, until a look finds no new one: what is stopped starts nothing. So none
    is missed, and of a program that is killed no part sees another part die.
    """
    below: set[int] = set()
    if number != signal.SIGCONT:
        os.killpg(child.pid, signal.SIGSTOP)
    while found := processes_below(child.pid) - below:
        below |= found
        if number != signal.SIGCONT:
            _signal_each(found, signal.SIGSTOP)
    if number != signal.SIGSTOP:
        _signal_each(below, number)
        os.killpg(child.pid, number)
    return Signalled(child, frozenset(below))


def _signal_each(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # Another user's: `has_taken` tells that it had no effect.
            os.kill(pid, number)


def processes_below(pid: int) -> set[int]:
    """The living processes that this one has started, and those that these have started, and so on."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # It ended meanwhile.
                state, parent = _stat(int(name))[:2]
                if state not in "ZXx":
                    children.setdefault(int(parent), []).append(int(name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        started = children.get(waiting.pop(), [])
        found.update(started)
        waiting += started
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat behind the command: state and parent are the first. Raises OSError where there is none."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()


class Children:
    """The nodes' processes, which are this process's children.

    A child is dead when wait returns for it. A process whose first thread has ended looks like a zombie while another thread still
    finishes its system call; until then it holds its sockets and its lock on the disk.
    """

    def __init__(self) -> None:
        self.children: dict[str, Any] = {}
        """Node -> what has the pid, poll and wait of a subprocess.Popen."""
        self.ended: list[dict[str, Any]] = []
        """Those that ended although nobody killed them: node, pid, status (minus the signal's number)."""
        self._wanted: dict[int, str] = {}
        """Pid -> the signal that is to end it."""
        self._known_dead: set[int] = set()
        """Pids whose end is noted."""

    def start(self, node: str, argv: list[str], environment: dict[str, str], directory: str, output: str) -> Any:
        """A new process of this node; the kernel kills it when this one ends."""
        with open(output, "ab") as log:
            return subprocess.Popen(
                argv,
                env={**os.environ, **environment},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )

    def do_spawn(
        self,
        node: str,
        argv: list[str],
        environment: dict[str, str],
        directory: str,
        output: str,
        files: dict[str, str],
        folders: list[str],
    ) -> int:
        """Start the node's process unless it runs; return its pid. environment is added to ours. output: the file that gets what it
        prints. files: path -> the text of that file when the process starts. folders: made before the process starts."""
        child = self.children.get(node)
        if child is not None:
            if child.poll() is None:
                return int(child.pid)
            forget_faketime(child.pid)
        self.look()
        for folder in (directory, *folders):
            os.makedirs(folder, exist_ok=True)
        for path, text in files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        child = self.start(node, argv, environment, directory, output)
        self.children[node] = child
        self._known_dead.discard(child.pid)
        self._wanted.pop(child.pid, None)
        return int(child.pid)

    def do_doom(self, node: str) -> int:
        """The node's process group, whose death is wanted from now on, whoever kills it; 0 where it is dead."""
        child = self.children.get(node)
        if child is None or child.poll() is not None:
            return 0
        self._want(child, "SIGKILL")
        return int(child.pid)

    def do_excuse(self, node: str) -> None:
        """The node's process may end from now on, by itself too and in any way."""
        child = self.children.get(node)
        if child is not None and child.poll() is None:
            self._want(child, "SIGTERM")

    def send_signal(self, node: str, name: str) -> Signalled | None:
        """Send SIGKILL, SIGTERM, SIGSTOP or SIGCONT to the node's process group, and all but SIGTERM also to what it has started in
        other groups; None where it is dead already. `has_taken` says when it has had its effect."""
        child = self.children.get(node)
        if child is None or child.poll() is not None:
            return None
        if name in ("SIGKILL", "SIGTERM"):
            self._want(child, name)
        if name == "SIGTERM":  # A program asked to end ends its own processes, in its own order.
            os.killpg(child.pid, signal.SIGTERM)
            return Signalled(child, frozenset())
        return signal_all(child, signal.Signals[name])

    def do_signal(self, node: str, name: str) -> None:
        """As `send_signal`; it has had its effect on return."""
        sent = self.send_signal(node, name)
        deadline_s = time.monotonic() + SIGNAL_WAIT_S
        while sent is not None and not has_taken(sent, name):
            if time.monotonic() > deadline_s:
                raise TimeoutError(no_effect(name, sent.pid))
            time.sleep(0.001)

    def do_states(self) -> dict[str, str]:
        """Node -> running, paused or dead, as the kernel says now."""
        self.look()
        return {node: state_of(child) for node, child in self.children.items()}

    def do_ended(self) -> list[dict[str, Any]]:
        """The processes that ended although nobody killed them."""
        self.look()
        return self.ended

    def look(self) -> None:
        """Note every child that ended. One that was to be killed and ended otherwise did so by itself, just before."""
        for node, child in self.children.items():
            if child.poll() is None or child.pid in self._known_dead:
                continue
            self._known_dead.add(child.pid)
            wanted = self._wanted.pop(child.pid, None)
            if wanted is None or (wanted == "SIGKILL" and child.returncode != -signal.SIGKILL):
                self.ended.append({"node": node, "pid": child.pid, "status": child.returncode})

    def _want(self, child: Any, name: str) -> None:
        """The child is to end by this signal. One that was asked to end, as by SIGTERM, may do so with any status."""
        self._wanted.setdefault(child.pid, name)
        if name == "SIGTERM":
            self._wanted[child.pid] = name

    def kill_all(self) -> None:
        """Kill every child, paused ones too."""
        for child in self.children.values():
            if child.poll() is None:
                self._want(child, "SIGKILL")
                with contextlib.suppress(ProcessLookupError):
                    signal_all(child, signal.SIGKILL)
        for child in self.children.values():
            child.wait()
            forget_faketime(child.pid)


class Files:
    """The nodes' files on this machine."""

    def __init__(self) -> None:
        self._clock_files = ClockFiles()

    def do_tail(self, path: str, byte_count: int) -> str | None:
        """The end of a file; None when there is none."""
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - min(byte_count, TAIL_BYTES_MAX)))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return None

    def do_damage(
        self, kind: str, directory: str, parameters: dict[str, float], seed: str, lost: list[str]
    ) -> dict[str, Any] | None:
        """Damage the files below `directory`, and return what was done, measured after it; None when there was nothing to damage.

        truncate and bitflip strike the file that was written last; wipe removes the files that match one of the patterns `lost`.
        """
        files = [path for path in sorted(Path(directory).rglob("*")) if path.is_file() and path.name != BALLAST]
        if kind == "wipe":
            for path in [path for pattern in lost for path in Path(directory).glob(pattern)]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                _sync_directory(str(path.parent))
            left = [path for path in sorted(Path(directory).rglob("*")) if not path.is_dir()]
            return {
                "removed": [str(path.relative_to(directory)) for path in files if path not in left],
                "left": [str(path.relative_to(directory)) for path in left],
            }
        written = [path for path in files if path.stat().st_size]
        if not written:
            return None
        newest = max(written, key=lambda path: path.stat().st_mtime_ns)
        if kind == "truncate":
            return _truncate(newest, int(parameters["bytes"]))
        if kind == "bitflip":
            return _flip(newest, int(parameters["bits"]), random.Random(seed))
        raise ValueError(f"no damage {kind!r}")

    def do_restore(self, directory: str, files: dict[str, str]) -> dict[str, Any]:
        """The directory holds these files, durably, and nothing else. files: name -> base64 of what it holds."""
        for path in sorted(Path(directory).glob("*")):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        written = {}
        for name, content in sorted(files.items()):
            data = base64.b64decode(content)
            with open(os.path.join(directory, name), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            written[name] = len(data)
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return {"bytes": written}

    def do_fill(self, directory: str) -> dict[str, Any]:
        """Fill the disk: not one more block can be written below `directory`. Raises ValueError unless that is a file system of its
        own."""
        if not os.path.ismount(directory):
            raise ValueError(f"{directory} is not a file system of its own")
        found = os.statvfs(directory)
        if found.f_blocks * found.f_frsize > FILL_BYTES_MAX:
            raise ValueError(f"{directory} has {found.f_blocks * found.f_frsize} bytes: too many to fill")
        with open(os.path.join(directory, BALLAST), "ab", buffering=0) as ballast:
            chunk = b"\0" * (1 << 20)
            while chunk:
                try:
                    written = ballast.write(chunk)
                    if written < len(chunk):
                        chunk = chunk[: len(chunk) // 2]
                except OSError:
                    chunk = chunk[: len(chunk) // 2]
            size = ballast.tell()
            with contextlib.suppress(OSError):
                os.fsync(ballast)  # A loss of power leaves the disk full.
        return {"bytes_free": self.do_free(directory), "ballast_bytes": size}

    def do_drain(self, directory: str) -> int:
        """Remove what `fill` wrote; return how many bytes are free."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, BALLAST))
            _sync_directory(directory)
        return self.do_free(directory)

    def do_free(self, directory: str) -> int:
        """The bytes that can still be written below `directory`."""
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize

    def do_clock_file(self, path: str, offset_ns: int | None, rate: float | None) -> None:
        """The clock of this file jumps to the offset, or runs at the rate from now on without a jump; None: as it was."""
        self._clock_files.set(path, offset_ns, rate)


class WriteCaches:
    """The data directories that can lose what was not synced: a process for each, which serves it as a file system. It ends with
    its input, and leaves an ordinary directory: see harness/environments/write_cache."""

    def __init__(self) -> None:
        self._caches: dict[str, Any] = {}
        """Directory -> its process."""

    def do_cache(self, directory: str, argv: list[str], environment: dict[str, str], labels: list[str]) -> None:
        """What programs write below `directory` from now on can be lost. argv: the process that serves it. environment is added to
        ours, and these labels are taken from it: who kills what has them must not kill this process, which unmounts at its end."""
        os.makedirs(directory, exist_ok=True)
        kept = {name: value for name, value in {**os.environ, **environment}.items() if name not in labels}
        self._caches[directory] = subprocess.Popen(
            argv, env=kept, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._ask_cache(directory, None)

    def do_lose(self, directory: str, torn_by: str | None) -> Any:
        """What was not synced below `directory` is gone, but for what a torn write leaves, where torn_by, a seed, is given; return
        what that was. Its node is dead."""
        return self._ask_cache(directory, {"do": "lose", "torn_by": torn_by})

    def do_kill_at_sync(self, directory: str, group: int) -> None:
        """This process group is killed when the next sync below `directory` is asked for, and that sync is not done."""
        self._ask_cache(directory, {"do": "kill_at_sync", "group": group})

    def end_caches(self) -> None:
        """Every such directory is an ordinary one again."""
        caches, self._caches = self._caches, {}
        for process in caches.values():
            with contextlib.suppress(OSError):  # It ended before it had read everything; the others are still served.
                process.stdin.close()
        for process in caches.values():
            try:
                process.wait(CACHE_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _ask_cache(self, directory: str, command: dict[str, Any] | None) -> Any:
        process = self._caches.get(directory)
        if process is None:
            raise OSError(f"{directory} is not mounted so that it could lose what was not synced")
        try:
            if command is not None:
                process.stdin.write(json.dumps(command).encode() + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise OSError(f"the process that serves {directory} is gone, with status {process.poll()}")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["ok"]


class Agent(Children, Files, WriteCaches):
    """Carries out commands. A command that could not be done raises OSError, ValueError or TimeoutError; part of it may have been
    done."""

    def __init__(self) -> None:
        Children.__init__(self)
        Files.__init__(self)
        WriteCaches.__init__(self)
        self._heard: dict[tuple[str, str], float] = {}
        self._socket: socket.socket | None = None

    def do_run(self, argv: list[str], stdin: str, timeout_s: float) -> dict[str, Any]:
        """Run a command to its end; return exit_code, stdout and stderr, the streams in base64."""
        ended = subprocess.run(argv, input=base64.b64decode(stdin), capture_output=True, timeout=timeout_s, check=False)
        return {
            "exit_code": ended.returncode,
            "stdout": base64.b64encode(ended.stdout).decode(),
            "stderr": base64.b64encode(ended.stderr).decode(),
        }

    def do_listen(self, host: str, port: int) -> int:
        """Take probes at this UDP address; return the port."""
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.bind((host, port))
        self._socket = listening
        threading.Thread(target=self._receive, args=(listening,), daemon=True).start()
        found: int = listening.getsockname()[1]
        return found

    def do_probe(self, nonce: str, node: str, to: list[tuple[str, int]]) -> None:
        """Send one datagram to each of these addresses, from our own."""
        assert self._socket is not None, "listen comes before probe"
        datagram = json.dumps([nonce, node]).encode()
        for host, port in to:
            try:
                self._socket.sendto(datagram, (host, port))
            except OSError:
                continue  # No route, a full queue, an earlier one refused: that it did not arrive is what is measured.

    def do_heard(self, nonce: str) -> list[str]:
        """The nodes whose datagrams of this probe arrived here."""
        return sorted(node for found, node in list(self._heard) if found == nonce)  # A copy: another thread adds to it.

    def _receive(self, listening: socket.socket) -> None:
        while True:
            try:
                nonce, node = json.loads(listening.recv(PROBE_BYTES_MAX))
                heard = (str(nonce), str(node))
            except (ValueError, TypeError, OSError):
                continue  # Not one of ours, or the kernel telling of an earlier one that was refused.
            now_s = time.monotonic()
            self._heard[heard] = now_s
            if len(self._heard) > 4096:
                self._heard = {key: at_s for key, at_s in self._heard.items() if now_s - at_s < 60}

    def serve(self, commands: BinaryIO, answers: BinaryIO) -> None:
        """Obey until the channel ends."""
        for line in iter(commands.readline, b""):
            try:
                command = json.loads(line)
                name = command.pop("do")
                answer = {"ok": getattr(self, f"do_{name}")(**command)}
            except Exception as error:  # noqa: BLE001 (told to the controller, which raises it; the node must live on)
                answer = {"error": str(error) or type(error).__name__}
            try:
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()
            except OSError:
                return


def die_with(parent_pid: int) -> Callable[[], None]:
    """For a child of this process, before its exec: the kernel kills it when its parent ends."""

    def ask() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # It ended before the prctl.
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def state_of(child: Any) -> str:
    """What a child does now: running, paused or dead."""
    if child.poll() is not None:
        return "dead"
    found = _state_of(child.pid)
    return "running" if found == "zombie" else found  # Until `poll` says that it is dead: see Children.


def _state_of(pid: int) -> str:
    try:
        letter = _stat(pid)[0]
    except OSError:
        return "dead"
    if letter in "ZXx":
        return "zombie"
    return "paused" if letter in "Tt" else "running"


def has_taken(sent: Signalled, name: str) -> bool:
    """The signal has had its effect on the child and on all below it. Of those that were killed nothing is left, not even zombies:
    a server that starts again may take one for itself, still running."""
    states = {state_of(sent.child), *map(_state_of, sent.below)}
    if name == "SIGSTOP":
        return "running" not in states
    if name == "SIGCONT":
        return "paused" not in states
    if not states <= {"dead", "zombie"}:
        return False
    return all(_is_reaped(pid) for pid in sent.below)


def _is_reaped(pid: int) -> bool:
    """Nothing is left of the process, or it is not ours to wait for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def no_effect(name: str, pid: int) -> str:
    """The message about a signal that had no effect in time."""
    return f"{name} had no effect on pid {pid} within {SIGNAL_WAIT_S:g} s"


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _truncate(path: Path, byte_count: int) -> dict[str, Any]:
    before = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(0, before - byte_count))
        os.fsync(file.fileno())  # Damage is durable, whatever is lost later.
    return {"file": path.name, "bytes_before": before, "bytes_after": path.stat().st_size}


def _flip(path: Path, bit_count: int, rng: random.Random) -> dict[str, Any]:
    size = path.stat().st_size
    positions = sorted(rng.sample(range(size * 8), min(bit_count, size * 8)))
    with path.open("r+b") as file:
        for position in positions:
            file.seek(position // 8)
            byte = file.read(1)[0] ^ (1 << position % 8)
            file.seek(position // 8)
            file.write(bytes([byte]))
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "bits": len(positions), "bytes": [position // 8 for position in positions[:16]]}


def main() -> None:
    """Serve one controller."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Only the end of its channel ends it: it has to clean up after it.
    # What a node has started becomes our child when the node is killed.
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    agent = Agent()
    try:
        agent.serve(sys.stdin.buffer, sys.stdout.buffer)
        while LINGER in sys.argv[1:]:
            signal.pause()
    finally:
        agent.kill_all()
        agent.end_caches()


if __name__ == "__main__":
    main()
