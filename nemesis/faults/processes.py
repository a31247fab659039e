"""What kill, pause and restart share: they choose nodes, act on them, look at each process afterwards, and are planned alike.

Values: a list of nodes; "primary", resolved when it fires; None for all nodes, where an op brings nodes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from histories.faults import FaultResult
from nemesis.book import FaultBook, OpenFault
from nemesis.capabilities import Cluster, NodeId, Processes, ProcessState, Spans
from nemesis.family import Down, Entry, FamilyDefaults, Needs, Planned, Window, check_nodes
from nemesis.fault import Fault

PRIMARY = "primary"
TARGETS = ("one", "minority", "majority", "all", PRIMARY)

ANSWERS_WITHIN_S = 2.0
"""How long a start waits for its nodes to answer. The fault does not fail when a node runs and does not answer: the node may need
others, which only the next ops start."""

NOT_DEAD: tuple[ProcessState, ...] = ("running", "paused")
NOT_PAUSED: tuple[ProcessState, ...] = ("running", "dead")


class ProcessFault:
    """Acts on processes, and says `installed` only when a look afterwards agrees."""

    name: str = "a fault of processes"

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.processes is not None, f"refused before the run: {self.name} needs processes"
        self.cluster = cluster
        self.processes: Processes = cluster.processes
        self.book = book

    def states(self) -> dict[NodeId, ProcessState]:
        """Every node's state, looked up now, sorted."""
        found = self.processes.states()
        return {node: found[node] for node in sorted(found)}

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
        act: Callable[[Collection[NodeId]], Spans],
        able: Collection[str],
        wanted: ProcessState,
    ) -> FaultResult:
        """Call `act` on the nodes whose state is one of `able`; installed when all of these then have the state `wanted`."""
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
        name = f"{self.name}:{PRIMARY}" if value == PRIMARY else self.name
        fault = self.book.begin(name, able_nodes, holds=wanted)
        spans = act(able_nodes)
        after = self.states()
        self.seen_down(fault, after, spans)
        return measured(did, {"states": after}, after, able_nodes, (wanted,))

    def seen_down(self, fault: OpenFault, states: Mapping[NodeId, ProcessState], spans: Spans) -> None:
        """Write down which of the fault's nodes are in the state that it holds them in."""
        down = [node for node in sorted(fault.nodes) if states.get(node) == fault.holds]
        fault.in_force(down, spans)
        if fault.holds == "dead":
            # A dead process is no longer paused.
            for other in self.book.holding("paused", down):
                other.lifted(down, spans)

    def start(self, nodes: Collection[NodeId]) -> tuple[dict[NodeId, ProcessState], dict[str, Any]]:
        """Start those of these nodes that are dead. The result says what each process did after it had had time to answer; its
        evidence says which of the started nodes did not answer, and which refused to run: those were started all the same."""
        held = self.book.holding("dead", nodes)
        for fault in held:
            fault.lifting(nodes)
        spans = self.processes.start(nodes)
        answering = self.processes.answering(sorted(spans), ANSWERS_WITHIN_S) if spans else frozenset()
        after = self.states()
        refused = self.processes.refused([node for node in nodes if after.get(node) == "dead"])
        for fault in held:
            fault.lifted([node for node in nodes if after.get(node) in NOT_DEAD or node in refused], spans)
        evidence: dict[str, Any] = {"states": after}
        if refused:
            evidence["refused"] = {node: refused[node] for node in sorted(refused)}
        if silent := [node for node in sorted(spans) if node not in answering]:
            evidence["silent"] = silent
        return after, evidence


def measured(
    did: Any,
    evidence: Any,
    states: Mapping[NodeId, ProcessState],
    nodes: Sequence[NodeId],
    wanted: Collection[str],
) -> FaultResult:
    """Installed when each of `nodes` is in a wanted state, or refused to run; else indeterminate with those that are not."""
    wrong = [
        f"{node} is {states.get(node, 'unknown')}"
        for node in nodes
        if states.get(node) not in wanted and node not in evidence.get("refused", ())
    ]
    if wrong:
        return FaultResult("indeterminate", did=did, evidence=evidence, why=", ".join(wrong))
    return FaultResult("installed", did=did, evidence=evidence)


def choose(target: str, window: Window) -> tuple[Any, int] | None:
    """The value of a kill or pause of this target (one of TARGETS, or a role), and how many nodes it takes; None when
    more than the window allows. It may take any number of the nodes of a role."""
    count = len(window.nodes)
    if target in window.roles:
        members = window.roles[target]
        size_max = min(len(members), window.down_nodes_max)
        if not size_max:
            return None
        size = window.rng.randint(1, size_max)
        return sorted(window.rng.sample(members, size)), size
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


class DownFamily(FamilyDefaults, ABC):
    """Takes some nodes down by one op, and brings them back by another; implements Family except for its names."""

    name: str
    summary: str
    down_f: str
    """The op that takes nodes down (value: nodes, or "primary")..."""
    back_f: str
    """... and the one that brings them back (value: nodes, or None for all)."""
    variants: tuple[str, ...] = TARGETS
    takes_roles = True

    def __init__(self) -> None:
        self.begins = frozenset({self.down_f})
        self.ends = frozenset({self.back_f})
        self.fs = self.begins | self.ends

    @abstractmethod
    def build(self, cluster: Cluster, book: FaultBook) -> Fault: ...

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("processes",))

    def plan(self, variant: str, window: Window) -> Planned | None:
        chosen = choose(variant, window)
        if chosen is None:
            return None
        value, count = chosen
        # Only the run knows which node the primary was: then all are brought back.
        back = Entry(window.end_ns, self.back_f, None if value == PRIMARY else value)
        return Planned((Entry(window.start_ns, self.down_f, value), back), down_count=count)

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((self.back_f, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == self.back_f:
            return check_return(value, nodes)
        if value == PRIMARY:
            return PRIMARY
        check_nodes(value, nodes)
        return ""

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        if f == self.down_f:
            after = before | ({f"the {PRIMARY}"} if value == PRIMARY else frozenset(value))
        else:
            after = frozenset() if value is None else before - set(value)
        return Down(after, after)
