"""Connects to the Docker engine, and runs commands in containers by it."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import docker
import requests
from docker.errors import APIError, DockerException

from harness.environments.base import EnvironmentUnavailable
from harness.environments.real.executor import RUN_TIMEOUT_S, ExecutorFailed, LineBuffer, Ran
from nemesis.capabilities import NodeId

_STDOUT, _STDERR = 1, 2
_HEADER = struct.Struct(">BxxxI")
"""Docker's multiplexed streams: which stream, and how many bytes follow."""

ENGINE_ERRORS = (DockerException, requests.exceptions.RequestException, OSError)


def reach() -> docker.DockerClient:
    """The engine of this machine. Raises EnvironmentUnavailable with what to do."""
    try:
        client = docker.from_env(timeout=120)
        version = client.version()
    except ENGINE_ERRORS as error:
        cause = str(error)
        if "Permission denied" in cause:
            mend = "you may not use it: run it with sudo, or add yourself to the group docker (sudo usermod -aG docker $USER)"
        else:
            mend = "install and start one (Debian: apt-get install docker.io; systemctl start docker)"
        raise EnvironmentUnavailable(f"no Docker engine answers: {mend}; {cause[:200]}") from None
    if version.get("Os") != "linux" or not str(client.api.base_url).startswith("http+docker://"):
        raise EnvironmentUnavailable(
            "the Docker engine is not on this machine: its containers' addresses cannot be reached from here; "
            "run themis on the engine's machine"
        )
    return client


class _Stream:
    """The hijacked connection of an attach or an exec."""

    def __init__(self, response_socket: object) -> None:
        # The SDK gives a reader of the socket; writing needs the socket itself.
        descriptor = os.dup(cast(_HasFileno, response_socket).fileno())
        self._keep = response_socket
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(True)
        self._held = bytearray()
        self._kind, self._left = _STDOUT, 0

    def read(self) -> tuple[int, bytes]:
        """(stream, the next bytes of it); no bytes at the end."""
        while True:
            if self._left and self._held:
                piece = bytes(self._held[: self._left])
                del self._held[: len(piece)]
                self._left -= len(piece)
                return self._kind, piece
            if not self._left and len(self._held) >= _HEADER.size:
                self._kind, self._left = _HEADER.unpack_from(self._held)
                del self._held[: _HEADER.size]
                continue
            received = self.socket.recv(1 << 16)
            if not received:
                return _STDOUT, b""
            self._held += received

    @property
    def has_more(self) -> bool:
        """Bytes were received that `read` can give at once."""
        return bool(self._held)

    def end_input(self) -> None:
        """Closes the writing half: the other end sees the end of its input."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes the connection at once."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with contextlib.suppress(OSError, AttributeError):
            cast(_HasFileno, self._keep).close()


class _HasFileno(Protocol):
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class ContainerChannel:
    """Implements Channel over the standard input and output of a container's main process."""

    def __init__(self, client: docker.DockerClient, container: str, ended: Callable[[float], None]) -> None:
        """Attach to a container that was created. ended: returns when the container has, by force after so many seconds."""
        parameters = {"stdin": 1, "stdout": 1, "stderr": 0, "stream": 1}
        self._stream = _Stream(client.api.attach_socket(container, params=parameters))
        self._ended = ended
        self._buffer = LineBuffer()
        self._closing = threading.Lock()
        self._is_closed = False

    def send(self, line: bytes) -> None:
        """Raises OSError when the command is gone."""
        self._stream.socket.sendall(line + b"\n")

    def receive(self, timeout_s: float) -> bytes:
        """The next line; empty when the command is gone. Raises TimeoutError."""
        return self._buffer.line(self._stream.socket.fileno(), self._read, timeout_s)

    def _read(self) -> bytes:
        while True:
            kind, piece = self._stream.read()
            if kind == _STDOUT:
                return piece

    def close(self, timeout_s: float = 5.0) -> None:
        """The command has ended, by force after the time-out. Idempotent."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._stream.end_input()
            self._stream.close()
            self._ended(timeout_s)


class ContainerExecutor:
    """Runs commands in containers by the engine: node -> container. The container's main process is opened elsewhere."""

    def __init__(self, client: docker.DockerClient, containers: Mapping[NodeId, str]) -> None:
        self._client = client
        self._containers = containers

    def run(self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """The command, ended. Raises ExecutorFailed when it could not be started or did not end in time."""
        api = self._client.api
        try:
            made = api.exec_create(self._containers[node], list(argv), stdin=bool(stdin), stdout=True, stderr=True)
            stream = _Stream(api.exec_start(made["Id"], socket=True))
            try:
                if stdin:
                    stream.socket.sendall(stdin)
                    stream.end_input()
                out, errors = _drain(stream, time.monotonic() + timeout_s)
            finally:
                stream.close()
            exit_code = api.exec_inspect(made["Id"])["ExitCode"]
        except TimeoutError:
            raise ExecutorFailed(f"`{' '.join(argv)[:200]}` on {node} did not end within {timeout_s:g} s") from None
        except ENGINE_ERRORS as error:
            raise ExecutorFailed(f"`{' '.join(argv)[:200]}` could not be run on {node}: {error}") from error
        return Ran(tuple(argv), -1 if exit_code is None else exit_code, out, errors)


def _drain(stream: _Stream, deadline_s: float) -> tuple[bytes, bytes]:
    out: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(stream.socket, selectors.EVENT_READ)
        while True:
            if not stream.has_more and not selector.select(max(0.0, deadline_s - time.monotonic())):
                raise TimeoutError
            kind, piece = stream.read()
            if not piece:
                return bytes(out[_STDOUT]), bytes(out[_STDERR])
            out.get(kind, out[_STDERR]).extend(piece)


def explained(error: Exception) -> str:
    """What the engine said, without its address."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation)
    return str(error) or type(error).__name__
