"""Kills and restarts. Need: processes.

Ops: `kill` (nodes, or "primary"): as by kill -9. `start` (nodes, or None for all): those that are dead, on the disk
    they left. `restart-all` (no value): every node is killed and, when all are dead, started. `restart` (nodes, in
    order): one after another, each running again before the next is killed.
"""

from __future__ import annotations

from collections.abc import Sequence

from histories.op import Op
from nemesis.capabilities import Cluster, NodeId, ProcessState
from nemesis.fault import FaultResult
from nemesis.faults.processes import NOT_DEAD, DownFamily, ProcessFault, judged

KILL, START, RESTART_ALL, RESTART = "kill", "start", "restart-all", "restart"


class Kill(ProcessFault):
    """Takes processes down and starts them again."""

    name = "kill"
    fs = frozenset({KILL, START, RESTART_ALL, RESTART})

    def invoke(self, op: Op) -> FaultResult:
        match op.f:
            case "kill":
                result = self.take_down(op.value, self.processes.kill, NOT_DEAD, "dead")
            case "start":
                result = self.bring_back(op.value, self.processes.start, NOT_DEAD)
            case "restart-all":
                result = self._restart([sorted(self.cluster.nodes)])
            case _:
                result = self._restart([[node] for node in op.value])
        self.note("killed", "dead")
        return result

    def heal(self) -> FaultResult:
        result = self.bring_back(None, self.processes.start, NOT_DEAD)
        self.note("killed", "dead")
        return result

    def _restart(self, groups: Sequence[Sequence[NodeId]]) -> FaultResult:
        """Each group killed, looked at, and started, before the next one."""
        nodes = [node for group in groups for node in group]
        down: dict[NodeId, ProcessState] = {}
        for group in groups:
            self.in_force = f"restarting {' '.join(group)}"
            self.processes.kill(group)
            states = self.states()
            down.update({node: states[node] for node in group if node in states})
            self.processes.start(group)
        after = self.states()
        did, evidence = {"nodes": nodes}, {"down": {node: down[node] for node in sorted(down)}, "states": after}
        went_down = judged(did, evidence, down, nodes, ("dead",))
        return judged(did, evidence, after, nodes, ("running",)) if went_down.status == "installed" else went_down


class KillFamily(DownFamily):
    """`kill[:target]`."""

    name = "kill"
    summary = "kill -9 some nodes (one, a minority, a majority, all, the primary), and start them again on their disks"
    down, back = KILL, START

    def build(self, cluster: Cluster) -> Kill:
        return Kill(cluster)
