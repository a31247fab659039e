"""What kill, pause and restart share: choosing nodes, acting on them, looking at each process afterwards, and being planned.

Values: a list of nodes; "primary", resolved when it fires; None for all nodes, where an op brings nodes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nemesis.capabilities import Cluster, NodeId, Processes, ProcessState
from nemesis.family import Entry, Needs, Planned, Window, check_nodes
from nemesis.fault import Fault, FaultResult

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


def check_return(value: Any, nodes: Collection[NodeId]) -> str:
    """`value` is None for all nodes, or a list of nodes. Raises ValueError with the broken rule."""
    if value is not None:
        check_nodes(value, nodes)
    return ""


class DownFamily(ABC):
    """Takes some nodes down by one op, and brings them back by another; implements nemesis.family.Family but for its names."""

    name: str
    summary: str
    down: str
    """The op that takes nodes down (value: nodes, or "primary")..."""
    back: str
    """... and the one that brings them back (value: nodes, or None for all)."""
    variants: tuple[str, ...] = TARGETS

    def __init__(self) -> None:
        self.begins = frozenset({self.down})
        self.ends = frozenset({self.back})
        self.fs = self.begins | self.ends

    @abstractmethod
    def build(self, cluster: Cluster) -> Fault: ...

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("processes",))

    def claims(self, variant: str) -> Sequence[str]:
        return (self.name, f"{self.name}/{variant}")

    def nodes_min(self, variant: str) -> int:
        return 1

    def plan(self, variant: str, window: Window) -> Planned | None:
        chosen = choose(variant, window)
        if chosen is None:
            return None
        value, count = chosen
        # Only the run knows which node the primary was: then all are brought back.
        back = Entry(window.end_ns, self.back, None if value == PRIMARY else value)
        return Planned((Entry(window.start_ns, self.down, value), back), down_count=count)

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((self.back, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == self.back:
            return check_return(value, nodes)
        if value == PRIMARY:
            return PRIMARY
        check_nodes(value, nodes)
        return ""
