"""Leadership is handed over while clients ask and other faults run. Op: transfer-leadership (nodes: the first of them that does
not lead is to lead). Needs: members.

It is over when the target has answered: what it leaves behind is another leader, or the same one. Where no node leads, or the
target refuses, the op is skipped and says why.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, Members, NodeId
from nemesis.family import Entry, FamilyDefaults, Needs, Planned, Window, check_nodes, even_times

TRANSFER = "transfer-leadership"
"""Also the change as the target names it."""

TRANSFERS_MAX = 3
"""In one window: one after another, as when each machine is taken out for a while."""

LOOKS_MAX, LOOK_EVERY_S = 10, 0.02
"""The old leader answers when it leads no more, and the heir needs a message or two from then on."""


class Transfer:
    """Asks the leader to hand over, and says who led before and after."""

    name = "transfer"
    fs = frozenset({TRANSFER})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.members is not None, "refused before the run: transfer needs members"
        self.members: Members = cluster.members
        self.book = book

    def invoke(self, op: Op) -> FaultResult:
        view = self.members.view()
        if view is None:
            return FaultResult("skipped", did=op.value, why="no node leads")
        heirs = [node for node in op.value if node != view.leader]
        if not heirs:
            return FaultResult("skipped", did=op.value, why=f"{view.leader} leads already")
        fault = self.book.begin(self.name, heirs[:1])
        asked_ns = self.book.now_ns()
        (outcome,) = self.members.change([(TRANSFER, heirs[0])])
        if outcome.is_done:
            fault.in_force(at_ns=asked_ns)
        if outcome.is_known and not outcome.is_done:
            fault.spared()
        else:
            fault.lifted()
        after = self.members.view()
        for _ in range(LOOKS_MAX):
            if after is not None or not outcome.is_done:
                break
            self.members.wait(LOOK_EVERY_S)
            after = self.members.view()
        evidence = {"leader_before": view.leader, "leader": None if after is None else after.leader}
        if not outcome.is_known:
            return FaultResult("indeterminate", did=heirs[:1], evidence=evidence, why=outcome.why)
        if not outcome.is_done:
            return FaultResult("skipped", did=heirs[:1], evidence=evidence, why=outcome.why)
        return FaultResult("installed", did=heirs[:1], evidence=evidence)

    def heal(self) -> FaultResult:
        """Nothing lasts."""
        return FaultResult("installed")


class TransferFamily(FamilyDefaults):
    """`transfer`."""

    name = "transfer"
    summary = "ask the leader to hand its leadership over, up to three times in a row"
    fs = Transfer.fs
    begins = frozenset({TRANSFER})
    ends: frozenset[str] = frozenset()
    """None: each op is over when it is answered."""

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("members",))

    def nodes_min(self, variant: str) -> int:
        return 2

    def build(self, cluster: Cluster, book: FaultBook) -> Transfer:
        return Transfer(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        if len(window.nodes) < self.nodes_min(variant):
            return None
        times_ns = even_times(window.start_ns, window.end_ns, window.rng.randint(1, TRANSFERS_MAX))
        return Planned(tuple(Entry(time_ns, TRANSFER, window.rng.sample(window.nodes, 2)) for time_ns in times_ns))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ()

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        check_nodes(value, nodes)
        return ""
