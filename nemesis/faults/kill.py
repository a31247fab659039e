"""Kills and restarts. Need: processes.

Ops: `kill` (nodes, or "primary"): as by kill -9. `start` (nodes, or None for all): those that are dead, on the disk
    they left. `restart-all` (no value): every node is killed and, when all are dead, started. `restart` (nodes, in
    order): one after another, each running again before the next is killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId, ProcessState
from nemesis.faults.processes import NOT_DEAD, DownFamily, ProcessFault, measured

KILL, START, RESTART_ALL, RESTART = "kill", "start", "restart-all", "restart"


class Kill(ProcessFault):
    """Takes processes down and starts them again."""

    name = "kill"
    fs = frozenset({KILL, START, RESTART_ALL, RESTART})

    def invoke(self, op: Op) -> FaultResult:
        match op.f:
            case "kill":
                return self.take_down(op.value, self.processes.kill, NOT_DEAD, "dead")
            case "start":
                return self._start(op.value)
            case "restart-all":
                return self._restart(RESTART_ALL, [sorted(self.cluster.nodes)])
            case _:
                return self._restart(f"{RESTART_ALL}:rolling", [[node] for node in op.value])

    def heal(self) -> FaultResult:
        return self._start(None)

    def _start(self, value: Sequence[NodeId] | None) -> FaultResult:
        nodes = self.targets(value) or []
        after, evidence = self.start(nodes)
        return measured({"nodes": nodes}, evidence, after, nodes, NOT_DEAD)

    def _restart(self, name: str, groups: Sequence[Sequence[NodeId]]) -> FaultResult:
        """Kill each group, look at it and start it before the next group; each is a fault of its own."""
        nodes = [node for group in groups for node in group]
        down: dict[NodeId, ProcessState] = {}
        silent: list[NodeId] = []
        refused: dict[NodeId, str] = {}
        for group in groups:
            fault = self.book.begin(name, group, holds="dead")
            spans = self.processes.kill(group)
            states = self.states()
            self.seen_down(fault, states, spans)
            down.update({node: states[node] for node in group if node in states})
            seen = self.start(group)[1]
            silent += seen.get("silent", [])
            refused |= seen.get("refused", {})
        after = self.states()
        did = {"nodes": nodes}
        evidence: dict[str, Any] = {"down": {node: down[node] for node in sorted(down)}, "states": after}
        if silent:
            evidence["silent"] = silent
        went_down = measured(did, evidence, down, nodes, ("dead",))
        if refused:
            evidence["refused"] = {node: refused[node] for node in sorted(refused)}
        return measured(did, evidence, after, nodes, ("running",)) if went_down.status == "installed" else went_down


class KillFamily(DownFamily):
    """`kill[:target]`."""

    name = "kill"
    summary = (
        "kill -9 some nodes (one, a minority, a majority, all, the primary, or nodes of a role), and start them again"
    )
    down_f, back_f = KILL, START

    def build(self, cluster: Cluster, book: FaultBook) -> Kill:
        return Kill(cluster, book)
