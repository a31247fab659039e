"""The controller's side of the supervisor: starts it, gives it commands from any thread, and ends it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.environments.local.supervisor import Opened, Plan
from harness.environments.real import labelled_processes
from harness.environments.real.agent import Files, WriteCaches
from harness.environments.real.executor import ExecutorFailed, Ran, run_here
from harness.environments.real.fork_server import Spawn
from harness.environments.real.import_path import import_path
from harness.environments.real.labelled_processes import Ended, MonotonicSpan
from nemesis.capabilities import Reach
from targets.target import Address

ANSWER_TIMEOUT_S = 15.0
END_TIMEOUT_S = 5.0


class DataDirectories(Files, WriteCaches):
    """The nodes' files on this machine, which this process looks at itself."""

    def __init__(self) -> None:
        Files.__init__(self)
        WriteCaches.__init__(self)


class SupervisorFailed(OSError):
    """The supervisor could not do it, or is gone; the message says what."""


class Supervision:
    """A running supervisor. Its methods return when the thing is done and raise SupervisorFailed when it could not be.

    listening: node -> where each of its ports is to listen. dialled: source -> destination -> where the source is to dial each
    port of it.
    """

    def __init__(self, plan: Plan, log: Path) -> None:
        """Start it. `log` gets what it says. Raises SupervisorFailed when a port is in use."""
        ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._files = DataDirectories()
        self._socket = ours
        self._lines = _Lines(ours)
        log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.environments.local.supervisor"],
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal is for the controller alone.
                env={**os.environ, **labelled_processes.labels(plan.run_id), "PYTHONPATH": import_path()},
            )
        self.pid = self._process.pid
        try:
            opened = msgspec.convert(self._exchange(msgspec.json.encode(plan)), Opened)
        except BaseException:
            self.end()
            raise
        self.listening = opened.listening
        self.dialled = opened.dialled

    def spawn(self, spawns: Collection[Spawn]) -> dict[str, int]:
        """Start each node's process unless it runs; its pid."""
        return {spawn.node: self._do("spawn", spawn=msgspec.to_builtins(spawn)) for spawn in spawns}

    def signal(self, nodes: Collection[str], name: str) -> dict[str, MonotonicSpan]:
        """Send the signal (SIGKILL, SIGSTOP, SIGCONT, SIGTERM) to these nodes; it has had its effect on return. For each that
        had a process: when it was sent, and when it was seen to have had its effect."""
        spans = self._do("signal", nodes=sorted(nodes), signal=name)
        return {node: (begin_ns, end_ns) for node, (begin_ns, end_ns) in sorted(spans.items())}

    def doom(self, nodes: Collection[str]) -> dict[str, int]:
        """The process groups of those of these nodes whose process lives; from now on its death is wanted, whoever kills it."""
        groups = {node: int(self._do("doom", node=node)) for node in nodes}
        return {node: group for node, group in groups.items() if group}

    def excuse(self, nodes: Collection[str]) -> None:
        """The processes of these nodes may end from now on, by themselves too and in any way."""
        for node in nodes:
            self._do("excuse", node=node)

    def states(self) -> Mapping[str, str]:
        """Node -> running, paused or dead, for those ever started."""
        states: Mapping[str, str] = self._do("states")
        return states

    def ended(self) -> list[Ended]:
        """The processes that ended although nobody killed them."""
        return msgspec.convert(self._do("ended"), list[Ended])

    def ask(self, name: str, arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """One command of real.agent.Files for each of these nodes. Raises ExecutorFailed for one that could not be done."""
        answers = {}
        for node, given in arguments.items():
            try:
                answers[node] = getattr(self._files, f"do_{name}")(**given)
            except (OSError, ValueError) as error:
                raise ExecutorFailed(f"{name} on {node}: {error}") from error
        return answers

    def run(self, _: str, argv: Sequence[str]) -> Ran:
        """A command beside the node, ended."""
        return run_here(argv)

    def cut(self, links: Sequence[tuple[str, str]]) -> None:
        """Exactly these links are cut."""
        self._do("cut", links=links)

    def disturb(self, kind: str, links: Sequence[tuple[str, str]], parameters: Mapping[str, float]) -> None:
        """Exactly these links are disturbed in this way."""
        self._do("disturb", kind=kind, links=links, parameters=dict(parameters))

    def calm(self) -> None:
        """No link is disturbed."""
        self._do("calm")

    def bypasses(self) -> list[tuple[str, str, Address]]:
        """(source, destination, address) of each connection between nodes that is not made through their link."""
        return msgspec.convert(self._do("bypasses"), list[tuple[str, str, Address]])

    def network(self) -> list[dict[str, Any]]:
        """Each link: whether it is cut, what disturbs it, bytes passed, connections of its source."""
        state: list[dict[str, Any]] = self._do("network")
        return state

    def probe(self) -> list[tuple[str, str, Reach, float | None]]:
        """(source, destination, reach, milliseconds that it took) for each link, measured now by a connection through it."""
        return [(source, to, reach, ms) for source, to, reach, ms in self._do("probe")]

    def end(self) -> None:
        """Kill every process of the run, and the supervisor. Idempotent."""
        with self._lock:
            if self._process.poll() is None:
                # The end of the socket tells it; it kills the nodes and ends.
                self._socket.shutdown(socket.SHUT_RDWR)
                try:
                    self._process.wait(END_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._socket.close()
            self._files.end_caches()

    def _do(self, name: str, **arguments: Any) -> Any:
        number = next(self._numbers)
        return self._exchange(json.dumps({"do": name, "number": number, **arguments}).encode(), number)

    def _exchange(self, line: bytes, number: int | None = None) -> Any:
        """What the line is answered. A Ctrl-C or a time-out may have come before an earlier answer was read: that one is passed
        over."""
        with self._lock:
            try:
                self._socket.settimeout(ANSWER_TIMEOUT_S)
                self._socket.sendall(line + b"\n")
                result = self._answer()
                while result.get("number") != number:
                    result = self._answer()
            except EOFError as error:
                raise SupervisorFailed("the supervisor of the nodes is gone; its log says why") from error
            except (OSError, ValueError) as error:
                raise SupervisorFailed(f"the supervisor of the nodes does not answer: {error}") from error
        if "error" in result:
            raise SupervisorFailed(result["error"])
        return result["ok"]

    def _answer(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Lines:
    """The lines that arrive at a socket. Unlike a file made of it, it goes on where a time-out ended a read."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._held = bytearray()

    def readline(self) -> bytes:
        """The next line with its end; empty where the other side is gone. Raises OSError, for a time-out too."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            piece = self._source.recv(1 << 16)
            if not piece:
                return b""
            self._held += piece
        line = bytes(self._held[: end + 1])
        del self._held[: end + 1]
        return line
