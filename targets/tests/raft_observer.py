"""The safety properties of Raft figure 3, read from the cores' traces, and what they mean to clients."""

from __future__ import annotations

from typing import Any

import msgspec

from histories.tracing import Appended, Applied, Committed, Installed, Recovered, Role, Truncated
from targets.core import NodeId, Trace
from targets.machines.kv import Cas, KvCommand, KvMachine, Write
from targets.machines.machine import Refused
from targets.tests.cluster import Attempt


def _digest(command: KvCommand | None) -> str:
    """Text that is equal for equal commands."""
    return "no-op" if command is None else msgspec.json.encode(command).decode()


class Violation(AssertionError):
    """The first word is the property that does not hold."""


class Observer:
    """Raises Violation at the trace that breaks a property. log: what was committed, (term, digest) from index 1."""

    def __init__(self) -> None:
        self.log: list[tuple[int, str]] = []
        self.leaders: dict[int, NodeId] = {}
        self._committed_in: list[int] = []
        self._entries: dict[tuple[int, int], tuple[str, int]] = {}
        self._logs: dict[NodeId, list[tuple[int, str]]] = {}
        self._terms: dict[NodeId, int] = {}
        self._known: dict[NodeId, int] = {}
        """What each node itself said to be committed."""

    def __call__(self, now_ns: int, node: NodeId, trace: Trace) -> None:
        event = trace.event
        log = self._logs.setdefault(node, [])
        match event:
            case Role():
                self._terms[node] = event.term
                if event.role == "leader":
                    self._led(node, event.term, log)
            case Recovered():
                self._recovered(node, event)
            case Appended():
                for index, command in enumerate(event.commands, event.index):
                    self._appended(node, index, (event.term, _digest(command)), log)
            case Installed():
                if event.index < self._known.get(node, 0):
                    raise Violation(f"state-machine-safety: {node} goes back from {self._known[node]} to {event.index}")
                self._logs[node] = self._log_of_snapshot(node, event.index, event.term)
            case Truncated():
                del log[event.from_index - 1 :]
            case Committed():
                self._known[node] = event.index
                for index in range(1, event.index + 1):
                    self._is_committed(node, index, log[index - 1])
            case Applied():
                assert log[event.last - 1] == (event.term, _digest(event.command))
                for index in range(event.first, event.last + 1):
                    self._is_committed(node, index, log[index - 1])

    def _led(self, node: NodeId, term: int, log: list[tuple[int, str]]) -> None:
        if self.leaders.setdefault(term, node) != node:
            raise Violation(f"election-safety: {self.leaders[term]} and {node} lead term {term}")
        for index, entry in enumerate(self.log, 1):
            if self._committed_in[index - 1] < term and (len(log) < index or log[index - 1] != entry):
                raise Violation(f"leader-completeness: {node} leads term {term} without {entry} at {index}")

    def _recovered(self, node: NodeId, event: Recovered) -> None:
        """The disk holds a log of these terms; (index, term) says which entry each is, as `_entries` has it."""
        self._known[node] = event.snapshot_index
        log = self._log_of_snapshot(node, event.snapshot_index, event.snapshot_term)
        term, starts = 0, dict(event.terms)
        for index in range(event.snapshot_index + 1, event.last_index + 1):
            term = starts.get(index, term)
            known = self._entries.get((index, term))
            at = index - 1 - (event.last_index - len(event.tail))
            assert known is not None or at >= 0, f"{node} recovers entry {index} of term {term}, which nobody ever had"
            log.append((term, _digest(event.tail[at]) if at >= 0 else known[0] if known else ""))
        self._logs[node] = log

    def _log_of_snapshot(self, node: NodeId, index: int, term: int) -> list[tuple[int, str]]:
        """What a snapshot up to `index` stands for: what is committed."""
        if index > len(self.log) or (index and self.log[index - 1][0] != term):
            raise Violation(
                f"state-machine-safety: {node} has a snapshot up to {index} of term {term}, which no one committed"
            )
        return self.log[:index]

    def _appended(self, node: NodeId, index: int, entry: tuple[int, str], log: list[tuple[int, str]]) -> None:
        assert index == len(log) + 1, f"{node} appends at {index} behind {len(log)}"
        told = (entry[1], log[-1][0] if log else 0)
        if self._entries.setdefault((index, entry[0]), told) != told:
            raise Violation(
                f"log-matching: {node} has {told} at {index} of term {entry[0]}, not {self._entries[index, entry[0]]}"
            )
        log.append(entry)

    def _is_committed(self, node: NodeId, index: int, entry: tuple[int, str]) -> None:
        if index == len(self.log) + 1:
            self.log.append(entry)
            self._committed_in.append(self._terms[node])
        elif self.log[index - 1] != entry:
            raise Violation(f"state-machine-safety: {node} commits {entry} at {index}, not {self.log[index - 1]}")


def check_clients(attempts: list[Attempt], digests: list[str], decode: Any) -> None:
    """The committed commands, in their order, explain what every client was told, in real time (linearizability).

    Every written value is unique. Raises Violation.
    """
    position: dict[Any, int] = {}
    machine = KvMachine()
    for index, digest in enumerate(digests, 1):
        if digest == "no-op":
            continue
        command: KvCommand = decode(digest)
        is_done = not isinstance(machine.apply(command), Refused)
        if is_done and isinstance(command, Write | Cas):
            position[command.value if isinstance(command, Write) else command.value[1]] = index
    floor: dict[Any, list[tuple[int, int]]] = {}
    for attempt in attempts:
        assert attempt.outcome is not None
        call, outcome = attempt.call, attempt.outcome
        seen = position.get(_written(call, outcome.value)) if outcome.value is not None else 0
        if outcome.type == "ok" and seen is None:
            raise Violation(f"lost: {call} was {outcome.type}, and is not in the log")
        if outcome.type == "fail" and call.f != "read" and seen is not None:
            raise Violation(f"phantom: {call} failed with {outcome.error}, and is in the log at {seen}")
        if outcome.type == "ok":
            floor.setdefault(call.key, []).append((attempt.completed_ns, seen or 0))
    for attempt in attempts:
        assert attempt.outcome is not None
        call, outcome = attempt.call, attempt.outcome
        if outcome.type == "ok":
            seen = position[_written(call, outcome.value)] if outcome.value is not None else 0
            for completed_ns, before in floor[call.key]:
                if completed_ns < attempt.invoked_ns and (before > seen or (before == seen and call.f != "read")):
                    raise Violation(f"stale: {call} saw {outcome.value}, log index {seen}, after {before} was known")


def _written(call: Any, value: Any) -> Any:
    return value[1] if call.f == "cas" else value
