"""Brings commands to nodes: the one thing that namespaces, containers and hosts do differently.

Commands are argv lists; nothing here goes through a shell.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

import msgspec

from nemesis.capabilities import FaultError, NodeId

RUN_TIMEOUT_S = 15.0


class ExecutorFailed(FaultError):
    """The command could not be run there, or did not end in time; nobody knows what it did until then."""


class Ran(msgspec.Struct, frozen=True):
    """The result of a command that ended."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Its standard output."""
        return self.stdout.decode(errors="replace")

    def checked(self, where: str = "") -> Ran:
        """This object. Raises ExecutorFailed, with the command's output, when the exit code is not 0."""
        if self.exit_code:
            said = (self.stderr or self.stdout).decode(errors="replace").strip() or "it said nothing"
            place = f" on {where}" if where else ""
            raise ExecutorFailed(
                f"`{' '.join(self.argv)[:200]}` failed{place} with status {self.exit_code}: {said[:1000]}"
            )
        return self


class Channel(Protocol):
    """The standard input and output of a command that goes on running. One caller at a time, but `close` may come from any thread.

    The command's input ends when somebody closes the channel, or when the controller ends in any way.
    """

    def send(self, line: bytes) -> None:
        """Raises OSError when the command is gone."""
        ...

    def receive(self, timeout_s: float) -> bytes:
        """The next line; empty when the command is gone. Raises TimeoutError."""
        ...

    def close(self, timeout_s: float = 5.0) -> None:
        """The command has ended, by force after the time-out. Idempotent."""
        ...


class Executor(Protocol):
    """Runs commands as root on nodes. Its methods may be called from several threads at once."""

    def run(self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """The command, ended. Raises ExecutorFailed when it could not be started or did not end in time."""
        ...

    def open(self, node: NodeId, argv: Sequence[str]) -> Channel:
        """A command that runs on. Raises ExecutorFailed when it could not be started."""
        ...


class PipeChannel:
    """Implements Channel over the pipes of a child of this process."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start it. `log` gets its standard error. Raises OSError."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C in the terminal is for the controller alone.
            )
        self._closing = threading.Lock()
        self._buffer = LineBuffer()

    @property
    def pid(self) -> int:
        """The child's."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Raises OSError when the command is gone."""
        stdin = _pipe(self._process.stdin)
        stdin.write(line + b"\n")
        stdin.flush()

    def receive(self, timeout_s: float) -> bytes:
        """The next line; empty when the command is gone. Raises TimeoutError."""
        descriptor = _pipe(self._process.stdout).fileno()
        return self._buffer.line(descriptor, lambda: os.read(descriptor, 1 << 16), timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """The command has ended, by force after the time-out. Idempotent."""
        with self._closing:
            stdin = _pipe(self._process.stdin)
            if not stdin.closed:
                with contextlib.suppress(BrokenPipeError):  # It ended before it had read everything.
                    stdin.close()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _pipe(self._process.stdout).close()


class LineBuffer:
    """Makes lines of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def line(self, descriptor: int, read: _Read, timeout_s: float) -> bytes:
        """The next line without its end; empty when the stream has ended. Raises TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while (end := self._held.find(b"\n")) < 0:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise TimeoutError(f"no answer within {timeout_s:g} s")
                piece = read()
                if not piece:
                    return b""
                self._held += piece
        found = bytes(self._held[:end])
        del self._held[: end + 1]
        return found


class _Read(Protocol):
    def __call__(self) -> bytes: ...


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def run_here(argv: Sequence[str], stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
    """Run a command on this machine to its end. Raises ExecutorFailed when there is no such command, or when it does not end."""
    try:
        ended = subprocess.run(list(argv), input=stdin, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise ExecutorFailed(f"the command {argv[0]} is not installed") from None
    except OSError as error:
        raise ExecutorFailed(f"`{' '.join(argv)[:200]}` could not be started: {error}") from error
    except subprocess.TimeoutExpired:
        raise ExecutorFailed(f"`{' '.join(argv)[:200]}` did not end within {timeout_s:g} s") from None
    return Ran(tuple(argv), ended.returncode, ended.stdout, ended.stderr)


class NamespaceExecutor:
    """Implements Executor for network namespaces of this machine: node -> the namespace's name.

    Only the network is the namespace's own; files, processes and users are the machine's.
    """

    def __init__(self, namespaces: Mapping[NodeId, str], environment: Mapping[str, str], log: Path) -> None:
        self._namespaces = namespaces
        self._environment = environment
        self._log = log

    def run(self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """The command, ended. Raises ExecutorFailed when it could not be started or did not end in time."""
        return run_here(self.inside(node, argv), stdin, timeout_s)

    def open(self, node: NodeId, argv: Sequence[str]) -> PipeChannel:
        """A command that runs on. Raises ExecutorFailed when it could not be started."""
        try:
            return PipeChannel(self.inside(node, argv), self._environment, self._log)
        except OSError as error:
            raise ExecutorFailed(f"{argv[0]} could not be started on {node}: {error}") from error

    def inside(self, node: NodeId, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` inside the node's namespace, as the same process."""
        # nsenter and not `ip netns exec`, which would also give it a mount namespace of its own.
        return ["nsenter", f"--net=/run/netns/{self._namespaces[node]}", "--", *argv]
