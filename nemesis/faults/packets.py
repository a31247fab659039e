"""Bad links. Ops: start-KIND, stop-KIND (no value) for slow, loss, duplicate, reorder, late, corrupt, rate. Need: packets.

A start's value is {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.1}}; the links read as a grudge does:
what n2 sends to n1 is disturbed. Kinds add up; a start replaces what is in force of its kind. The evidence is what
the environment reads back from the links.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

from histories.faults import FaultResult
from histories.op import Op
from nemesis import shapes
from nemesis.book import FaultBook, OpenFault
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import Entry, FamilyDefaults, Needs, Planned, Window, check_fields, check_none, check_number
from nemesis.faults.partition import parse_links

KINDS: Mapping[str, str] = {
    "slow": "delay what links carry (delay_ms, jitter_ms)",
    "loss": "lose some of what links carry",
    "duplicate": "deliver some of it twice",
    "reorder": "deliver some of it late, after what was sent behind it",
    "late": "deliver some of it 0.5 to 5 s late: across elections, restarts and heals",
    "corrupt": "flip bits in some of it",
    "rate": "let links carry only so many bytes a second",
}
PARAMETERS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "slow": {"delay_ms": (0, 600_000), "jitter_ms": (0, 600_000)},
    "loss": {"probability": (0, 1)},
    "duplicate": {"probability": (0, 1)},
    "reorder": {"probability": (0, 1)},
    "late": {"probability": (0, 1)},
    "corrupt": {"probability": (0, 1)},
    "rate": {"bytes_per_s": (1, 1e12)},
}
"""kind -> parameter -> its bounds."""


class Packets:
    """Disturbs links and reads back which links are disturbed."""

    name = "packets"
    fs = frozenset(f"{word}-{kind}" for kind in KINDS for word in ("start", "stop"))

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.packets is not None, "refused before the run: packet faults need packets"
        self.cluster = cluster
        self.packets = cluster.packets
        self.book = book

    def invoke(self, op: Op) -> FaultResult:
        word, _, kind = op.f.partition("-")
        return self._stop(kind) if word == "stop" else self._start(kind, op.value)

    def heal(self) -> FaultResult:
        lifting = [fault for kind in sorted(KINDS) for fault in self.book.open(kind)]
        for fault in lifting:
            fault.lifting()
        self.packets.heal()
        return self._measured(None, {kind: [] for kind in sorted(KINDS)}, lifting)

    def _start(self, kind: str, value: Any) -> FaultResult:
        links = shapes.links_of(parse_links(value["links"], self.cluster.nodes))
        replaced = self.book.open(kind)
        what = f"{len(links)} links, {', '.join(f'{name} {amount:g}' for name, amount in value['parameters'].items())}"
        begun = self.book.begin(kind, {node for link in links for node in link}, what=what)
        for fault in replaced:
            fault.lifting()
        self.packets.disturb(kind, links, value["parameters"])
        return self._measured(value, {kind: links}, replaced, begun)

    def _stop(self, kind: str) -> FaultResult:
        lifting = self.book.open(kind)
        for fault in lifting:
            fault.lifting()
        # Not heal(), which would end the other kinds too. Without links the parameters do not matter; `disturb` takes some all
        # the same.
        self.packets.disturb(kind, (), {name: least for name, (least, _) in PARAMETERS[kind].items()})
        return self._measured(None, {kind: []}, lifting)

    def _measured(
        self,
        did: Any,
        asked: Mapping[str, Sequence[shapes.Link]],
        lifting: Sequence[OpenFault],
        begun: OpenFault | None = None,
    ) -> FaultResult:
        """Installed when the links read back are those that were asked for: then `begun` is in force, and the others are lifted."""
        acted_ns = self.book.now_ns()
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
        if begun is not None:
            begun.in_force(at_ns=acted_ns)
        for fault in lifting:
            fault.lifted(at_ns=acted_ns)
        return FaultResult("installed", did=did, evidence=evidence)


class PacketFamily(FamilyDefaults):
    """One kind of bad link, such as `loss`."""

    def __init__(self, kind: str) -> None:
        self.name = kind
        self.summary = KINDS[kind]
        self.start, self.stop = f"start-{kind}", f"stop-{kind}"
        self.begins, self.ends = frozenset({self.start}), frozenset({self.stop})
        self.fs = self.begins | self.ends

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("packets",), packet_kinds=(self.name,))

    def nodes_min(self, variant: str) -> int:
        return 2

    def build(self, cluster: Cluster, book: FaultBook) -> Packets:
        return Packets(cluster, book)

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
    """Parameters that disturb elections and time-outs of tenths of a second, but still let something pass."""
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
