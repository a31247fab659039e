"""Waits for a moment of the protocol, by what the simulated nodes trace: implements nemesis.capabilities.Moments.

The trace is told in the step that reaches the moment. The world stops behind the entry of its queue in which that happened: what
the node sent in it is under way, and nobody has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.environments.sim.node import Node
from harness.environments.sim.world import World
from histories.tracing import Appended, Applied, Installed, Role, TraceEvent, Voted
from histories.units import NS_PER_S
from nemesis.capabilities import NodeId

Says = Callable[[NodeId, Any], bool]

LAG_ENTRIES = 4
"""A node that lacks so many is behind by more than what is on its way at any time."""


class SimMoments:
    """leads: whether a node leads by what it says of itself."""

    def __init__(self, world: World, nodes: Mapping[NodeId, Node], leads: Callable[[NodeId], bool]) -> None:
        self._world = world
        self._nodes = nodes
        self._moments: Mapping[str, tuple[type[TraceEvent], Says]] = {
            "elected": (Role, lambda node, event: event.role == "leader"),
            "voted": (Voted, lambda node, event: event.candidate != node),
            "appended": (Appended, lambda node, event: leads(node)),
            "stored": (Appended, lambda node, event: not leads(node)),
            "snapshot": (Installed, lambda node, event: True),
            "lagging": (Applied, lambda node, event: leads(node) and self._is_ahead(event.last)),
        }

    def _is_ahead(self, index: int) -> bool:
        """The log of some node that runs lacks LAG_ENTRIES of the entries up to `index`."""
        statuses = [status for node in self._nodes.values() if (status := node.status()) is not None]
        return any(status["log_length"] <= index - LAG_ENTRIES for status in statuses if "log_length" in status)

    def wait(self, moment: str, count: int, within_s: float) -> NodeId | None:
        """The node that reached it, the `count`-th from now on; None when it did not come in time."""
        kind, says = self._moments[moment]
        reached: list[NodeId] = []

        def look(_time_ns: int, node: NodeId, event: TraceEvent) -> None:
            if len(reached) < count and says(node, event):
                reached.append(node)

        world = self._world
        with world.watching(kind, look):
            world.run(world.now_ns + int(within_s * NS_PER_S), lambda: len(reached) >= count)
        return reached[-1] if len(reached) >= count else None

    def rest(self, seconds: float) -> None:
        """Returns after so many seconds of the run."""
        self._world.run(self._world.now_ns + int(seconds * NS_PER_S), lambda: False)
