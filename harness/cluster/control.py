"""How another terminal talks to the process that keeps a cluster: one command and one answer, each a line of JSON, on a Unix socket
that only its user can reach."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.cluster import folder
from harness.errors import HarnessError, UsageError
from histories.json_text import MESSAGE_DEPTH_MAX, REQUEST_DEPTH_MAX, decoded

LINE_BYTES_MAX = 1 << 20
ASK_TIMEOUT_S = 60.0
"""A restart waits for the node, and `down` for all of them."""
HEAR_TIMEOUT_S = 2.0

Verb = Literal[
    "status",
    "kill",
    "pause",
    "resume",
    "partition",
    "heal",
    "add",
    "remove",
    "replace",
    "transfer",
    "backup",
    "restore",
    "down",
]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """nodes: whom it concerns, by name; what none means is the verb's affair. path: of the file of a backup, absolute."""

    verb: Verb
    nodes: tuple[str, ...] = ()
    path: str = ""


class NodeLine(msgspec.Struct, frozen=True):
    """One node as `status` shows it. state: of its process. status: what it says of itself; None when it does not answer. unheard:
    the nodes whose messages do not reach it, because their links are cut."""

    node: str
    address: str
    state: str
    status: dict[str, Any] | None = None
    unheard: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """error: why the command was refused; "" when it was carried out. said: what was done, for the user. nodes: for `status`."""

    error: str = ""
    said: str = ""
    nodes: tuple[NodeLine, ...] = ()


_COMMAND = msgspec.json.Decoder(Command)
_ANSWER = msgspec.json.Decoder(Answer)


def ask(name: str, command: Command) -> Answer:
    """The answer of the cluster of this name.

    Raises UsageError when there is no such cluster, or when it refuses the command; HarnessError when it does not answer.
    """
    path = folder.socket_of(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ASK_TIMEOUT_S)
        try:
            connection.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise UsageError(
                f"no cluster named {name!r} is up{_others(name)}; `themis cluster up --target raft --name {name}` starts one"
            ) from None
        try:
            connection.sendall(msgspec.json.encode(command) + b"\n")
            answer = decoded(_ANSWER.decode, _line(connection), MESSAGE_DEPTH_MAX)
        except (OSError, msgspec.DecodeError) as error:
            raise HarnessError(f"the cluster {name!r} did not answer: {error}") from error
    if answer.error:
        raise UsageError(answer.error)
    return answer


def _others(name: str) -> str:
    found = sorted(path.parent.name for path in folder.root().glob("*/control") if path.parent.name != name)
    return f" (there is {', '.join(found)})" if found else ""


def _line(connection: socket.socket) -> bytes:
    """What comes up to the first line break. Raises OSError when it does not come, or is too long."""
    found = b""
    while not found.endswith(b"\n"):
        more = connection.recv(65536)
        if not more or len(found) > LINE_BYTES_MAX:
            raise ConnectionError("the connection was closed" if not more else "the line is too long")
        found += more
    return found


class Heard:
    """A command, and the one who waits for its answer."""

    def __init__(self, command: Command, connection: socket.socket) -> None:
        self.command = command
        self._connection = connection

    def answer(self, answer: Answer) -> None:
        """Tell it; one who has gone is not missed."""
        with self._connection:
            try:
                self._connection.sendall(msgspec.json.encode(answer) + b"\n")
            except OSError:
                return


class Listener:
    """Takes commands, one at a time. Closed by `close`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(os.fspath(path))
            self._socket.listen(16)
        except BaseException:
            self._socket.close()
            raise

    def next(self, timeout_s: float) -> Heard | None:
        """The next command; None when none came in time. Who says something else is told so, and is not heard further."""
        self._socket.settimeout(timeout_s)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            return None
        connection.settimeout(HEAR_TIMEOUT_S)
        try:
            return Heard(decoded(_COMMAND.decode, _line(connection), REQUEST_DEPTH_MAX), connection)
        except OSError:
            connection.close()
        except msgspec.DecodeError as error:
            Heard(Command("status"), connection).answer(Answer(error=f"no command: {error}"))
        return None

    def close(self) -> None:
        """Nobody is heard any more."""
        self._socket.close()
