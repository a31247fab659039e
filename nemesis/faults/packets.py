"""Bad links. Ops: start-KIND, stop-KIND (no value) for slow, loss, duplicate, reorder, corrupt, rate. Need: packets.

A start's value is {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.1}}; the links read as a grudge does:
what n2 sends to n1 is disturbed. Kinds add up; a start replaces what is in force of its kind. The evidence is what
the environment reads back from the links.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

from histories.op import Op
from nemesis import shapes
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import Entry, Needs, Planned, Window, check_fields, check_none, check_number
from nemesis.fault import FaultResult
from nemesis.faults.partition import parse_links

KINDS: Mapping[str, str] = {
    "slow": "delay what links carry (delay_ms, jitter_ms)",
    "loss": "lose some of what links carry",
    "duplicate": "deliver some of it twice",
    "reorder": "deliver some of it late, after what was sent behind it",
    "corrupt": "flip bits in some of it",
    "rate": "let links carry only so many bytes a second",
}
PARAMETERS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "slow": {"delay_ms": (0, 600_000), "jitter_ms": (0, 600_000)},
    "loss": {"probability": (0, 1)},
    "duplicate": {"probability": (0, 1)},
    "reorder": {"probability": (0, 1)},
    "corrupt": {"probability": (0, 1)},
    "rate": {"bytes_per_s": (1, 1e12)},
}
"""kind -> parameter -> its bounds."""


class Packets:
    """Disturbs links and reads back which are."""

    name = "packets"
    fs = frozenset(f"{word}-{kind}" for kind in KINDS for word in ("start", "stop"))

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.packets is not None, "refused before the run: packet faults need packets"
        self.cluster = cluster
        self.packets = cluster.packets
        self.kinds_in_force: set[str] = set()

    @property
    def in_force(self) -> str:
        return " ".join(sorted(self.kinds_in_force))

    def invoke(self, op: Op) -> FaultResult:
        word, _, kind = op.f.partition("-")
        if word == "stop":
            # Not heal(): the other kinds stay. Without links the parameters are of no account, but they are there.
            self.packets.disturb(kind, (), {name: least for name, (least, _) in PARAMETERS[kind].items()})
            self.kinds_in_force.discard(kind)
            return self._judged(None, {kind: []})
        links = shapes.links_of(parse_links(op.value["links"], self.cluster.nodes))
        self.kinds_in_force.add(kind)
        self.packets.disturb(kind, links, op.value["parameters"])
        return self._judged(op.value, {kind: links})

    def heal(self) -> FaultResult:
        self.packets.heal()
        self.kinds_in_force.clear()
        return self._judged(None, {kind: [] for kind in sorted(KINDS)})

    def _judged(self, did: Any, asked: Mapping[str, Sequence[shapes.Link]]) -> FaultResult:
        evidence = self.packets.measure()
        found = evidence.get("in_force")
        if not isinstance(found, Mapping):
            why = "the environment does not say which links are disturbed"
            return FaultResult("indeterminate", did=did, evidence=evidence, why=why)
        wrong = [
            f"{kind} is in force on {len(measured)} links, asked {len(links)}"
            for kind, links in asked.items()
            if (measured := sorted((source, to) for source, to in found.get(kind, ()))) != sorted(links)
        ]
        if wrong:
            return FaultResult("indeterminate", did=did, evidence=evidence, why="; ".join(wrong))
        return FaultResult("installed", did=did, evidence=evidence)


class PacketFamily:
    """One kind of bad link, such as `loss`."""

    variants: tuple[str, ...] = ()

    def __init__(self, kind: str) -> None:
        self.name = kind
        self.summary = KINDS[kind]
        self.start, self.stop = f"start-{kind}", f"stop-{kind}"
        self.begins, self.ends = frozenset({self.start}), frozenset({self.stop})
        self.fs = self.begins | self.ends

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("packets",), packet_kinds=(self.name,))

    def claims(self, variant: str) -> Sequence[str]:
        return (self.name,)

    def nodes_min(self, variant: str) -> int:
        return 2

    def build(self, cluster: Cluster) -> Packets:
        return Packets(cluster)

    def plan(self, variant: str, window: Window) -> Planned:
        value = {"links": _links(window), "parameters": _parameters(self.name, window.rng)}
        return Planned((Entry(window.start_ns, self.start, value), Entry(window.end_ns, self.stop)))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((self.stop, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == self.stop:
            check_none(f, value)
            return ""
        fields = check_fields(value, ("links", "parameters"))
        parse_links(fields["links"], nodes)
        bounds = PARAMETERS[self.name]
        parameters = check_fields(fields["parameters"], tuple(bounds))
        for name, (least, most) in bounds.items():
            check_number(name, parameters[name], least, most)
        return ""


def _links(window: Window) -> dict[NodeId, list[NodeId]]:
    """All links, or those to and from a random group of nodes."""
    nodes = sorted(window.nodes)
    group = (
        set(nodes) if window.rng.random() < 0.5 else set(window.rng.sample(nodes, window.rng.randint(1, len(nodes))))
    )
    return shapes.as_json(shapes.grudge_of(link for link in shapes.all_links(nodes) if group & set(link)))


def _parameters(kind: str, rng: Random) -> dict[str, float]:
    """Bad enough to matter to elections and time-outs of tenths of a second, good enough that something still
    passes."""
    match kind:
        case "slow":
            delay_ms = rng.choice((10, 30, 100, 200))
            return {"delay_ms": delay_ms, "jitter_ms": delay_ms // 2}
        case "rate":
            return {"bytes_per_s": rng.choice((4_000, 16_000, 64_000))}
        case "corrupt":
            return {"probability": rng.choice((0.01, 0.05, 0.1))}
        case _:
            return {"probability": rng.choice((0.05, 0.1, 0.2, 0.4))}
