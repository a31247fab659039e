"""Clocks of machines: how far they are from the controller's, and faults of the machines' own clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from harness.environments.real.agent_clients import Agents, at_once
from harness.environments.real.clock_offsets import ClockReading
from harness.environments.real.node_clocks import HookClocks
from nemesis.capabilities import NodeId, Processes
from targets.target import Ports
from targets.timekeeping import Reading

READINGS = 5


def read(agents: Agents, node: NodeId) -> tuple[Reading, int]:
    """The machine's clocks, and this one's monotonic clock when they were read. Of several readings the one with the
    shortest round trip counts; it is off by at most half of that. Raises FaultError."""
    found: list[tuple[int, Reading, int]] = []
    for _ in range(READINGS):
        asked_ns = time.monotonic_ns()
        wall_ns, monotonic_ns = agents.ask("now", {node: {}})[node]
        answered_ns = time.monotonic_ns()
        found.append((answered_ns - asked_ns, Reading(wall_ns, monotonic_ns), (asked_ns + answered_ns) // 2))
    return min(found, key=lambda reading: reading[0])[1:]


def shared_origin(agents: Agents, node: NodeId, origin: Reading) -> Reading:
    """What a process on the machine must be given so that true time there is true time here."""
    there, here_ns = read(agents, node)
    return Reading(origin.wall_ns + here_ns - origin.monotonic_ns, there.monotonic_ns)


class SystemClocks(HookClocks):
    """Implements nemesis.capabilities.Clocks by the machines' own clocks, which every program there sees.

    The nodes of this project read their machine's clock once and carry it on by the monotonic one: they are told the same
    by their clock hook (`has_hook`; a program outside the project sees the machine's clock and has none). What is measured
    is the machines' clocks. The guards put them right, however the run ends.
    """

    def __init__(
        self,
        agents: Callable[[], Agents],
        addresses: Mapping[NodeId, Ports],
        origin: Reading,
        processes: Processes,
    ) -> None:
        super().__init__(addresses, origin, processes)
        self._agents = agents

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """See Clocks."""
        self._agents().ask("clock_shift", {node: {"offset_ns": ns} for node, ns in offset_ns.items()})
        super().set_offset(offset_ns)

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """See Clocks."""
        self._agents().ask("clock_rate", {node: {"rate": by} for node, by in rate.items()})
        super().set_rate(rate)

    def heal(self) -> None:
        """See Clocks."""
        self._agents().ask("clock_restore", {node: {} for node in self._addresses})
        super().heal()

    def _read(self) -> Mapping[NodeId, ClockReading | None]:
        # Of the machines, so that dead nodes have one as well.
        agents, origin = self._agents(), self._origin

        def reading(node: NodeId) -> Callable[[], tuple[Reading, int]]:
            return lambda: read(agents, node)

        found = at_once({node: reading(node) for node in sorted(self._addresses)})
        return {
            node: (there.wall_ns - origin.wall_ns - (here_ns - origin.monotonic_ns), here_ns)
            for node, (there, here_ns) in found.items()
        }
