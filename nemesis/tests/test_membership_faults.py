"""Faults of the membership: what they ask for, what they say of it, and when they leave the cluster alone."""

from __future__ import annotations

import pytest

from nemesis.tests.bench import NODES, Bench

STOP = "stop-membership"


def value(shape: str, *nodes: str) -> dict[str, object]:
    return {"shape": shape, "nodes": list(nodes)}


def test_a_member_is_removed_and_comes_back() -> None:
    bench = Bench()
    removed = bench.do("start-membership", value("remove", "n2"))
    assert removed.status == "installed"
    assert removed.did["outcomes"] == {"n2": "done"}
    assert removed.evidence["voters"] == ["n1", "n3", "n4", "n5"]
    assert bench.in_force() == ["membership:remove n2"]
    back = bench.do(STOP)
    assert (back.status, back.did) == ("installed", {"added": {"n2": "done"}})
    assert bench.in_force() == []
    assert bench.cluster.healthy()


def test_of_two_changes_at_once_only_the_one_that_was_done_is_in_force() -> None:
    bench = Bench()
    result = bench.do("start-membership", value("two-at-once", "n2", "n4"))
    assert result.status == "installed"
    assert result.did["outcomes"] == {"n2": "done", "n4": "another change is under way"}
    assert bench.in_force() == ["membership:two-at-once n2"]
    (begun,) = result.begins
    assert begun.nodes.keys() == {"n2"}, "the other never left"


def test_a_change_that_was_refused_is_no_fault() -> None:
    bench = Bench()
    bench.cluster.lies = {"members.change"}
    result = bench.do("start-membership", value("remove", "n2"))
    assert (result.status, result.why) == ("skipped", "n2: another change is under way")
    assert bench.in_force() == []
    assert result.begins == ()


def test_a_replaced_node_is_killed_wiped_and_started() -> None:
    bench = Bench()
    result = bench.do("start-membership", value("replace", "n4"))
    assert result.status == "installed"
    assert "n4" in result.evidence["wiped"]
    assert bench.cluster.processes.now["n4"] == "running"
    (begun,) = result.begins
    assert (begun.name, begun.damages) == ("membership:replace", True)
    assert bench.in_force() == []  # It runs: whether it has its vote again is what the stop waits for.


@pytest.mark.parametrize(
    ("behind", "is_settled", "gone", "why"),
    [
        (["n5"], True, None, "n5 is missing or far behind"),
        ([], False, None, "a change of the membership is under way"),
        ([], True, "n2", "n2 is not a voter now"),
    ],
)
def test_nothing_is_wiped_where_the_cluster_is_not_whole(
    behind: list[str], is_settled: bool, gone: str | None, why: str
) -> None:
    bench = Bench()
    bench.do("start-membership", value("remove", "n1"))
    bench.do(STOP)
    members = bench.cluster.members
    members.behind, members.is_settled = behind, is_settled
    if gone is not None:
        members.voters.discard(gone)
    result = bench.do("start-membership", value("replace", "n4"))
    assert (result.status, result.why) == ("skipped", why)
    assert set(bench.cluster.processes.now.values()) == {"running"}


def test_members_that_do_not_come_back_are_named() -> None:
    bench = Bench()
    bench.do("start-membership", value("remove", "n2"))
    bench.cluster.lies = {"members.change"}
    result = bench.do(STOP)
    assert (result.status, result.why) == ("indeterminate", "no votes yet: n2")
    assert bench.in_force() == ["membership:remove n2"]
    bench.cluster.lies = set()
    assert bench.nemesis.heal_all()["membership"].status == "installed"
    assert bench.cluster.healthy()


def test_a_stop_waits_until_a_replaced_node_is_a_member_again() -> None:
    """The leader may still list it as the voter that it was, for it has not heard yet that the node lost its data."""
    bench = Bench()
    bench.do("start-membership", value("replace", "n4"))
    bench.cluster.members.behind = ["n2", "n4"]
    result = bench.do(STOP)
    assert (result.status, result.why) == ("indeterminate", "no votes yet: n4")
    bench.cluster.members.behind = ["n2"]  # Another fault's.
    assert bench.do(STOP).status == "installed"
    bench.cluster.members.behind = ["n4"]
    assert bench.do(STOP).status == "installed"


def test_without_a_leader_nothing_is_asked() -> None:
    bench = Bench(leader=None)
    result = bench.do("start-membership", value("remove", NODES[0]))
    assert (result.status, result.why) == ("skipped", "no node leads")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"shape": "swap", "nodes": ["n1"]}, "'swap' is none of"),
        ({"shape": "replace", "nodes": ["n1", "n2"]}, "replace takes 1 node, not 2"),
        ({"shape": "two-at-once", "nodes": ["n1"]}, "two-at-once takes 2 nodes, not 1"),
        ({"shape": "remove", "nodes": ["n9"]}, "unknown node 'n9'"),
    ],
)
def test_a_value_that_cannot_be_done_is_refused(wrong: dict[str, object], words: str) -> None:
    from nemesis.registry import families

    with pytest.raises(ValueError, match=words):
        families()["membership"].check("start-membership", wrong, NODES)
