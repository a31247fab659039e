"""Disk damage. Ops: damage-disk, heal-disk (no value). Need: disks, and processes where damage is done to a stopped
node.

A start's value is {"kind": "truncate", "nodes": ["n1"], "parameters": {"bytes": 16}}. Every kind but full and slow comes with a
crash: the nodes are killed, their disks are damaged while nobody writes to them, and heal-disk starts the nodes on what is left.
The evidence is what was done to each node's disk, as the environment measured it, and the processes' states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId
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
    check_number,
)
from nemesis.faults.processes import ProcessFault, choose
from nemesis.spelling import nearest

START, STOP = "damage-disk", "heal-disk"

PARAMETERS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "lose-unsynced": {},
    "torn-write": {},
    "bitflip": {"bits": (1, 1_000_000)},
    "truncate": {"bytes": (1, 1e12)},
    "full": {},
    "slow": {"delay_ms": (0, 600_000)},
    "wipe": {},
}
"""kind -> parameter -> its bounds."""
LASTING = ("full", "slow")
"""The kinds that strike a running node and last until they are healed."""
CRASHES = ("lose-unsynced", "torn-write")
"""The kinds that any crash of a machine may do: a node must serve again after them. What the others do may be for ever."""


class Disk:
    """Damages disks and says what was done to each."""

    name = "disk"
    fs = frozenset({START, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.disks is not None, "refused before the run: disk needs disks"
        self.cluster = cluster
        self.disks = cluster.disks
        self.book = book
        self.crashed: set[NodeId] = set()
        """The nodes that are to be started by the next heal."""

    def invoke(self, op: Op) -> FaultResult:
        return self.heal() if op.f == STOP else self._damage(op.value)

    def heal(self) -> FaultResult:
        """No disk is full or slow, and the nodes that this fault crashed run, or were started and refused to."""
        lasting = [fault for fault in self.book.open(self.name) if fault.holds is None]
        for fault in lasting:
            fault.lifting()
        self.disks.heal()
        acted_ns = self.book.now_ns()
        evidence: dict[str, Any] = {"disks": self.disks.measure()}
        wrong = self._disagreements(evidence["disks"], None, ())
        if not wrong:
            for fault in lasting:
                fault.lifted(at_ns=acted_ns)
        started = sorted(self.crashed)
        if self.cluster.processes is not None and started:
            states, seen = ProcessFault(self.cluster, self.book).start(started)
            evidence |= seen
            # A paused one runs again when the pause ends.
            refused = seen.get("refused", {})
            wrong += [
                f"{node} is {states.get(node)}"
                for node in started
                if states.get(node) in (None, "dead") and node not in refused
            ]
        did = {"started": started} if started else None
        if wrong:
            return FaultResult("indeterminate", did=did, evidence=evidence, why="; ".join(wrong))
        self.crashed.clear()
        return FaultResult("installed", did=did, evidence=evidence)

    def _damage(self, value: Any) -> FaultResult:
        kind, nodes = value["kind"], sorted(value["nodes"])
        name = f"{self.name}:{kind}"
        evidence: dict[str, Any] = {}
        wrong: list[str] = []
        if kind in LASTING:
            fault = self.book.begin(name, nodes)
        else:
            processes = ProcessFault(self.cluster, self.book)
            # Noted before the kill: should it get stuck half-way, the heal starts these nodes as well.
            fault = self.book.begin(name, nodes, holds="dead", damages=kind not in CRASHES)
            self.crashed.update(nodes)
            self.disks.before_kill(kind, nodes)
            spans = processes.processes.kill(nodes)
            states = processes.states()
            for other in self.book.holding("paused", nodes):
                other.lifted([node for node in nodes if states.get(node) == "dead"], spans)
            evidence["states"] = states
            wrong = [f"{node} is {states.get(node)}" for node in nodes if states.get(node) != "dead"]
            if wrong:
                return FaultResult("indeterminate", did={**value, "nodes": []}, evidence=evidence, why="; ".join(wrong))
        done = self.disks.damage(kind, nodes, value["parameters"])
        acted_ns = self.book.now_ns()
        evidence["damage"] = {node: done[node] for node in sorted(done)}
        wrong += [f"{node} was not damaged" for node in nodes if node not in done]
        if kind in LASTING:
            evidence["disks"] = self.disks.measure()
            wrong += self._disagreements(evidence["disks"], kind, nodes)
        did = {**value, "nodes": sorted(done)}
        if wrong:
            return FaultResult("indeterminate", did=did, evidence=evidence, why="; ".join(wrong))
        fault.in_force(at_ns=acted_ns)
        return FaultResult("installed", did=did, evidence=evidence)

    def _disagreements(self, measured: Mapping[str, object], kind: str | None, nodes: Sequence[NodeId]) -> list[str]:
        """Where the measurement is not `kind` on `nodes` (None: no lasting damage anywhere)."""
        found = measured.get("in_force")
        if not isinstance(found, Mapping):
            return ["the environment does not say which disks are full or slow"]
        if kind is None:
            return [f"{name} is in force on {' '.join(sorted(on))}" for name, on in sorted(found.items()) if on]
        missing = sorted(set(nodes) - set(found.get(kind, ())))
        return [f"{kind} is not in force on {' '.join(missing)}"] if missing else []


class DiskFamily(FamilyDefaults):
    """`disk[:kind]`."""

    name = "disk"
    summary = "damage what nodes have stored (with a crash), or let disks be full or slow for a time"
    variants: tuple[str, ...] = tuple(PARAMETERS)
    fs = Disk.fs
    begins = frozenset({START})
    ends = frozenset({STOP})

    def needs(self, variant: str) -> Needs:
        lasting = variant in LASTING
        return Needs(capabilities=("disks",) if lasting else ("disks", "processes"), disk_kinds=(variant,))

    def build(self, cluster: Cluster, book: FaultBook) -> Disk:
        return Disk(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        # A power failure may strike all nodes. Damage to stored data strikes a minority: replication is there to survive it.
        target = window.rng.choice(("one", "minority", "all")) if variant == "lose-unsynced" else "minority"
        chosen = choose(target, window) or choose("one", window)
        if chosen is None:
            return None
        nodes, count = chosen
        value = {"kind": variant, "nodes": nodes, "parameters": _parameters(variant, window.rng)}
        return Planned((Entry(window.start_ns, START, value), Entry(window.end_ns, STOP)), down_count=count)

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == STOP:
            check_none(f, value)
            return ""
        fields = check_fields(value, ("kind", "nodes", "parameters"))
        kind = fields["kind"]
        if kind not in PARAMETERS:
            raise ValueError(f"unknown kind {kind!r}{nearest(str(kind), PARAMETERS)}")
        check_nodes(fields["nodes"], nodes)
        bounds = PARAMETERS[kind]
        parameters = check_fields(fields["parameters"], tuple(bounds))
        for name, (least, most) in bounds.items():
            check_number(name, parameters[name], least, most)
        return str(kind)

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        if f == STOP:
            return Down(frozenset(), frozenset())
        after = before if value["kind"] in LASTING else before | frozenset(value["nodes"])
        return Down(after, after)


def _parameters(kind: str, rng: Random) -> dict[str, float]:
    match kind:
        case "bitflip":
            return {"bits": rng.choice((1, 8, 64))}
        case "truncate":
            return {"bytes": rng.choice((1, 16, 256, 4096))}
        case "slow":
            return {"delay_ms": rng.choice((10, 50, 200))}
        case _:
            return {}
