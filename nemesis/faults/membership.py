"""Changes of the membership while other faults run. Ops: start-membership, stop-membership (no value). Need: members, and processes
and disks where a node is replaced.

A start's value is {"shape": "remove", "nodes": ["n2"]}. remove: the node gives up its membership. two-at-once: two nodes are to be
removed by requests that do not wait for each other; a sound cluster refuses the second. replace: the node is killed, its disk is
wiped, and it is started again; it has to come back as a new member. A stop brings back every member that the cluster had at first,
and waits for their votes.

A node is replaced only where the cluster is whole: a leader leads, no change is under way, and no member is missing or far behind.
Else a second loss could take a majority, which nothing survives; the op is then skipped, and says why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, Members, MembersView, NodeId
from nemesis.family import (
    Entry,
    FamilyDefaults,
    Needs,
    Planned,
    Window,
    check_fields,
    check_nodes,
    check_none,
)
from nemesis.faults.processes import ProcessFault

START, STOP = "start-membership", "stop-membership"
REMOVE, TWO_AT_ONCE, REPLACE = "remove", "two-at-once", "replace"
SHAPES = (REMOVE, TWO_AT_ONCE, REPLACE)

ADD, TAKE_AWAY = "add-node", "remove-node"
"""The changes as the target names them."""

RESTORED_WITHIN_S = 3.0
"""How long a stop waits for the votes of all members, or as long as they take to settle where no other fault is in force. Another
fault may keep them from it: the stop is then indeterminate, and the next one, or the heal at the end, waits again."""
LOOK_EVERY_S = 0.02


class Membership:
    """Takes members away and brings them back, and says who was a member after it."""

    name = "membership"
    fs = frozenset({START, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.members is not None, "refused before the run: membership needs members"
        self.cluster = cluster
        self.members: Members = cluster.members
        self.book = book
        self.home: frozenset[NodeId] | None = None
        """The voters that the cluster had at first."""
        self.is_in_doubt = False
        """A change was asked for, and nobody knows how it ended: it may yet take effect."""
        self.replaced: set[NodeId] = set()
        """The nodes that lost their data and are not known to vote again. The leader may still list them as what they were."""

    def invoke(self, op: Op) -> FaultResult:
        if op.f == STOP:
            return self.heal()
        shape, nodes = op.value["shape"], list(op.value["nodes"])
        view = self._view()
        if view is None:
            return FaultResult("skipped", did=op.value, why="no node leads")
        return self._replace(nodes[0], view) if shape == REPLACE else self._remove(shape, nodes, view)

    def heal(self) -> FaultResult:
        """Every node that this fault killed runs, and every voter that the cluster had at first votes."""
        dead = sorted({node for fault in self.book.open(self.name) if fault.holds == "dead" for node in fault.nodes})
        if dead:
            states, seen = ProcessFault(self.cluster, self.book).start(dead)
            refused = seen.get("refused", {})
            if down := [node for node in dead if states.get(node) == "dead" and node not in refused]:
                return FaultResult("indeterminate", evidence=seen, why=f"{', '.join(down)} does not run")
        open_faults = self.book.open(self.name)
        for fault in open_faults:
            fault.lifting()
        if self.home is None:
            return FaultResult("installed")
        asked: dict[NodeId, str] = {}
        view = None
        patience_s = RESTORED_WITHIN_S
        if not self.book.has_others(self.name):
            patience_s = max(patience_s, self.members.settles_within_s)
        deadline_ns = self.cluster.now_ns() + int(patience_s * 1e9)
        while True:
            view = self._view()
            missing = [] if view is None else sorted(self.home - set(view.voters))
            late = [] if view is None else sorted(self.replaced & set(view.behind) - set(missing))
            if view is not None and not missing and not late and view.is_settled:
                break
            if self.cluster.now_ns() >= deadline_ns:
                why = (
                    "no node leads"
                    if view is None
                    else f"no votes yet: {', '.join(missing + late) or 'a change is under way'}"
                )
                return FaultResult("indeterminate", did=asked or None, evidence=_evidence(view), why=why)
            for node in missing:
                outcome = self.members.change([(ADD, node)])[0]
                asked[node] = "done" if outcome.is_done else outcome.why
            self.members.wait(LOOK_EVERY_S)
        self.replaced.clear()
        for fault in open_faults:
            fault.lifted()
        return FaultResult("installed", did={"added": asked} if asked else None, evidence=_evidence(view))

    def _view(self) -> MembersView | None:
        view = self.members.view()
        if view is not None and self.home is None:
            self.home = frozenset(view.voters)
        return view

    def _remove(self, shape: str, nodes: Sequence[NodeId], view: MembersView) -> FaultResult:
        """Ask for the removals, all at once; installed when the leader's configuration lacks one of the nodes."""
        fault = self.book.begin(f"{self.name}:{shape}", nodes)
        outcomes = self.members.change([(TAKE_AWAY, node) for node in nodes])
        self.is_in_doubt |= not all(one.is_done or one.is_known for one in outcomes)
        told = {node: "done" if one.is_done else one.why for node, one in zip(nodes, outcomes, strict=True)}
        after = self._view()
        did = {"shape": shape, "nodes": list(nodes), "outcomes": told}
        if after is None:
            return FaultResult("indeterminate", did=did, why="no node leads after it")
        gone = [node for node in nodes if node not in after.voters]
        if not gone:
            fault.spared()
            return FaultResult(
                "skipped", did=did, evidence=_evidence(after), why="; ".join(f"{n}: {told[n]}" for n in nodes)
            )
        fault.in_force(gone)
        fault.spared([node for node in nodes if node not in gone])
        return FaultResult("installed", did=did, evidence=_evidence(after))

    def _replace(self, node: NodeId, view: MembersView) -> FaultResult:
        did: dict[str, Any] = {"shape": REPLACE, "nodes": [node]}
        reason = self._why_not_replace(node, view)
        if reason is not None:
            return FaultResult("skipped", did=did, evidence=_evidence(view), why=reason)
        assert self.cluster.disks is not None, "refused before the run: replace needs disks"
        processes = ProcessFault(self.cluster, self.book)
        fault = self.book.begin(f"{self.name}:{REPLACE}", [node], holds="dead", damages=True)
        spans = processes.processes.kill([node])
        for other in self.book.holding("paused", [node]):
            other.lifted([node], spans)
        states = processes.states()
        if states.get(node) != "dead":
            return FaultResult(
                "indeterminate", did=did, evidence={"states": states}, why=f"{node} is {states.get(node)}"
            )
        fault.in_force([node], spans)
        self.replaced.add(node)
        wiped = self.cluster.disks.damage("wipe", [node], {"rejoins": 1})
        states, seen = processes.start([node])
        evidence = {"wiped": dict(wiped), **seen, **_evidence(self._view())}
        if node not in wiped or states.get(node) == "dead":
            return FaultResult("indeterminate", did=did, evidence=evidence, why=f"{node} is {states.get(node)}")
        return FaultResult("installed", did=did, evidence=evidence)

    def _why_not_replace(self, node: NodeId, view: MembersView) -> str | None:
        assert self.home is not None
        if self.is_in_doubt:
            return "a change of the membership was not answered, and may yet take effect"
        if not view.is_settled:
            return "a change of the membership is under way"
        if missing := sorted(self.home - set(view.voters)):
            return f"{', '.join(missing)} is not a voter now"
        if view.behind:
            return f"{', '.join(view.behind)} is missing or far behind"
        if node not in view.voters:
            return f"{node} is not a voter"
        return None


