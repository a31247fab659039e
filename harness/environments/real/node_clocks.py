"""Clocks of nodes that are real processes: the clock hook of our own nodes, and the interface for other ways to move clocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from harness.environments.real.clock_offsets import ClockReader, ClockReading
from nemesis.capabilities import Clocks, FaultError, NodeId, Processes
from targets.target import Ports
from targets.timekeeping import NodeClock, Reading


class NodeClocks(Clocks, Protocol):
    """Clocks, with what an environment has to call so that a wrong clock stays wrong over a restart and a pause."""

    def variables(self, node: NodeId) -> Mapping[str, str]:
        """The environment variables for a node that starts now."""
        ...

    def resumed(self, nodes: Collection[NodeId]) -> None:
        """These run again after a pause."""
        ...


class Tell(Protocol):
    """Posts a JSON body to the route of each of these nodes; returns the answers, None for a node that gave none."""

    def __call__(
        self, path: str, bodies: Mapping[NodeId, Mapping[str, Any]], /
    ) -> Mapping[NodeId, Mapping[str, Any] | None]: ...


class HookClocks(ClockReader):
    """Implements NodeClocks by the nodes' clock hook."""

    def __init__(
        self,
        addresses: Mapping[NodeId, Ports],
        origin: Reading,
        processes: Processes,
        read: Callable[[Collection[NodeId]], Mapping[NodeId, ClockReading]],
        tell: Tell | None,
    ) -> None:
        """read: the clocks of those of these nodes that answer. tell: None for a program outside the project, whose processes
        cannot be told."""
        self._addresses = addresses
        self._origin = origin
        self._processes = processes
        self._wanted = {node: NodeClock(origin) for node in addresses}
        self._read_clocks = read
        self._post = tell
        self._untold: set[NodeId] = set()

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """The nodes' clocks are so far off. Takes effect on a dead or paused node when it runs again."""
        for node, ns in offset_ns.items():
            self._wanted[node].set_offset_ns(ns)
        self._tell({node: {"offset_ns": ns} for node, ns in offset_ns.items()})

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """The nodes' clocks run at these rates. Takes effect on a dead or paused node when it runs again."""
        for node, by in rate.items():
            try:
                self._wanted[node].set_rate(by)
            except ValueError as error:
                raise FaultError(f"{node}: {error}") from None
        self._tell({node: {"rate": by} for node, by in rate.items()})

    def heal(self) -> None:
        """Every clock is true again."""
        for clock in self._wanted.values():
            clock.set_rate(1.0)
            clock.set_offset_ns(0)
        self._tell({node: {"rate": 1.0, "offset_ns": 0} for node in self._wanted})

    def variables(self, node: NodeId) -> Mapping[str, str]:
        """The environment variables that say what the clock shows from the start."""
        return {} if self._post is None else {"THEMIS_CLOCK_SKEW": self.skew(node)}

    def skew(self, node: NodeId) -> str:
        """Offset and rate of a node that starts now."""
        self._untold.discard(node)
        clock = self._wanted[node]
        return f"{clock.now_ns() - clock.true_ns()}@{clock.rate}"

    def resumed(self, nodes: Collection[NodeId]) -> None:
        """Tell those that were paused what their clocks were set to meanwhile."""
        missed = self._untold.intersection(nodes)
        bodies = {
            node: {
                "rate": self._wanted[node].rate,
                "offset_ns": self._wanted[node].now_ns() - self._wanted[node].true_ns(),
            }
            for node in sorted(missed)
        }
        self._untold -= missed
        self._tell(bodies)

    def _tell(self, bodies: Mapping[NodeId, Mapping[str, float]]) -> None:
        if self._post is None:
            return
        states = self._processes.states()
        self._untold.update(node for node in bodies if states[node] == "paused")
        running = {node: body for node, body in bodies.items() if states[node] == "running"}
        answers = self._post("/clock", running)
        silent = sorted(node for node, answer in answers.items() if answer is None)
        if silent:
            raise FaultError(f"the clock of {', '.join(silent)} could not be set: no answer")

    def _read(self) -> Mapping[NodeId, ClockReading | None]:
        states = self._processes.states()
        found = self._read_clocks([node for node in self._addresses if states[node] == "running"])
        return {node: found.get(node) for node in self._addresses}
