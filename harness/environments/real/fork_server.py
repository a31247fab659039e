"""A process that has imported what our nodes need and forks each node from itself. A node is then up in some 30 ms; a fresh
interpreter takes 400 ms of CPU for its imports. With five nodes on two cores, a restart would otherwise be a fault of its own.

    python -m harness.environments.real.fork_server     (its standard input is a socket to the supervisor, which is its parent)

A node is forked twice, so that it becomes a child of the supervisor, which has made itself a subreaper. It has its own environment,
directory, session and descriptors; only its command line, as `ps` shows it, is the fork server's.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping

import msgspec

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
LIBC = ctypes.CDLL(None, use_errno=True)

REQUEST_BYTES_MAX = 2**20
ADOPTION_S_MAX = 5.0


class Spawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process to start. output: the file its standard output and error are appended to. files: path -> the text of that file
    when the process starts. folders: made before the process starts."""

    node: str
    argv: list[str]
    environment: dict[str, str]
    directory: str
    output: str
    files: dict[str, str] = {}
    folders: list[str] = []


def is_ours(argv: list[str]) -> bool:
    """The command line runs this interpreter on targets.node, which the fork server can do without it."""
    return argv[:3] == [sys.executable, "-m", "targets.node"]


def encoded(spawn: Spawn) -> bytes:
    """A request for the fork server. Paths and variables may hold any bytes, of which msgspec's own JSON takes only UTF-8."""
    return json.dumps(msgspec.to_builtins(spawn)).encode()


def decoded(data: bytes) -> Spawn:
    """What `encoded` was given."""
    return msgspec.convert(json.loads(data), Spawn)


class Forked:
    """A child that `subprocess` did not start, with those members of Popen that callers use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, minus the signal's number for a signal; None while it lives."""
        if self.returncode is None:
            self._wait(os.WNOHANG)
        return self.returncode

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        while self.returncode is None:
            self._wait(0)
        return self.returncode

    def _wait(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid == self.pid:
            self.returncode = os.waitstatus_to_exitcode(status)


class ForkServer:
    """The supervisor's side: starts the fork server and asks it for nodes."""

    def __init__(self, environment: Mapping[str, str], preexec: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.environments.real.fork_server"],
                stdin=theirs.fileno(),
                env=dict(environment),
                start_new_session=True,
                preexec_fn=preexec,
            )
        self._socket = ours

    def spawn(self, spawn: Spawn) -> Forked:
        """A node's process, which is a child of the caller. Raises OSError when the fork server is gone."""
        self._socket.send(encoded(spawn))
        answer = self._socket.recv(64)
        if not answer:
            raise OSError("the fork server of the nodes is gone")
        return Forked(int(answer))

    def end(self) -> None:
        """Kill the fork server; its nodes live on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Fork a node for each request until the supervisor is gone."""
    control = socket.socket(fileno=os.dup(0))
    supervisor_pid = os.getppid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import uvloop  # noqa: F401 (to have it loaded)

    import targets.node

    gc.freeze()
    while data := control.recv(REQUEST_BYTES_MAX):
        spawn = decoded(data)
        control.send(str(_fork(spawn, supervisor_pid, control, targets.node.main)).encode())


def _fork(spawn: Spawn, supervisor_pid: int, control: socket.socket, run: Callable[[list[str]], int]) -> int:
    """Fork the node and return its pid; its parent is the supervisor by then."""
    read_end, write_end = os.pipe()
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            control.close()
            os.close(read_end)
            os.setsid()  # Before it is announced: signals are sent to its process group.
            os.write(write_end, str(os.getpid()).encode())
            os.close(write_end)
            _become(spawn, supervisor_pid, run)
        os._exit(0)
    os.close(write_end)
    os.waitpid(between, 0)
    with os.fdopen(read_end, "rb") as pipe:
        return int(pipe.read())


def _become(spawn: Spawn, supervisor_pid: int, run: Callable[[list[str]], int]) -> None:
    """Be the node; never returns."""
    status = 1
    try:
        deadline_s = time.monotonic() + ADOPTION_S_MAX
        while os.getppid() != supervisor_pid and time.monotonic() < deadline_s:
            time.sleep(0.0005)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor_pid:  # It ended before the prctl.
            os._exit(status)
        LIBC.prctl(PR_SET_NAME, spawn.node.encode()[:15])
        output = os.open(spawn.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, copy in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, copy)
        os.close(output)
        os.close(nothing)
        os.chdir(spawn.directory)
        os.environ.clear()
        os.environ.update(spawn.environment)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        sys.argv = spawn.argv[2:]
        status = run(spawn.argv[3:])
    except BaseException:  # noqa: BLE001 (this process must end here, not in the fork server's loop)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
