"""Leadership is handed over: who is asked, and what the fault says of it."""

from __future__ import annotations

from random import Random

import pytest

from nemesis.family import Window
from nemesis.registry import families
from nemesis.tests.bench import NODES, Bench

TRANSFER = "transfer-leadership"


def test_the_first_node_that_does_not_lead_is_to_lead() -> None:
    bench = Bench()
    bench.cluster.leader = "n1"
    result = bench.do(TRANSFER, ["n1", "n3", "n4"])
    assert (result.status, result.did) == ("installed", ["n3"])
    assert result.evidence == {"leader_before": "n1", "leader": "n3"}
    assert bench.in_force() == []


def test_a_transfer_that_is_refused_is_no_fault() -> None:
    bench = Bench()
    bench.cluster.leader = "n1"
    bench.cluster.lies = {"members.change"}
    result = bench.do(TRANSFER, ["n2", "n3"])
    assert (result.status, result.why) == ("skipped", "another change is under way")
    assert (bench.in_force(), result.begins) == ([], ())


def test_without_a_leader_or_another_node_nothing_is_asked() -> None:
    bench = Bench()
    bench.cluster.leader = "n1"
    assert bench.do(TRANSFER, ["n1"]).why == "n1 leads already"
    bench.cluster.leader = None
    assert bench.do(TRANSFER, ["n2", "n3"]).why == "no node leads"


def test_a_window_holds_up_to_three_of_them() -> None:
    family = families()["transfer"]
    counts = set()
    for seed in range(20):
        planned = family.plan("", Window(tuple(NODES), Random(seed), 10, 20, 1))
        assert planned is not None
        assert all(10 <= entry.time_ns <= 20 for entry in planned.entries)
        for entry in planned.entries:
            assert family.check(entry.f, entry.value, NODES) == ""
        counts.add(len(planned.entries))
    assert counts == {1, 2, 3}
    assert family.plan("", Window(("n1",), Random(0), 10, 20, 1)) is None


@pytest.mark.parametrize("wrong", [None, ["n9"], "n1", {"nodes": ["n1"]}])
def test_a_transfer_names_nodes(wrong: object) -> None:
    with pytest.raises(ValueError):
        families()["transfer"].check(TRANSFER, wrong, NODES)
