"""Pauses, as by SIGSTOP and SIGCONT. Need: processes. Ops: `pause` (nodes, or "primary"), `resume` (nodes, or None
for all).

A paused process keeps its sockets and its memory: its peers see silence, and it itself sees time jump when it wakes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from histories.op import Op
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import Entry, Needs, Planned, Window
from nemesis.fault import FaultResult
from nemesis.faults.processes import (
    NOT_PAUSED,
    TARGETS,
    ProcessFault,
    check_return,
    check_target,
    choose,
    returning,
)

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


class PauseFamily:
    """`pause[:target]`."""

    name = "pause"
    summary = "stop the processes of some nodes (one, a minority, a majority, all, the primary), and let them go on"
    variants: tuple[str, ...] = TARGETS
    fs = Pause.fs
    begins = frozenset({PAUSE})
    ends = frozenset({RESUME})

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("processes",))

    def claims(self, variant: str) -> Sequence[str]:
        return (self.name, f"{self.name}/{variant}")

    def nodes_min(self, variant: str) -> int:
        return 1

    def build(self, cluster: Cluster) -> Pause:
        return Pause(cluster)

    def plan(self, variant: str, window: Window) -> Planned | None:
        chosen = choose(variant, window)
        if chosen is None:
            return None
        value, count = chosen
        return Planned(
            (Entry(window.start_ns, PAUSE, value), Entry(window.end_ns, RESUME, returning(value))), down_count=count
        )

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((RESUME, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        return check_target(value, nodes) if f == PAUSE else check_return(value, nodes)
