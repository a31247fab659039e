"""The safety properties of Raft figure 3, read from the cores' traces, and what they mean to clients."""

from __future__ import annotations

from typing import Any

from targets.core import NodeId, Trace
from targets.machines.kv import Cas, KvCommand, KvMachine, Write
from targets.machines.machine import Refused
from targets.tests.cluster import Attempt


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

    def __call__(self, now_ns: int, node: NodeId, trace: Trace) -> None:
        fields = trace.fields
        log = self._logs.setdefault(node, [])
        match trace.kind:
            case "role":
                self._terms[node] = fields["term"]
                if fields["role"] == "leader":
                    self._led(node, fields["term"], log)
            case "append":
                self._appended(node, fields, log)
            case "truncate":
                del log[fields["from_index"] - 1 :]
            case "commit":
                for index in range(1, fields["index"] + 1):
                    self._is_committed(node, index, log[index - 1])
            case "apply":
                self._is_committed(node, fields["index"], (fields["term"], fields["digest"]))

    def _led(self, node: NodeId, term: int, log: list[tuple[int, str]]) -> None:
        if self.leaders.setdefault(term, node) != node:
            raise Violation(f"election-safety: {self.leaders[term]} and {node} lead term {term}")
        for index, entry in enumerate(self.log, 1):
            if self._committed_in[index - 1] < term and (len(log) < index or log[index - 1] != entry):
                raise Violation(f"leader-completeness: {node} leads term {term} without {entry} at {index}")

    def _appended(self, node: NodeId, fields: dict[str, Any], log: list[tuple[int, str]]) -> None:
        index, term = fields["index"], fields["term"]
        assert index == len(log) + 1, f"{node} appends at {index} behind {len(log)}"
        entry = (fields["digest"], log[-1][0] if log else 0)
        if self._entries.setdefault((index, term), entry) != entry:
            raise Violation(
                f"log-matching: {node} has {entry} at {index} of term {term}, not {self._entries[index, term]}"
            )
        log.append((term, fields["digest"]))

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
