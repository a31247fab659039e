"""Partitions. Ops: start-partition, stop-partition (no value). Need: links.

A start's value is {"shape": "primary"} (resolved when it fires), or {"grudge": {"n1": ["n2"]}} with, for the reader, the shape or
the role that it was drawn by. A start replaces the partition in force. The evidence is a probe of every link: which links were cut,
which had no process at an end, which disagree with the grudge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from histories.faults import FaultResult
from histories.op import Op
from nemesis import shapes
from nemesis.book import FaultBook, OpenFault
from nemesis.capabilities import Cluster, Grudge, NodeId, Reach
from nemesis.family import (
    Entry,
    FamilyDefaults,
    Needs,
    Planned,
    Window,
    check_fields,
    check_node,
    check_nodes,
    check_none,
    even_times,
)
from nemesis.spelling import nearest

START, STOP = "start-partition", "stop-partition"
PRIMARY = "primary"
FLAPPING = "flapping"

NO_LINK_OPEN = "no open link was seen: each ends at a node that is down"

PROBES_MAX = 3
"""A busy machine or a lossy link can lose one probe; an open link that fails three in a row is cut for all we know."""


class Partition:
    """Cuts links and measures which are cut."""

    name = "partition"
    fs = frozenset({START, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.links is not None, "refused before the run: partition needs links"
        self.cluster = cluster
        self.links = cluster.links
        self.book = book

    def invoke(self, op: Op) -> FaultResult:
        return self._start(op.value) if op.f == START else self._stop()

    def heal(self) -> FaultResult:
        """No link is cut or disturbed any more: it is the end of the run. Skipped where no two nodes run that a link could join."""
        result = self._lift(self.links.heal)
        return replace(result, status="skipped") if result.why == NO_LINK_OPEN else result

    def _start(self, value: Any) -> FaultResult:
        shape, grudge = parse(value, self.cluster.nodes)
        did: dict[str, Any] = {name: value[name] for name in ("shape", "role") if value.get(name)}
        if grudge is None:
            primary = self.cluster.primary()
            if primary is None:
                return FaultResult("skipped", did=did, why="no node leads")
            grudge = shapes.isolate(primary, self.cluster.nodes)
            did["primary"] = primary
        did["grudge"] = shapes.as_json(grudge)
        replaced = self.book.open(self.name)
        variant = value.get("role") or shape
        begun = self.book.begin(
            f"{self.name}:{variant}" if variant else self.name,
            {node for link in shapes.links_of(grudge) for node in link},
            what=shapes.describe(grudge, self.cluster.nodes),
        )
        for fault in replaced:
            fault.lifting()
        self.links.drop(grudge)
        return self._measured(grudge, did, replaced, begun)

    def _stop(self) -> FaultResult:
        # Not links.heal(): packets that another fault disturbs stay disturbed.
        return self._lift(lambda: self.links.drop({}))

    def _lift(self, act: Callable[[], None]) -> FaultResult:
        lifting = self.book.open(self.name)
        for fault in lifting:
            fault.lifting()
        act()
        return self._measured({}, None, lifting)

    def _measured(
        self, grudge: Grudge, did: Any, lifting: Sequence[OpenFault], begun: OpenFault | None = None
    ) -> FaultResult:
        """Installed when the probe agrees with the grudge: then `begun` is in force, and the others are lifted."""
        acted_ns = self.book.now_ns()
        reach = probe(self.cluster, grudge)
        wrong = [
            {"from": source, "to": destination, "asked": asked, "measured": measured}
            for (source, destination), (asked, measured) in disagreements(reach, grudge, self.cluster.nodes).items()
        ]
        evidence: dict[str, Any] = {
            kind: shapes.as_json(shapes.grudge_of(link for link, found in reach.items() if found == kind))
            for kind in ("cut", "down")
        }
        evidence["answers"] = sum(found == "answers" for found in reach.values())
        if wrong:
            evidence["disagrees"] = wrong
            first = wrong[0]
            why = f"{len(wrong)} links disagree; {first['from']} to {first['to']}: asked {first['asked']}, "
            return FaultResult("indeterminate", did=did, evidence=evidence, why=f"{why}measured {first['measured']}")
        if not grudge and lifting and "answers" not in reach.values():
            return FaultResult("indeterminate", did=did, evidence=evidence, why=NO_LINK_OPEN)
        for fault in lifting:
            fault.lifted(at_ns=acted_ns)
        if grudge and "cut" not in reach.values():
            why = "no cut was seen: each link of the grudge ends at a node that is down"
            return FaultResult("indeterminate", did=did, evidence=evidence, why=why)
        if begun is not None:
            begun.in_force(at_ns=acted_ns)
        return FaultResult("installed", did=did, evidence=evidence)


def probe(cluster: Cluster, grudge: Grudge) -> dict[shapes.Link, Reach]:
    """(source, destination) -> what was measured; a link that could not be measured is left out.

    Probed again, up to PROBES_MAX times, while a link that should be open does not answer; one answer proves it
    open. A cut that leads to or from a paused node is "down": a stopped process answers no better over an open
    link.
    """
    assert cluster.links is not None
    found: dict[shapes.Link, Reach] = {}
    stopped = _not_running(cluster)
    for _ in range(PROBES_MAX):
        matrix = cluster.links.probe()
        for source, destination in shapes.all_links(cluster.nodes):
            measured = matrix.get(destination, {}).get(source)
            if measured is None or found.get((source, destination)) == "answers":
                continue
            asked_cut = source in grudge.get(destination, ())
            if measured == "cut" and not asked_cut and (source in stopped or destination in stopped):
                measured = "down"
            found[source, destination] = measured
        if all(asked != "answers" for asked, _ in disagreements(found, grudge, cluster.nodes).values()):
            break
    return found


def disagreements(
    reach: Mapping[shapes.Link, Reach], grudge: Grudge, nodes: Collection[NodeId]
) -> dict[shapes.Link, tuple[str, str]]:
    """(source, destination) -> (asked, measured), for each link that is not as the grudge says. "down" agrees with
    both."""
    found: dict[shapes.Link, tuple[str, str]] = {}
    for source, destination in shapes.all_links(nodes):
        asked = "cut" if source in grudge.get(destination, ()) else "answers"
        measured = reach.get((source, destination), "nothing")
        if measured not in (asked, "down"):
            found[source, destination] = (asked, measured)
    return found


def parse(value: Any, nodes: Collection[NodeId]) -> tuple[str, Grudge | None]:
    """(shape or "", grudge or None where the primary decides it). Raises ValueError with the broken rule."""
    fields = check_fields(value, (), ("shape", "role", "grudge"))
    shape = fields.get("shape", "")
    if not isinstance(fields.get("role", ""), str):
        raise ValueError(f"role: {fields['role']!r} is not a name")
    known = [*VARIANTS, ""]
    if shape not in known:
        raise ValueError(f"unknown shape {shape!r}{nearest(str(shape), VARIANTS)}")
    if "grudge" not in fields:
        if shape != PRIMARY:
            raise ValueError(f'the value needs a grudge (only the shape "{PRIMARY}" is resolved when it fires)')
        return shape, None
    return shape, parse_links(fields["grudge"], nodes)


def parse_links(raw: Any, nodes: Collection[NodeId]) -> Grudge:
    """`raw`, an object of node: list of the nodes it is not to hear, as a grudge. Raises ValueError with the broken
    rule."""
    if not isinstance(raw, dict) or not raw:
        raise ValueError("the links are not an object of node: list of nodes, with at least one in it")
    grudge: dict[NodeId, frozenset[NodeId]] = {}
    for node, refused in raw.items():
        check_node(node, nodes)
        grudge[node] = frozenset(check_nodes(refused, nodes))
        if node in grudge[node]:
            raise ValueError(f"there is no link from {node} to itself")
    return grudge


def _not_running(cluster: Cluster) -> frozenset[NodeId]:
    if cluster.processes is None:
        return frozenset()
    return frozenset(node for node, state in cluster.processes.states().items() if state != "running")


VARIANTS = (*shapes.SHAPES, PRIMARY, FLAPPING)
FLAPS_MAX = 4


class PartitionFamily(FamilyDefaults):
    """`partition[:shape]`."""

    name = "partition"
    summary = "cut links between nodes, by shape, or around nodes of a role; flapping cuts and mends the same links several times"
    variants: tuple[str, ...] = VARIANTS
    takes_roles = True
    fs = Partition.fs
    begins = frozenset({START})
    ends = frozenset({STOP})

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("links",))

    def nodes_min(self, variant: str) -> int:
        return shapes.NODES_MIN.get(variant, 2)

    def build(self, cluster: Cluster, book: FaultBook) -> Partition:
        return Partition(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned:
        if variant == PRIMARY:
            value: Any = {"shape": PRIMARY}
        elif variant in window.roles:
            value = {"role": variant, "grudge": shapes.as_json(_around(window.roles[variant], window))}
        else:
            drawn = window.rng.choice(self._flappable(window)) if variant == FLAPPING else variant
            grudge = shapes.SHAPES[drawn](window.nodes, window.rng)
            value = {"shape": variant, "grudge": shapes.as_json(grudge)}
        starts = window.rng.randint(2, FLAPS_MAX) if variant == FLAPPING else 1
        # `starts` cuts of equal length, with gaps as long between them; the last stop is at the end of the window.
        times_ns = [*even_times(window.start_ns, window.end_ns, 2 * starts - 1), window.end_ns]
        entries = (
            Entry(time_ns, STOP) if i % 2 else Entry(time_ns, START, value) for i, time_ns in enumerate(times_ns)
        )
        return Planned(tuple(entries))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == STOP:
            check_none(f, value)
            return ""
        return parse(value, nodes)[0]

    def _flappable(self, window: Window) -> list[str]:
        return [shape for shape in shapes.SHAPES if len(window.nodes) >= shapes.NODES_MIN[shape]]


def _around(members: Sequence[NodeId], window: Window) -> Grudge:
    """Some of these nodes, at random, hear each other and nobody else, and nobody else hears them."""
    count = window.rng.randint(1, min(len(members), len(window.nodes) - 1))
    group = frozenset(window.rng.sample(sorted(members), count))
    return shapes.complete_grudge([group, frozenset(window.nodes) - group])
