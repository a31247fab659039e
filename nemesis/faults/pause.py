"""Pauses, as by SIGSTOP and SIGCONT. Need: processes. Ops: `pause` (nodes, or "primary"), `resume` (nodes, or None
for all).

A paused process keeps its sockets and its memory: its peers see silence, and it itself sees time jump when it wakes.
"""

from __future__ import annotations

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId
from nemesis.faults.processes import NOT_PAUSED, DownFamily, ProcessFault, measured

PAUSE, RESUME = "pause", "resume"


class Pause(ProcessFault):
    """Stops processes without ending them."""

    name = "pause"
    fs = frozenset({PAUSE, RESUME})

    def invoke(self, op: Op) -> FaultResult:
        if op.f == PAUSE:
            return self.take_down(op.value, self.processes.pause, ("running",), "paused")
        return self._resume(op.value)

    def heal(self) -> FaultResult:
        return self._resume(None)

    def _resume(self, value: list[NodeId] | None) -> FaultResult:
        nodes = self.targets(value) or []
        held = self.book.holding("paused", nodes)
        for fault in held:
            fault.lifting(nodes)
        spans = self.processes.resume(nodes)
        after = self.states()
        for fault in held:
            fault.lifted([node for node in nodes if after.get(node) in NOT_PAUSED], spans)
        return measured({"nodes": nodes}, {"states": after}, after, nodes, NOT_PAUSED)


class PauseFamily(DownFamily):
    """`pause[:target]`."""

    name = "pause"
    summary = "stop the processes of some nodes (one, a minority, a majority, all, the primary, or nodes of a role) for a time"
    down_f, back_f = PAUSE, RESUME

    def build(self, cluster: Cluster, book: FaultBook) -> Pause:
        return Pause(cluster, book)
