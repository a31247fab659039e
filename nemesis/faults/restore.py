"""Backups, and nodes that are given the data of the last one back. Ops: take-backup (no value), restore (value:
{"shape": "cluster", "nodes": [...]}), stop-restore (no value). Need: backups and processes.

cluster: all nodes are killed, get the data of the backup, and start as a new cluster: what was acknowledged after the backup is
gone, and nothing else. node: one node loses its disk, gets its own data of the backup, and joins the others, which go on.

A backup changes nothing, so one that cannot be had is skipped, with the reason. A `restore` is skipped where there is no backup, or
where the target refuses this one. A completed `restore` says in `did` which backup it was, and whether the disks were `written`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Backup, Backups, Cluster, FaultError, NodeId
from nemesis.family import (
    Down,
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

TAKE, RESTORE, STOP = "take-backup", "restore", "stop-restore"
CLUSTER, NODE = "cluster", "node"
SHAPES = (CLUSTER, NODE)


class Restore:
    """Keeps the last backup, and gives it back."""

    name = "restore"
    fs = frozenset({TAKE, RESTORE, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.backups is not None, "refused before the run: restore needs backups"
        self.cluster = cluster
        self.backups: Backups = cluster.backups
        self.book = book
        self.last: Backup | None = None

    def invoke(self, op: Op) -> FaultResult:
        if op.f == TAKE:
            return self._take()
        return self._restore(op.value["shape"], list(op.value["nodes"])) if op.f == RESTORE else self.heal()

    def heal(self) -> FaultResult:
        """Every node that this fault killed runs."""
        dead = sorted({node for fault in self.book.open(self.name) for node in fault.nodes})
        if not dead:
            return FaultResult("installed")
        return self._started(dead, {}, {})

    def _take(self) -> FaultResult:
        try:
            self.last = self.backups.take()
        except FaultError as error:
            return FaultResult("skipped", why=str(error))
        sizes = {node: len(piece) for node, piece in sorted(self.last.pieces.items())}
        return FaultResult("installed", did={"backup": self.last.number}, evidence={"chars": sizes})

    def _restore(self, shape: str, nodes: Sequence[NodeId]) -> FaultResult:
        did: dict[str, Any] = {"shape": shape, "nodes": list(nodes)}
        if self.last is None:
            return FaultResult("skipped", did=did, why="no backup was taken")
        did["backup"] = self.last.number
        if (why := self.backups.refusal(self.last, nodes)) is not None:
            return FaultResult("skipped", did=did, why=why)
        processes = ProcessFault(self.cluster, self.book)
        fault = self.book.begin(f"{self.name}:{shape}", nodes, holds="dead")
        spans = processes.processes.kill(nodes)
        states = processes.states()
        processes.seen_down(fault, states, spans)
        if alive := [node for node in nodes if states.get(node) != "dead"]:
            why = f"{alive[0]} is {states.get(alive[0])}"
            return FaultResult("indeterminate", did=did, evidence={"states": states}, why=why)
        written = self.backups.restore(self.last, nodes)
        return self._started(nodes, {**did, "written": sorted(written)}, {"disks": dict(written)})

    def _started(self, nodes: Sequence[NodeId], did: dict[str, Any], evidence: dict[str, Any]) -> FaultResult:
        states, seen = ProcessFault(self.cluster, self.book).start(nodes)
        evidence = evidence | seen
        if down := [node for node in nodes if states.get(node) == "dead"]:
            return FaultResult("indeterminate", did or None, evidence, why=f"{', '.join(down)} does not run")
        return FaultResult("installed", did or None, evidence)


class RestoreFamily(FamilyDefaults):
    """`restore[:shape]`."""

    name = "restore"
    summary = "take backups of the data, and restore the whole cluster or one node from the last of them"
    variants: tuple[str, ...] = SHAPES
    fs = Restore.fs
    begins = frozenset({TAKE})
    ends = frozenset({RESTORE})
    """A restore needs a backup: neither is left out, or moved, without the other."""

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("backups", "processes"))

    def claims(self, variant: str) -> Sequence[str]:
        """Each shape by itself: who survives the one need not survive the other."""
        return (f"{self.name}/{variant}",)

    def build(self, cluster: Cluster, book: FaultBook) -> Restore:
        return Restore(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        """A backup at the beginning of the window, and a restore from it at the end."""
        nodes = sorted(window.nodes) if variant == CLUSTER else [window.rng.choice(sorted(window.nodes))]
        if len(nodes) > window.down_nodes_max:
            return None
        value = {"shape": variant, "nodes": nodes}
        entries = (Entry(window.start_ns, TAKE), Entry(window.end_ns, RESTORE, value))
        return Planned(entries, down_count=len(nodes))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f != RESTORE:
            check_none(f, value)
            return ""
        fields: Mapping[str, Any] = check_fields(value, ("shape", "nodes"))
        shape = fields["shape"]
        if shape not in SHAPES:
            raise ValueError(f"shape: {shape!r} is none of {', '.join(SHAPES)}")
        named = check_nodes(fields["nodes"], nodes)
        if len(named) != (len(nodes) if shape == CLUSTER else 1):
            raise ValueError(f"{shape} takes {'all nodes' if shape == CLUSTER else 'one node'}, not {len(named)}")
        return str(shape)

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        """A restore takes its nodes down, and brings them back itself."""
        if f != RESTORE:
            return Down(before, before)
        named = frozenset(value["nodes"])
        return Down(before | named, before - named)
