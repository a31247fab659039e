"""Which nodes keep a key: preference lists (DeCandia et al., Dynamo, SOSP 2007, §4.2, §4.3, and §6.2, strategy 3).

The ranges of keys are dealt out to the nodes in turn. The preference list of a range begins at its node, and goes on round the
ring of all nodes: the first N are the *homes* of its keys, the others stand in for homes that are not there.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from targets.core import NodeId


def preference_list(range_number: int, nodes: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """All nodes, the homes of the range first. nodes: sorted."""
    at = range_number % len(nodes)
    return (*nodes[at:], *nodes[:at])


def chosen(
    preferred: Sequence[NodeId], replicas: int, suspected: Container[NodeId], *, is_sloppy: bool
) -> dict[NodeId, NodeId]:
    """The nodes that keep a key now -> the home that each stands in for; "" for a home.

    Strict: the homes. Sloppy: the first N that nobody suspects (§4.6), filled up with suspected ones where there are too few.
    """
    homes = preferred[:replicas]
    if not is_sloppy:
        return dict.fromkeys(homes, "")
    alive = [node for node in preferred if node not in suspected]
    nodes = [*alive, *(node for node in preferred if node in suspected)][:replicas]
    missing = [home for home in homes if home not in nodes]
    found: dict[NodeId, NodeId] = {}
    for node in nodes:
        found[node] = "" if node in homes else missing.pop(0)
    return found
