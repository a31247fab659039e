"""What kill, pause and restart share: choosing nodes, acting on them, and looking at each process afterwards.

Values: a list of nodes; "primary", resolved when it fires; None for all nodes, where an op brings nodes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nemesis.capabilities import Cluster, NodeId, Processes, ProcessState
from nemesis.family import Window, check_nodes
from nemesis.fault import FaultResult

PRIMARY = "primary"
TARGETS = ("one", "minority", "majority", "all", PRIMARY)

NOT_DEAD: tuple[ProcessState, ...] = ("running", "paused")
NOT_PAUSED: tuple[ProcessState, ...] = ("running", "dead")


class ProcessFault:
    """Acts on processes, and says `installed` only when a look afterwards agrees."""

    name: str

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.processes is not None, f"refused before the run: {self.name} needs processes"
        self.cluster = cluster
        self.processes: Processes = cluster.processes
        self.in_force = ""
        self.seen: dict[NodeId, ProcessState] = {}

    def states(self) -> dict[NodeId, ProcessState]:
        """Every node's state, looked up now, sorted."""
        found = self.processes.states()
        self.seen = {node: found[node] for node in sorted(found)}
        return self.seen

    def targets(self, value: Any) -> list[NodeId] | None:
        """The nodes that a value names, sorted; None when it says primary and no node leads."""
        if value is None:
            return sorted(self.cluster.nodes)
        if value == PRIMARY:
            primary = self.cluster.primary()
            return None if primary is None else [primary]
        return sorted(value)

    def take_down(
        self,
        value: Any,
        act: Callable[[Collection[NodeId]], None],
        able: Collection[str],
        wanted: ProcessState,
    ) -> FaultResult:
        """`act` on those of the nodes whose state is one of `able`; installed when all of these are then as wanted."""
        nodes = self.targets(value)
        if nodes is None:
            return FaultResult("skipped", did={"target": PRIMARY}, why="no node leads")
        before = self.states()
        able_nodes = [node for node in nodes if before.get(node) in able]
        did: dict[str, Any] = {"nodes": able_nodes}
        if value == PRIMARY:
            did["target"] = PRIMARY
        if not able_nodes:
            why = "nothing to do: " + ", ".join(f"{node} is {before.get(node, 'unknown')}" for node in nodes)
            return FaultResult("skipped", did=did, evidence={"states": before}, why=why)
        act(able_nodes)
        after = self.states()
        return judged(did, {"states": after}, after, able_nodes, (wanted,))

    def bring_back(
        self, value: Any, act: Callable[[Collection[NodeId]], None], healthy: Collection[str]
    ) -> FaultResult:
        """`act` on the nodes; installed when all of them are then in a `healthy` state."""
        nodes = self.targets(value) or []
        act(nodes)
        after = self.states()
        return judged({"nodes": nodes}, {"states": after}, after, nodes, healthy)

    def note(self, word: str, state: ProcessState) -> None:
        """Say for the live line which nodes were in `state` at the last look."""
        nodes = [node for node, found in self.seen.items() if found == state]
        self.in_force = f"{word} {' '.join(nodes)}" if nodes else ""


def judged(
    did: Any,
    evidence: Any,
    states: Mapping[NodeId, ProcessState],
    nodes: Sequence[NodeId],
    wanted: Collection[str],
) -> FaultResult:
    """Installed when each of `nodes` is in a wanted state, else indeterminate with those that are not."""
    wrong = [f"{node} is {states.get(node, 'unknown')}" for node in nodes if states.get(node) not in wanted]
    if wrong:
        return FaultResult("indeterminate", did=did, evidence=evidence, why=", ".join(wrong))
    return FaultResult("installed", did=did, evidence=evidence)


def choose(target: str, window: Window) -> tuple[Any, int] | None:
    """The value of a kill or pause of this target, and how many nodes it takes; None when more than the window
    allows."""
    count = len(window.nodes)
    match target:
        case "minority":
            size = window.rng.randint(1, max(1, min((count - 1) // 2, window.down_nodes_max)))
        case "majority":
            size = count // 2 + 1
        case "all":
            size = count
        case _:
            size = 1
    if size > window.down_nodes_max:
        return None
    if target == PRIMARY:
        return PRIMARY, 1
    return sorted(window.rng.sample(sorted(window.nodes), size)), size


def check_target(value: Any, nodes: Collection[NodeId]) -> str:
    """`value` is "primary" or a list of nodes; which variant it is, if that shows. Raises ValueError with the rule."""
    if value == PRIMARY:
        return PRIMARY
    check_nodes(value, nodes)
    return ""


def check_return(value: Any, nodes: Collection[NodeId]) -> str:
    """`value` is None for all nodes, or a list of nodes. Raises ValueError with the broken rule."""
    if value is not None:
        check_nodes(value, nodes)
    return ""


def returning(value: Any) -> Any:
    """The value of the op that brings back what an op of `value` took down: None (all) where only the run knows
    what it was."""
    return None if value == PRIMARY else value
