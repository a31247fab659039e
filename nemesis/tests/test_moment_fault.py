"""A fault at a moment of the protocol: what is done to whom, and what ends it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from nemesis.capabilities import MOMENTS
from nemesis.family import Window
from nemesis.faults.moment import ACTIONS
from nemesis.registry import families
from nemesis.tests.bench import NODES, SECOND_NS, Bench

START, STOP = "start-moment", "stop-moment"


def value(action: str, after_ms: float = 0, **fields: Any) -> dict[str, Any]:
    return {"moment": "elected", "action": action, "count": 1, "after_ms": after_ms, **fields}


@pytest.mark.parametrize(
    ("action", "in_force"), [("kill", "kill n4"), ("pause", "pause n4"), ("isolate", "partition:one ")]
)
def test_the_node_of_the_moment_gets_the_fault_until_the_stop(action: str, in_force: str) -> None:
    bench = Bench()
    bench.cluster.moments.at = "n4"
    result = bench.do(START, value(action))
    assert (result.status, result.did["node"]) == ("installed", "n4")
    assert result.evidence["came_after_ms"] >= 0
    (found,) = bench.in_force()
    assert found.startswith(in_force)
    assert bench.do(STOP).status == "installed"
    assert bench.in_force() == []
    assert bench.cluster.healthy()


def test_it_may_strike_some_time_after_the_moment() -> None:
    bench = Bench()
    bench.do(START, value("pause", after_ms=40))
    assert bench.cluster.moments.rested_s == 0.04


def test_a_moment_that_does_not_come_is_skipped() -> None:
    bench = Bench()
    bench.cluster.moments.at = None
    result = bench.do(START, value("kill"))
    assert (result.status, result.why) == ("skipped", "it did not come within 1 s")
    assert bench.cluster.healthy()
    assert bench.do(STOP).status == "installed"


def test_a_stop_brings_back_the_node_of_the_moment_and_no_other() -> None:
    bench = Bench()
    bench.do("kill", ["n5"])
    bench.cluster.moments.at = "n4"
    bench.do(START, value("kill"))
    bench.do(STOP)
    assert {node for node, state in bench.cluster.processes.now.items() if state == "dead"} == {"n5"}


@pytest.mark.parametrize("action", ["kill", "pause"])
def test_the_clock_of_its_node_is_healed_where_no_other_heal_brings_the_node_back(action: str) -> None:
    bench = Bench()
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n4": SECOND_NS}})
    bench.cluster.moments.at = "n4"
    bench.do(START, value(action))
    bench.nemesis.heal_all()
    assert bench.in_force() == []
    assert bench.cluster.healthy()


def test_plans_name_a_moment_and_an_action_and_can_be_read_back() -> None:
    family = families()["moment"]
    seen = set()
    for moment in MOMENTS:
        for seed in range(30):
            planned = family.plan(moment, Window(tuple(NODES), Random(seed), 10, 20, 1))
            assert planned is not None
            start, stop = planned.entries
            assert (start.time_ns, stop.time_ns) == (10, 20)
            assert (family.check(start.f, start.value, NODES), family.check(stop.f, stop.value, NODES)) == (moment, "")
            seen.add(start.value["action"])
    assert seen == set(ACTIONS)
    assert family.plan("elected", Window(tuple(NODES), Random(0), 10, 20, 0)) is None, "no node may be down"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {"moment": "elected"},
        value("kill", moment="noon"),
        value("maim"),
        value("kill", count=0),
        value("kill", count=1.5),
        value("kill", after_ms=-1),
    ],
)
def test_a_start_says_which_moment_and_what_to_do(wrong: Any) -> None:
    with pytest.raises(ValueError):
        families()["moment"].check(START, wrong, NODES)
