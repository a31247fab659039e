"""The family of restarts: every node at once, or one after another over the window. The fault itself is faults.kill.Kill."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import Down, Entry, FamilyDefaults, Needs, Planned, Window, check_nodes, check_none, even_times
from nemesis.faults.kill import RESTART, RESTART_ALL, START, Kill
from nemesis.faults.processes import check_return

ROLLING = "rolling"


class RestartFamily(FamilyDefaults):
    """`restart-all[:once|:rolling]`."""

    name = "restart-all"
    summary = "restart every node: all of them down at once, or one after another (rolling)"
    variants: tuple[str, ...] = ("once", ROLLING)
    fs = frozenset({RESTART_ALL, RESTART, START})
    begins = frozenset({RESTART_ALL, RESTART})
    ends: frozenset[str] = frozenset()
    """None: each op brings its nodes back itself."""

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("processes",))

    def claims(self, variant: str) -> Sequence[str]:
        # A target that survives kills survives restarts: the planner keeps to the number of nodes that may be down.
        return (self.name, f"{self.name}/{variant}", "kill")

    def build(self, cluster: Cluster, book: FaultBook) -> Kill:
        return Kill(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        down_count = 1 if variant == ROLLING else len(window.nodes)
        if down_count > window.down_nodes_max:
            return None
        if variant != ROLLING:
            return Planned((Entry(window.start_ns, RESTART_ALL),), down_count)
        order = sorted(window.nodes)
        window.rng.shuffle(order)
        times_ns = even_times(window.start_ns, window.end_ns, len(order))
        return Planned(
            tuple(Entry(time_ns, RESTART, [node]) for time_ns, node in zip(times_ns, order, strict=True)), down_count
        )

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((START, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == START:
            return check_return(value, nodes)
        if f == RESTART_ALL:
            check_none(f, value)
            return "once"
        check_nodes(value, nodes)
        return ROLLING

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        during = frozenset(nodes) if f == RESTART_ALL else frozenset() if f == START else frozenset(value[:1])
        return Down(during, frozenset())
