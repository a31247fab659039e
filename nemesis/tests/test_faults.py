"""A fault is evidence: `installed` only when a measurement agrees."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemesis.capabilities import FaultError, Spans
from nemesis.family import Window
from nemesis.faults.disk import PARAMETERS
from nemesis.registry import families, final_ops
from nemesis.tests.bench import EVERYTHING, LOSS, NODES, ONE_WAY, SECOND_NS, Bench


@pytest.mark.parametrize(
    ("f", "value", "call"),
    [
        ("start-partition", ONE_WAY, "links.drop"),
        ("kill", ["n1"], "processes.kill"),
        ("pause", ["n1"], "processes.pause"),
        ("restart-all", None, "processes.kill"),
        ("restart-all", None, "processes.start"),
        ("restart", ["n2", "n1"], "processes.start"),
        ("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}}, "clocks.set_offset"),
        ("start-clock", {"kind": "drift", "rate": {"n1": 1.25}}, "clocks.set_rate"),
        ("start-loss", LOSS, "packets.disturb"),
        ("damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {}}, "processes.kill"),
        ("damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {}}, "disks.damage"),
        ("damage-disk", {"kind": "full", "nodes": ["n1"], "parameters": {}}, "disks.damage"),
        ("damage-disk", {"kind": "full", "nodes": ["n1"], "parameters": {}}, "disks.last"),
    ],
)
def test_installed_when_done_and_indeterminate_when_the_environment_lies_or_fails(
    f: str, value: Any, call: str
) -> None:
    assert Bench().do(f, value).status == "installed"
    lying = Bench()
    lying.cluster.lies.add(call)
    result = lying.do(f, value)
    assert result.status == "indeterminate"
    assert result.why
    failing = Bench()
    failing.cluster.fails.add(call)
    result = failing.do(f, value)
    assert result.status == "indeterminate"
    assert result.why == f"FaultError: {call} failed"


@pytest.mark.parametrize(
    ("start", "stop", "call"),
    [
        (("start-partition", ONE_WAY), ("stop-partition", None), "links.drop"),
        (("kill", ["n1"]), ("start", ["n1"]), "processes.start"),
        (("kill", ["n1"]), ("start", None), "processes.start"),
        (("pause", ["n1"]), ("resume", ["n1"]), "processes.resume"),
        (("start-clock", {"kind": "offset", "offset_ns": {"n1": -SECOND_NS}}), ("stop-clock", None), "clocks.heal"),
        (("start-clock", {"kind": "drift", "rate": {"n1": 0.5}}), ("stop-clock", None), "clocks.heal"),
        (("start-loss", LOSS), ("stop-loss", None), "packets.disturb"),
        (("damage-disk", {"kind": "full", "nodes": ["n1"], "parameters": {}}), ("heal-disk", None), "disks.heal"),
        (
            ("damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {}}),
            ("heal-disk", None),
            "processes.start",
        ),
    ],
)
def test_a_heal_is_verified_too(start: tuple[str, Any], stop: tuple[str, Any], call: str) -> None:
    healing = Bench()
    healing.do(*start)
    assert not healing.cluster.healthy()
    assert healing.in_force()
    assert healing.do(*stop).status == "installed"
    assert healing.cluster.healthy()
    assert healing.in_force() == []
    lying = Bench()
    lying.do(*start)
    lying.cluster.lies.add(call)
    lied = lying.do(*stop)
    assert lied.status == "indeterminate"
    assert {lift.lifted_ns for ended in lied.ends for lift in ended.nodes.values()} == {None}, "nobody saw it end"
    assert lying.in_force()
    lying.cluster.lies.clear()
    assert {result.status for result in lying.nemesis.heal_all().values()} == {"installed", "skipped"}
    assert lying.cluster.healthy()


def test_kills_and_pauses_of_what_is_down_already_are_skipped() -> None:
    bench = Bench()
    assert bench.do("pause", ["n1", "n2"]).status == "installed"
    assert bench.do("kill", ["n1"]).status == "installed"
    assert bench.do("kill", ["n1"]).why == "nothing to do: n1 is dead"
    assert bench.do("pause", ["n1", "n2"]).status == "skipped"
    result = bench.do("pause", ["n1", "n3"])
    assert (result.status, result.did) == ("installed", {"nodes": ["n3"]})
    assert bench.in_force() == ["pause n2", "kill n1", "pause n3"]
    assert bench.do("start", ["n1", "n2"]).status == "installed"
    assert bench.do("resume").evidence == {"states": dict.fromkeys(NODES, "running")}


def test_a_rolling_restart_goes_in_its_order_and_shows_each_node_down() -> None:
    bench = Bench()
    result = bench.do("restart", ["n4", "n2"])
    assert result.did == {"nodes": ["n4", "n2"]}
    assert result.evidence["down"] == {"n2": "dead", "n4": "dead"}


@pytest.mark.parametrize(("down", "back"), [(("kill", ["n1", "n2"]), "start"), (("restart", ["n1", "n2"]), None)])
def test_a_node_that_refuses_to_run_was_started_for_all_that(down: tuple[str, Any], back: str | None) -> None:
    bench = Bench()
    bench.cluster.processes.refusing["n2"] = "the disk is damaged"
    results = [bench.do(*down)] + ([bench.do(back)] if back else [])
    assert [result.status for result in results] == ["installed"] * len(results)
    assert results[-1].evidence["states"]["n2"] == "dead"
    assert results[-1].evidence["refused"] == {"n2": "the disk is damaged"}
    assert bench.in_force() == []
    assert bench.nemesis.heal_all()["kill"].status == "installed"
    bench.cluster.processes.kill(["n1"])
    bench.cluster.lies.add("processes.start")
    healed = bench.nemesis.heal_all()["kill"]
    assert (healed.status, healed.why) == ("indeterminate", "n1 is dead"), "nobody heard n1 refuse"


def test_the_disk_is_healed_where_its_node_refuses_to_run() -> None:
    bench = Bench()
    bench.do("damage-disk", {"kind": "bitflip", "nodes": ["n1", "n2"], "parameters": {"bits": 1}})
    bench.cluster.processes.refusing["n2"] = "the disk is damaged"
    healed = bench.nemesis.heal_all()["disk"]
    assert (healed.status, healed.evidence["refused"]) == ("installed", {"n2": "the disk is damaged"})
    assert bench.in_force() == []


def test_a_disk_may_choose_the_moment_at_which_its_node_is_killed() -> None:
    bench = Bench()
    bench.do("damage-disk", {"kind": "torn-write", "nodes": ["n2", "n1"], "parameters": {}})
    assert bench.cluster.disks.awaited == [("torn-write", ["n1", "n2"])]
    bench.do("damage-disk", {"kind": "full", "nodes": ["n3"], "parameters": {}})
    assert len(bench.cluster.disks.awaited) == 1, "a node that goes on running is not waited for"


def test_packet_kinds_add_up_and_end_one_by_one() -> None:
    bench = Bench()
    bench.do("start-loss", LOSS)
    slow = {"links": {"n3": ["n1", "n2"]}, "parameters": {"delay_ms": 10, "jitter_ms": 5}}
    assert bench.do("start-slow", slow).status == "installed"
    assert bench.in_force() == ["loss 1 links, probability 0.1", "slow 2 links, delay_ms 10, jitter_ms 5"]
    assert bench.do("stop-loss").evidence == {"in_force": {"slow": [["n1", "n3"], ["n2", "n3"]]}}
    assert bench.do("stop-slow").evidence == {"in_force": {}}


@pytest.mark.parametrize(("f", "value"), [("start-loss", LOSS), ("stop-loss", None)])
def test_packets_that_nobody_measured_prove_nothing(f: str, value: Any) -> None:
    bench = Bench()
    bench.cluster.packets.is_blind = True
    result = bench.do(f, value)
    assert (result.status, result.why) == ("indeterminate", "the environment does not say which links are disturbed")


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_only_damage_that_no_crash_does_excuses_a_node_for_good(kind: str) -> None:
    value = {
        "kind": kind,
        "nodes": ["n1"],
        "parameters": {name: least for name, (least, _) in PARAMETERS[kind].items()},
    }
    (begun,) = Bench().do("damage-disk", value).begins
    assert begun.damages == (kind in ("bitflip", "truncate", "wipe"))


def test_damage_to_what_is_stored_comes_with_a_crash_and_ends_with_a_start() -> None:
    bench = Bench()
    value = {"kind": "truncate", "nodes": ["n2", "n1"], "parameters": {"bytes": 16}}
    result = bench.do("damage-disk", value)
    assert result.did == {**value, "nodes": ["n1", "n2"]}
    assert result.evidence["damage"] == {node: {"kind": "truncate", "bytes": 16} for node in ("n1", "n2")}
    assert bench.cluster.processes.now["n1"] == "dead"
    assert bench.do("heal-disk").did == {"started": ["n1", "n2"]}
    assert bench.cluster.healthy()


def test_what_a_kill_that_failed_half_way_killed_is_started_by_the_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    kill = bench.cluster.processes.kill

    def kill_one(nodes: Collection[str]) -> Spans:
        kill(sorted(nodes)[:1])
        raise FaultError("n2 does not die")

    with monkeypatch.context() as failing:
        failing.setattr(bench.cluster.processes, "kill", kill_one)
        result = bench.do("damage-disk", {"kind": "wipe", "nodes": ["n1", "n2"], "parameters": {}})
    assert (result.status, bench.cluster.processes.now["n1"]) == ("indeterminate", "dead")
    assert bench.do("heal-disk").did == {"started": ["n1", "n2"]}
    assert bench.cluster.healthy()
    assert bench.in_force() == []


def test_the_clock_of_a_node_that_a_later_heal_starts_is_looked_at_again() -> None:
    bench = Bench("n1")
    bench.cluster.fails = {"processes.start"}
    bench.do("start-membership", {"shape": "replace", "nodes": ["n4"]})
    bench.cluster.fails = set()
    bench.do("start-clock", {"kind": "offset", "offset_ns": dict.fromkeys(("n1", "n4"), 5 * SECOND_NS)})
    healed = bench.nemesis.heal_all()
    assert bench.cluster.healthy()
    assert bench.in_force() == []
    assert healed["clock"].status == "installed"


def nemesis_ops() -> st.SearchStrategy[tuple[str, Any]]:
    """Ops that the planner could have made, in any order."""

    def of_window(choice: tuple[str, str, int]) -> list[tuple[str, Any]]:
        name, variant, seed = choice
        planned = families()[name].plan(variant, Window(tuple(NODES), Random(seed), 0, 10**9, 5))
        assert planned is not None
        return [(entry.f, entry.value) for entry in planned.entries]

    variants = [(name, variant) for name, family in families().items() for variant in family.variants or ("",)]
    windows = st.tuples(st.sampled_from(variants), st.integers(0, 9)).map(lambda x: of_window((*x[0], x[1])))
    return windows.flatmap(st.sampled_from)


@settings(deadline=None)
@given(st.lists(nemesis_ops(), max_size=12), st.sampled_from([None, *NODES]), st.data())
def test_any_ops_then_the_heals_give_a_healthy_cluster(
    ops: list[tuple[str, Any]], leader: str | None, data: st.DataObject
) -> None:
    calls = ["links.drop", "processes.kill", "processes.start", "processes.pause", "packets.disturb", "disks.damage"]
    for by_ops in (False, True):
        bench = Bench(leader)
        for f, value in ops:
            bench.cluster.fails = set(data.draw(st.sets(st.sampled_from(calls), max_size=2)))
            bench.do(f, value)
        bench.cluster.fails = set()
        if by_ops:
            results = [bench.do(*op) for op in final_ops(EVERYTHING)]
        else:
            results = list(bench.nemesis.heal_all().values())
        assert bench.cluster.healthy()
        assert {result.status for result in results} <= {"installed", "skipped"}
        assert bench.in_force() == []
        again = bench.nemesis.heal_all().values()
        assert {result.status for result in again} <= {"installed", "skipped"}


def test_a_run_without_faults_has_nothing_to_heal_and_touches_nothing() -> None:
    bench = Bench()
    bench.cluster.processes.kill(["n1"])
    assert {result.status for result in bench.nemesis.heal_all().values()} == {"skipped"}
    assert bench.cluster.processes.now["n1"] == "dead"


def test_a_heal_that_fails_does_not_stop_the_other_heals() -> None:
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("start-partition", ONE_WAY)
    bench.cluster.fails.add("processes.start")
    healed = bench.nemesis.heal_all()
    assert healed["kill"].status == "indeterminate"
    assert healed["partition"].status == "installed"
    assert not bench.cluster.links.cut


def test_a_start_ends_whatever_held_the_node_dead_and_a_kill_ends_its_pause() -> None:
    bench = Bench()
    bench.do("damage-disk", {"kind": "truncate", "nodes": ["n1"], "parameters": {"bytes": 16}})
    bench.do("pause", ["n2"])
    killed = bench.do("kill", ["n2", "n3"])
    assert [(ended.id, list(ended.nodes)) for ended in killed.ends] == [("pause-2", ["n2"])]
    started = bench.do("start", ["n1", "n2"])
    assert [(ended.id, list(ended.nodes)) for ended in started.ends] == [("disk-1", ["n1"]), ("kill-3", ["n2"])]
    assert bench.in_force() == ["kill n3"]


def test_a_kill_of_several_nodes_has_the_times_of_each() -> None:
    (begun,) = Bench().do("kill", ["n1", "n2", "n3"]).begins
    times = [onset.in_force_ns for onset in begun.nodes.values()]
    assert None not in times
    assert len(set(times)) == 3, "one node is dead before the next"
    assert all(onset.began_ns < (onset.in_force_ns or 0) for onset in begun.nodes.values())


def test_a_restart_begins_and_ends_in_one_op() -> None:
    result = Bench().do("restart-all")
    assert [begun.id for begun in result.begins] == [ended.id for ended in result.ends] == ["restart-all-1"]
    for node in NODES:
        onset, lift = result.begins[0].nodes[node], result.ends[0].nodes[node]
        assert onset.began_ns < (onset.in_force_ns or 0) <= lift.lifting_ns < (lift.lifted_ns or 0)
    rolling = Bench().do("restart", ["n4", "n2"])
    assert [list(begun.nodes) for begun in rolling.begins] == [["n4"], ["n2"]]
    assert all(begun.name == "restart-all:rolling" for begun in rolling.begins)
