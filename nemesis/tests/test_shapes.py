from collections import Counter
from random import Random

import pytest

from nemesis import shapes
from nemesis.capabilities import Grudge

NODE_COUNTS = range(3, 10)
SEEDS = range(20)


def names(count: int) -> list[str]:
    return [f"n{i}" for i in range(1, count + 1)]


def hears(grudge: Grudge, nodes: list[str]) -> dict[str, frozenset[str]]:
    return dict(shapes.invert(grudge, nodes))


@pytest.mark.parametrize("count", NODE_COUNTS)
@pytest.mark.parametrize("shape", sorted(shapes.SHAPES))
def test_every_shape_cuts_something_and_names_only_the_nodes(shape: str, count: int) -> None:
    nodes = names(count)
    for seed in SEEDS:
        grudge = shapes.SHAPES[shape](nodes, Random(seed))
        assert grudge
        assert set(grudge) <= set(nodes)
        for node, refused in grudge.items():
            assert refused
            assert refused < set(nodes)
            assert node not in refused
        assert shapes.grudge_of(shapes.links_of(grudge)) == grudge


@pytest.mark.parametrize("shape", sorted(shapes.SHAPES))
def test_the_order_and_type_of_the_nodes_do_not_matter(shape: str) -> None:
    nodes = names(7)
    expected = shapes.SHAPES[shape](nodes, Random(3))
    assert shapes.SHAPES[shape](nodes[::-1], Random(3)) == expected
    assert shapes.SHAPES[shape](frozenset(nodes), Random(3)) == expected


@pytest.mark.parametrize("shape", sorted(set(shapes.SHAPES) - {"one-way"}))
@pytest.mark.parametrize("count", NODE_COUNTS)
def test_all_but_one_way_cut_links_in_both_directions(shape: str, count: int) -> None:
    for seed in SEEDS:
        links = set(shapes.links_of(shapes.SHAPES[shape](names(count), Random(seed))))
        assert links == {(destination, source) for source, destination in links}


@pytest.mark.parametrize("count", NODE_COUNTS)
def test_in_a_ring_every_node_hears_a_majority_and_no_two_the_same(count: int) -> None:
    nodes = names(count)
    for seed in SEEDS:
        heard = hears(shapes.majorities_ring(nodes, Random(seed)), nodes)
        assert all(len(group) > count // 2 for group in heard.values())
        assert len(set(heard.values())) == count
        assert all(node in group for node, group in heard.items())


@pytest.mark.parametrize(("count", "heard"), [(4, 3), (5, 3), (6, 4), (7, 5), (8, 5), (9, 5)])
def test_a_ring_cuts_as_much_as_symmetry_allows(count: int, heard: int) -> None:
    groups = hears(shapes.majorities_ring(names(count), Random(1)), names(count)).values()
    assert Counter(map(len, groups)) == {heard: count}


@pytest.mark.parametrize("count", NODE_COUNTS)
def test_components(count: int) -> None:
    nodes = names(count)
    for seed in SEEDS:
        one = shapes.components(shapes.isolate_one(nodes, Random(seed)), nodes)
        assert sorted(map(len, one)) == [1, count - 1]
        halves = shapes.components(shapes.halves(nodes, Random(seed)), nodes)
        assert sorted(map(len, halves)) == [count // 2, count - count // 2]
        cut, rest = sorted(shapes.components(shapes.majority(nodes, Random(seed)), nodes), key=len)
        assert len(cut) >= 1
        assert len(rest) > count / 2
        assert shapes.components(shapes.majorities_ring(nodes, Random(seed)), nodes) == [frozenset(nodes)]


@pytest.mark.parametrize("count", NODE_COUNTS)
def test_a_bridge_is_one_node_that_all_hear_between_two_halves_that_do_not(count: int) -> None:
    nodes = names(count)
    for seed in SEEDS:
        grudge = shapes.bridge(nodes, Random(seed))
        bridges = [node for node, heard in hears(grudge, nodes).items() if heard == frozenset(nodes)]
        assert len(bridges) == 1
        rest = [node for node in nodes if node not in bridges]
        assert sorted(map(len, shapes.components(grudge, rest))) == [(count - 1) // 2, count - 1 - (count - 1) // 2]
        assert shapes.components(grudge, nodes) == [frozenset(nodes)]


@pytest.mark.parametrize("count", NODE_COUNTS)
def test_one_way_is_deaf_but_not_mute(count: int) -> None:
    for seed in SEEDS:
        grudge = shapes.one_way(names(count), Random(seed))
        deaf, unheard = set(grudge), set().union(*grudge.values())
        assert not deaf & unheard
        assert deaf | unheard == set(names(count))


@pytest.mark.parametrize("shape", sorted(shapes.SHAPES))
def test_the_smallest_cluster_of_each_shape(shape: str) -> None:
    assert shapes.SHAPES[shape](names(shapes.NODES_MIN[shape]), Random(0))


def test_helpers() -> None:
    nodes = names(3)
    grudge = shapes.complete_grudge([["n1"], ["n2", "n3"]])
    assert shapes.as_json(grudge) == {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}
    assert shapes.links_of(grudge) == [("n1", "n2"), ("n1", "n3"), ("n2", "n1"), ("n3", "n1")]
    assert shapes.describe(grudge, nodes) == "n1 | n2 n3"
    assert shapes.describe({"n1": frozenset({"n2"})}, nodes) == "1 of 6 links cut"
    assert shapes.describe({}, nodes) == "0 of 6 links cut"
    assert shapes.isolate("n1", nodes) == grudge
    assert shapes.complete_grudge([nodes]) == {}
    with pytest.raises(AssertionError, match="one component only"):
        shapes.complete_grudge([["n1"], ["n1", "n2"]])
