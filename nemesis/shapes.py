"""Partition shapes: pure functions (nodes, rng) -> Grudge, and the algebra of grudges.

A grudge is minimal: a node that hears everyone is not in it, and no node refuses itself. All draws go over sorted
nodes, so that the same rng gives the same grudge whatever the order or the type of `nodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random

from nemesis.capabilities import Grudge, NodeId

Shape = Callable[[Collection[NodeId], Random], Grudge]
Link = tuple[NodeId, NodeId]
"""(source, destination)."""


def complete_grudge(components: Iterable[Collection[NodeId]]) -> Grudge:
    """Nobody hears anyone outside its own component."""
    parts = [frozenset(component) for component in components]
    everyone = frozenset().union(*parts)
    assert len(everyone) == sum(map(len, parts)), "a node is in one component only"
    return _minimal({node: everyone - part for part in parts for node in part})


def links_of(grudge: Grudge) -> list[Link]:
    """The (source, destination) links that `grudge` cuts, sorted."""
    return sorted((source, node) for node, refused in grudge.items() for source in refused)


def grudge_of(links: Iterable[Link]) -> Grudge:
    """The grudge that cuts exactly these (source, destination) links."""
    refused: dict[NodeId, set[NodeId]] = {}
    for source, destination in links:
        refused.setdefault(destination, set()).add(source)
    return _minimal(refused)


def all_links(nodes: Iterable[NodeId]) -> list[Link]:
    """Every (source, destination) link between two different nodes, sorted."""
    ordered = sorted(nodes)
    return [(source, destination) for source in ordered for destination in ordered if source != destination]


def invert(grudge: Grudge, nodes: Iterable[NodeId]) -> Mapping[NodeId, frozenset[NodeId]]:
    """node -> the nodes that it still hears under `grudge`, itself included."""
    everyone = frozenset(nodes)
    return {node: everyone - grudge.get(node, frozenset()) for node in sorted(everyone)}


def components(grudge: Grudge, nodes: Iterable[NodeId]) -> list[frozenset[NodeId]]:
    """The groups within which everyone can still talk to everyone in both directions, possibly over others; sorted."""
    hears = invert(grudge, nodes)
    found: list[frozenset[NodeId]] = []
    unseen = sorted(hears)
    while unseen:
        group, frontier = {unseen[0]}, [unseen[0]]
        while frontier:
            node = frontier.pop()
            new = {other for other in hears[node] if node in hears[other]} - group
            group |= new
            frontier.extend(sorted(new))
        found.append(frozenset(group))
        unseen = [node for node in unseen if node not in group]
    return found


def as_json(grudge: Grudge) -> dict[NodeId, list[NodeId]]:
    """The grudge as a history holds it: sorted by node, with the nodes that each refuses sorted."""
    return {node: sorted(grudge[node]) for node in sorted(grudge) if grudge[node]}


def describe(grudge: Grudge, nodes: Iterable[NodeId]) -> str:
    """A few words: `n1 n2 | n3 n4 n5` when it splits the nodes cleanly, else how many of the links are cut."""
    everyone = sorted(nodes)
    parts = components(grudge, everyone)
    if len(parts) > 1 and complete_grudge(parts) == grudge:
        return " | ".join(" ".join(sorted(part)) for part in parts)
    return f"{len(links_of(grudge))} of {len(everyone) * (len(everyone) - 1)} links cut"


def isolate(loner: NodeId, nodes: Collection[NodeId]) -> Grudge:
    """Cut `loner` off from all others, in both directions."""
    return complete_grudge([{loner}, frozenset(nodes) - {loner}])


def isolate_one(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """Cut one random node off from all others, in both directions."""
    return isolate(rng.choice(sorted(nodes)), nodes)


def halves(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """Split the nodes at random into two halves; with an odd number of nodes the second half has one more, and is the only
    majority."""
    order = _shuffled(nodes, rng)
    middle = len(order) // 2
    return complete_grudge([order[:middle], order[middle:]])


def majority(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """Cut a random minority of random size (at least one node) off from the rest, which holds a majority."""
    order = _shuffled(nodes, rng)
    cut = rng.randint(1, max(1, (len(order) - 1) // 2))
    return complete_grudge([order[:cut], order[cut:]])


def majorities_ring(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """Every node hears a majority (itself counted), no two nodes the same one, and every link is cut both ways or
    not at all.

    The nodes stand in a ring in random order and hear their nearest neighbours. With n nodes each needs n // 2 others. When that is
    even, they are as many neighbours on each side. When it is odd and n is even, the node opposite is one of them. When both are
    odd there is no such graph (the sum of the degrees would be odd), and one more neighbour is heard. Three nodes would then hear
    everyone: for them the ring is cut open at one link, which leaves the majorities {a, b}, {a, b, c} and {b, c}.
    """
    ring = _shuffled(nodes, rng)
    count = len(ring)
    assert count >= 3, "with fewer than three nodes all majorities are the same"
    if count == 3:
        return complete_grudge([[ring[0]], [ring[2]]])
    needed = count // 2
    reach = needed // 2 if needed % 2 == 0 or count % 2 == 0 else (needed + 1) // 2
    near = {offset % count for offset in range(-reach, reach + 1)}
    if needed % 2 == 1 and count % 2 == 0:
        near.add(count // 2)
    return _minimal(
        {node: {other for j, other in enumerate(ring) if (j - i) % count not in near} for i, node in enumerate(ring)}
    )


def bridge(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """Split all nodes but one at random into two halves that hear only themselves and the one left, the bridge."""
    order = _shuffled(nodes, rng)
    rest = order[1:]
    middle = len(rest) // 2
    return complete_grudge([rest[:middle], rest[middle:]])


def one_way(nodes: Collection[NodeId], rng: Random) -> Grudge:
    """A random group (any size but none and all) hears no one outside; the outside still hears the group."""
    order = _shuffled(nodes, rng)
    cut = rng.randint(1, len(order) - 1)
    deaf, rest = order[:cut], frozenset(order[cut:])
    return _minimal(dict.fromkeys(deaf, rest))


SHAPES: Mapping[str, Shape] = {
    "one": isolate_one,
    "halves": halves,
    "majority": majority,
    "ring": majorities_ring,
    "bridge": bridge,
    "one-way": one_way,
}
"""The shapes that nodes and an rng decide. `primary` is not one of them: it is resolved when it fires."""

NODES_MIN: Mapping[str, int] = {
    "one": 2,
    "halves": 2,
    "majority": 2,
    "ring": 3,
    "bridge": 3,
    "one-way": 2,
    "primary": 2,
}
"""With fewer nodes than this the shape would cut nothing."""


def _shuffled(nodes: Collection[NodeId], rng: Random) -> Sequence[NodeId]:
    order = sorted(nodes)
    rng.shuffle(order)
    return order


def _minimal(grudge: Mapping[NodeId, Collection[NodeId]]) -> Grudge:
    return {node: frozenset(grudge[node]) for node in sorted(grudge) if grudge[node]}
