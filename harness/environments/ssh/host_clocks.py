"""Clocks of machines: how far they are from the controller's, and faults of the machines' own clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from harness.environments.real.agent_clients import Agents, at_once
from harness.environments.real.clock_offsets import ClockReading, Exchange, shortest
from harness.environments.real.node_clocks import HookClocks, Tell
from nemesis.capabilities import NodeId, Processes
from targets.target import Ports
from targets.timekeeping import Reading

READINGS = 5


def read(agents: Agents, node: NodeId) -> tuple[Exchange, int]:
    """The machine's wall clock as it was read by the shortest round trip, and its monotonic clock then. Raises FaultError."""
    monotonic_ns: dict[Exchange, int] = {}

    def ask() -> Exchange:
        asked_ns = time.monotonic_ns()
        wall_ns, there_ns = agents.ask("now", {node: {}})[node]
        exchange = Exchange(wall_ns, asked_ns, time.monotonic_ns())
        monotonic_ns[exchange] = there_ns
        return exchange

    found = shortest(ask, readings=READINGS)
    return found, monotonic_ns[found]


def shared_origin(agents: Agents, node: NodeId, origin: Reading) -> Reading:
    """What a process on the machine must be given so that true time there is true time here."""
    found, there_ns = read(agents, node)
    return Reading(origin.wall_ns + found.middle_ns - origin.monotonic_ns, there_ns)


class SystemClocks(HookClocks):
    """Implements nemesis.capabilities.Clocks by the machines' own clocks, which every program there sees.

    The nodes of this project read their machine's clock once and carry it on by the monotonic one: they are told the same
    by their clock hook (a program outside the project sees the machine's clock and has none). What is measured
    is the machines' clocks. The guards put them right, however the run ends.
    """

    def __init__(
        self,
        agents: Callable[[], Agents],
        addresses: Mapping[NodeId, Ports],
        origin: Reading,
        processes: Processes,
        tell: Tell | None,
    ) -> None:
        super().__init__(addresses, origin, processes, lambda _: {}, tell)
        self._agents = agents

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """The machines' clocks show true time plus this, and the nodes are told so."""
        self._agents().ask("clock_shift", {node: {"offset_ns": ns} for node, ns in offset_ns.items()})
        super().set_offset(offset_ns)

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """The machines' clocks run at this rate, and the nodes are told so."""
        self._agents().ask("clock_rate", {node: {"rate": by} for node, by in rate.items()})
        super().set_rate(rate)

    def heal(self) -> None:
        """Every clock is true again."""
        self._agents().ask("clock_restore", {node: {} for node in self._addresses})
        super().heal()

    def _read(self) -> Mapping[NodeId, ClockReading | None]:
        # Of the machines, so that dead nodes have one as well.
        agents, origin = self._agents(), self._origin

        def reading(node: NodeId) -> Callable[[], ClockReading]:
            return lambda: read(agents, node)[0].reading(origin)

        return at_once({node: reading(node) for node in sorted(self._addresses)})
