"""Components: the native twin gives what the pure one gives, and both what networkx finds."""

from __future__ import annotations

from random import Random

import networkx as nx
import numpy as np
import pytest

from checkers.transactions import components as module
from checkers.transactions.components import components, components_pure
from checkers.transactions.graph import FREE, RW, Graph


@pytest.mark.parametrize("seed", range(30))
def test_the_twins_agree(seed: int) -> None:
    rng = Random(seed)
    count = rng.randint(1, 60)
    edges = [(rng.randrange(count), rng.randrange(count)) for _ in range(rng.randint(0, 3 * count))]
    sources, targets = (np.array([edge[i] for edge in edges], dtype=np.int32) for i in (0, 1))
    found = components_pure(count, sources, targets)
    assert components(count, sources, targets).tolist() == found.tolist()
    graph = nx.DiGraph(edges)
    graph.add_nodes_from(range(count))
    groups: dict[int, set[int]] = {}
    for vertex, label in enumerate(found.tolist()):
        groups.setdefault(label, set()).add(vertex)
    assert {frozenset(group) for group in groups.values()} == set(
        map(frozenset, nx.strongly_connected_components(graph))
    )
    assert all(found[a] >= found[b] for a, b in edges)


def test_the_pure_twin_runs_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKERS_PURE", "1")
    assert module.core() == "pure"


@pytest.mark.parametrize("seed", range(30))
def test_a_fan_over_relays_is_every_pair_but_with_oneself(seed: int) -> None:
    rng = Random(seed)
    before = rng.sample(range(40), rng.randint(1, 30))
    after = rng.sample(range(40), rng.randint(1, 30))
    graph = Graph(40)
    graph.fan(RW, before, after)
    sources, targets, types = graph.arrays()
    drawn = nx.DiGraph(list(zip(sources.tolist(), targets.tolist(), strict=True)))
    assert all((type == FREE) == (source >= 40) for source, type in zip(sources.tolist(), types.tolist(), strict=True))
    direct = {(a, b) for a in before if a in drawn for b in _reached(drawn, a)}
    assert direct == {(a, b) for a in before for b in after if a != b}
    assert len(sources) <= 8 * (len(before) + len(after))


def _reached(drawn: nx.DiGraph[int], start: int) -> set[int]:
    """The transactions behind one edge, over relays only."""
    found: set[int] = set()
    waiting = list(drawn.successors(start))
    while waiting:
        vertex = waiting.pop()
        if vertex < 40:
            found.add(vertex)
        else:
            waiting += drawn.successors(vertex)
    return found
