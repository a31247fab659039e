"""The controller's side of the supervisor: starts it, gives it commands from any thread, and ends it."""

from __future__ import annotations

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

from harness.environments.local.supervisor import Plan
from harness.environments.real import labelled_processes
from harness.environments.real.fork_server import Spawn
from harness.environments.real.import_path import import_path
from harness.environments.real.labelled_processes import Ended
from nemesis.capabilities import Reach

ANSWER_TIMEOUT_S = 15.0
END_TIMEOUT_S = 5.0


MonotonicSpan = tuple[int, int]
"""From when to when, in ns of the machine's monotonic clock."""


class SupervisorFailed(OSError):
    """The supervisor could not do it, or is gone; the message says what."""


class Supervision:
    """A running supervisor. Its methods return when the thing is done and raise SupervisorFailed when it could not be.

    ports: node -> the port it shall listen on. links: (source, destination) -> the port its source shall connect to.
    """

    def __init__(self, plan: Plan, log: Path) -> None:
        """Start it. `log` gets what it says. Raises SupervisorFailed when a port is in use."""
        ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._socket = ours
        self._lines = ours.makefile("rb")
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
            opened = self._exchange(msgspec.json.encode(plan))
        except BaseException:
            self.end()
            raise
        self.ports: dict[str, int] = opened["ports"]
        self.links: dict[tuple[str, str], int] = {(source, to): port for source, to, port in opened["links"]}

    def spawn(self, spawn: Spawn) -> int:
        """Start a node's process unless it runs; its pid."""
        pid: int = self._do("spawn", spawn=msgspec.to_builtins(spawn))
        return pid

    def signal(self, nodes: Collection[str], name: str) -> dict[str, MonotonicSpan]:
        """Send the signal (SIGKILL, SIGSTOP, SIGCONT, SIGTERM) to these nodes; it has had its effect on return. For each that
        had a process: when it was sent, and when it was seen to have had its effect."""
        spans = self._do("signal", nodes=sorted(nodes), signal=name)
        return {node: (begin_ns, end_ns) for node, (begin_ns, end_ns) in sorted(spans.items())}

    def states(self) -> Mapping[str, str]:
        """Node -> running, paused or dead, for those ever started."""
        states: Mapping[str, str] = self._do("states")
        return states

    def ended(self) -> list[Ended]:
        """The processes that ended although nobody killed them."""
        return msgspec.convert(self._do("ended"), list[Ended])

    def cut(self, links: Sequence[tuple[str, str]]) -> None:
        """Exactly these links are cut."""
        self._do("cut", links=links)

    def disturb(self, kind: str, links: Sequence[tuple[str, str]], parameters: Mapping[str, float]) -> None:
        """Exactly these links are disturbed in this way."""
        self._do("disturb", kind=kind, links=links, parameters=dict(parameters))

    def calm(self) -> None:
        """No link is disturbed."""
        self._do("calm")

    def network(self) -> list[dict[str, Any]]:
        """What each link does now: see proxy.Network.state."""
        state: list[dict[str, Any]] = self._do("network")
        return state

    def probe(self) -> list[tuple[str, str, Reach, float | None]]:
        """See proxy.Network.probe."""
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
            self._lines.close()
            self._socket.close()

    def _do(self, name: str, **arguments: Any) -> Any:
        return self._exchange(json.dumps({"do": name, **arguments}).encode())

    def _exchange(self, line: bytes) -> Any:
        with self._lock:
            try:
                self._socket.settimeout(ANSWER_TIMEOUT_S)
                self._socket.sendall(line + b"\n")
                answer = self._lines.readline()
            except (OSError, ValueError) as error:
                raise SupervisorFailed(f"the supervisor of the nodes does not answer: {error}") from error
        if not answer:
            raise SupervisorFailed("the supervisor of the nodes is gone; its log says why")
        result = json.loads(answer)
        if "error" in result:
            raise SupervisorFailed(result["error"])
        return result["ok"]
