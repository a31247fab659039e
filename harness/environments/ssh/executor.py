"""Commands on machines by SSH. What goes over the wire is an argv list, quoted word by word for the login shell there.

Many a login shell greets on both outputs before it runs anything: what comes before a mark is the shell's and not the
command's.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import paramiko
from paramiko.ssh_exception import SSHException

from harness.environments.real.executor import RUN_TIMEOUT_S, ExecutorFailed, Ran
from nemesis.capabilities import NodeId

OPEN_TIMEOUT_S = 10.0
PIECE_BYTES = 1 << 15
LINE_BYTES_MAX = 64 << 20
GREETING_BYTES_MAX = 1 << 20
MARK = b"themis-of-here-on-it-is-the-command\n"
_MARKED = f'echo {MARK.decode().strip()}; echo {MARK.decode().strip()} >&2; exec "$@"'
"""Run by sh, because a login shell may have other words for redirection."""


class SshChannel:
    """Implements real.executor.Channel over a session of a connection: it ends with the connection."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._held = bytearray()
        self._ungreeted = _Ungreeted(self._held)
        self._said = bytearray()
        self._last = _Ungreeted(self._said)
        self._closing = threading.Lock()

    def send(self, line: bytes) -> None:
        """Raises OSError when the command is gone."""
        self._channel.sendall(line + b"\n")

    def receive(self, timeout_s: float) -> bytes:
        """The next line; empty when the command is gone. Raises TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched > LINE_BYTES_MAX:
                raise OSError(f"a line of more than {LINE_BYTES_MAX} bytes")
            self._channel.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                piece = self._channel.recv(PIECE_BYTES)
            except TimeoutError:
                raise TimeoutError(f"no answer within {timeout_s:g} s") from None
            if not piece:
                return b""
            self._ungreeted.write(piece)
        found = bytes(self._held[:end])
        del self._held[: end + 1]
        return found

    def last_words(self) -> str:
        """What the command has said on its standard error and nobody has read yet."""
        while self._channel.recv_stderr_ready():
            self._last.write(self._channel.recv_stderr(PIECE_BYTES))
        said = bytes(self._said if self._last.is_over else self._last.greeting)
        self._said.clear()
        return said.decode(errors="replace").strip()

    def close(self, timeout_s: float = 5.0) -> None:
        """The command has ended; by force, after the time-out, by closing the session under it. Idempotent."""
        with self._closing:
            if self._channel.closed:
                return
            try:
                self._channel.shutdown_write()
                self._channel.status_event.wait(timeout_s)
            except (OSError, SSHException):
                pass  # The connection is gone, and the command's input with it.
            self._channel.close()


class SshExecutor:
    """Implements real.executor.Executor over connections that are open."""

    def __init__(
        self, clients: Mapping[NodeId, paramiko.SSHClient], prefixes: Mapping[NodeId, Sequence[str]] | None = None
    ) -> None:
        """prefixes: node -> the words before each command that make it run as root in the right environment."""
        self._clients = clients
        self._prefixes = prefixes or {}

    def run(self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """The command, ended. Raises ExecutorFailed when it could not be started or did not end in time."""
        kept = bytearray()
        status, errors = self._run(node, argv, stdin, timeout_s, kept)
        return Ran(tuple(argv), status, bytes(kept), errors)

    def fetch(self, node: NodeId, argv: Sequence[str], sink: BinaryIO, timeout_s: float) -> Ran:
        """As `run`, but the command's output goes to `sink` as it comes."""
        status, errors = self._run(node, argv, b"", timeout_s, sink)
        return Ran(tuple(argv), status, b"", errors)

    def open(self, node: NodeId, argv: Sequence[str]) -> SshChannel:
        """A command that runs on. Raises ExecutorFailed when it could not be started."""
        return SshChannel(self._started(node, argv))

    def command_line(self, node: NodeId, argv: Sequence[str]) -> str:
        """What the login shell of the machine is given: every word quoted."""
        return shlex.join(["exec", "sh", "-c", _MARKED, "sh", *self._prefixes.get(node, ()), *argv])

    def _started(self, node: NodeId, argv: Sequence[str]) -> paramiko.Channel:
        transport = self._clients[node].get_transport()
        if transport is None or not transport.is_active():
            raise ExecutorFailed(f"the SSH connection to {node} is gone")
        try:
            channel = transport.open_session(timeout=OPEN_TIMEOUT_S)
        except (SSHException, OSError, EOFError) as error:
            raise ExecutorFailed(f"{node} opens no session: {error}") from error
        try:
            channel.settimeout(OPEN_TIMEOUT_S)
            channel.exec_command(self.command_line(node, argv))
        except (SSHException, OSError) as error:
            channel.close()
            raise ExecutorFailed(f"{argv[0]} could not be started on {node}: {error}") from error
        return channel

    def _run(
        self, node: NodeId, argv: Sequence[str], stdin: bytes, timeout_s: float, sink: bytearray | BinaryIO
    ) -> tuple[int, bytes]:
        channel = self._started(node, argv)
        deadline_s = time.monotonic() + timeout_s

        def left_s() -> float:
            return max(0.001, deadline_s - time.monotonic())

        out, kept_errors = _Ungreeted(sink), bytearray()
        errors = _Ungreeted(kept_errors)
        try:
            for start in range(0, len(stdin), PIECE_BYTES):
                channel.settimeout(left_s())
                try:
                    channel.sendall(stdin[start : start + PIECE_BYTES])
                except TimeoutError:
                    raise
                except OSError:
                    break  # It ended before it had read everything; its status says why.
            channel.shutdown_write()
            while True:
                channel.settimeout(left_s())
                piece = channel.recv(PIECE_BYTES)
                if not piece:
                    break
                out.write(piece)
            while piece := channel.recv_stderr(PIECE_BYTES):
                errors.write(piece)
                channel.settimeout(left_s())
            if not channel.status_event.wait(left_s()):
                raise TimeoutError
            if not out.is_over:
                greeting = (bytes(out.greeting) + bytes(errors.greeting)).decode(errors="replace").strip()
                raise ExecutorFailed(
                    f"the login shell runs no commands; it ended with {channel.recv_exit_status()} and says: "
                    f"{greeting[-300:] or 'nothing'}"
                )
            return channel.recv_exit_status(), bytes(kept_errors)
        except TimeoutError:
            raise ExecutorFailed(f"`{' '.join(argv)[:200]}` did not end within {timeout_s:g} s on {node}") from None
        except (SSHException, OSError, EOFError) as error:
            raise ExecutorFailed(f"`{' '.join(argv)[:200]}` broke off on {node}: {error}") from error
        finally:
            channel.close()


class _Ungreeted:
    """Passes on what comes behind the mark. Raises OSError when too much comes before it."""

    def __init__(self, sink: bytearray | BinaryIO) -> None:
        self._write = sink.extend if isinstance(sink, bytearray) else sink.write
        self.greeting = bytearray()
        """What came before it, or until now."""
        self.is_over = False

    def write(self, piece: bytes) -> None:
        if self.is_over:
            self._write(piece)
            return
        self.greeting += piece
        end = self.greeting.find(MARK)
        if end >= 0:
            self.is_over = True
            self._write(self.greeting[end + len(MARK) :])
            del self.greeting[end:]
        elif len(self.greeting) > GREETING_BYTES_MAX:
            raise OSError(f"the login shell prints more than {GREETING_BYTES_MAX} bytes")