def _evidence(view: MembersView | None) -> dict[str, Any]:
    if view is None:
        return {"leader": None}
    found: dict[str, Any] = {"leader": view.leader, "voters": list(view.voters)}
    return found | ({"learners": list(view.learners)} if view.learners else {})


class MembershipFamily(FamilyDefaults):
    """`membership[:shape]`."""

    name = "membership"
    summary = (
        "remove members, ask for two changes at once, replace a node by one with an empty disk; and add them again"
    )
    variants: tuple[str, ...] = SHAPES
    fs = Membership.fs
    begins = frozenset({START})
    ends = frozenset({STOP})

    def needs(self, variant: str) -> Needs:
        if variant == REPLACE:
            return Needs(capabilities=("members", "processes", "disks"), disk_kinds=("wipe",))
        return Needs(capabilities=("members",))

    def nodes_min(self, variant: str) -> int:
        """Whoever is left must be able to go on."""
        return 3

    def build(self, cluster: Cluster, book: FaultBook) -> Membership:
        return Membership(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        if len(window.nodes) < self.nodes_min(variant):
            return None
        count = 2 if variant == TWO_AT_ONCE else 1
        if variant == REPLACE and window.down_nodes_max < 1:
            return None
        value = {"shape": variant, "nodes": window.rng.sample(window.nodes, count)}
        entries = (Entry(window.start_ns, START, value), Entry(window.end_ns, STOP))
        return Planned(entries, down_count=int(variant == REPLACE))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == STOP:
            check_none(f, value)
            return ""
        fields: Mapping[str, Any] = check_fields(value, ("shape", "nodes"), ("outcomes",))
        shape = fields["shape"]
        if shape not in SHAPES:
            raise ValueError(f"shape: {shape!r} is none of {', '.join(SHAPES)}")
        named = check_nodes(fields["nodes"], nodes)
        count = 2 if shape == TWO_AT_ONCE else 1
        if len(named) != count:
            raise ValueError(f"{shape} takes {count} node{'s' * (count > 1)}, not {len(named)}")
        return str(shape)
