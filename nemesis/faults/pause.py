"""Pauses, as by SIGSTOP and SIGCONT. Need: processes. Ops: `pause` (nodes, or "primary"), `resume` (nodes, or None
for all).

A paused process keeps its sockets and its memory: its peers see silence, and it itself sees time jump when it wakes.
"""

from __future__ import annotations

from histories.op import Op
from nemesis.capabilities import Cluster
from nemesis.fault import FaultResult
from nemesis.faults.processes import NOT_PAUSED, DownFamily, ProcessFault

PAUSE, RESUME = "pause", "resume"


class Pause(ProcessFault):
    """Stops processes without ending them."""

    name = "pause"
    fs = frozenset({PAUSE, RESUME})

    def invoke(self, op: Op) -> FaultResult:
        if op.f == PAUSE:
            result = self.take_down(op.value, self.processes.pause, ("running",), "paused")
        else:
            result = self.bring_back(op.value, self.processes.resume, NOT_PAUSED)
        self.note("paused", "paused")
        return result

    def heal(self) -> FaultResult:
        result = self.bring_back(None, self.processes.resume, NOT_PAUSED)
        self.note("paused", "paused")
        return result


class PauseFamily(DownFamily):
    """`pause[:target]`."""

    name = "pause"
    summary = "stop the processes of some nodes (one, a minority, a majority, all, the primary), and let them go on"
    down, back = PAUSE, RESUME

    def build(self, cluster: Cluster) -> Pause:
        return Pause(cluster)
