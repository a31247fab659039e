"""A fault is evidence: `installed` only when a measurement agrees."""

from __future__ import annotations

import json
from collections.abc import Collection
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histories.faults import FaultResult
from histories.op import NEMESIS, Op
from nemesis import shapes
from nemesis.book import OpenFault
from nemesis.capabilities import FaultError, Spans
from nemesis.family import Window
from nemesis.faults.disk import PARAMETERS
from nemesis.faults.partition import NO_LINK_OPEN
from nemesis.nemesis import Nemesis
from nemesis.registry import chosen_families, families, final_ops, parse_nemesis
from nemesis.tests.fake_cluster import FakeCluster

NODES = ["n1", "n2", "n3", "n4", "n5"]
EVERYTHING = parse_nemesis(list(families()))
SPLIT = {"grudge": shapes.as_json(shapes.isolate("n1", NODES))}
ONE_WAY = {"grudge": {"n1": ["n2"]}}
LOSS = {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.1}}
SECOND_NS = 1_000_000_000


class Bench:
    """A fake cluster under a nemesis with every fault."""

    def __init__(self, leader: str | None = "n3") -> None:
        self.cluster = FakeCluster(NODES, leader)
        self.nemesis = Nemesis(self.cluster, chosen_families(EVERYTHING))

    def in_force(self) -> list[str]:
        """The faults that are not over, with what they do to whom."""
        found: dict[str, OpenFault] = {}
        for name in families():
            found.update((fault.id, fault) for fault in self.nemesis.book.open(name))
        by_age = sorted(found.values(), key=lambda fault: int(fault.id.rpartition("-")[2]))
        return [f"{fault.name} {fault.what or ' '.join(sorted(fault.nodes))}" for fault in by_age]

    def do(self, f: str, value: Any = None) -> FaultResult:
        result = self.nemesis.invoke(Op(0, 0, "invoke", NEMESIS, f, value=value))
        json.dumps(msgspec.to_builtins(result))
        return result


def test_a_partition_is_installed_when_the_probe_equals_the_grudge() -> None:
    bench = Bench()
    result = bench.do("start-partition", {"shape": "one", **SPLIT})
    assert result.status == "installed"
    assert result.did == {"shape": "one", **SPLIT}
    assert result.evidence == {"cut": SPLIT["grudge"], "down": {}, "answers": 12}
    assert bench.in_force() == ["partition:one n1 | n2 n3 n4 n5"]
    assert bench.do("stop-partition").evidence == {"cut": {}, "down": {}, "answers": 20}
    assert bench.in_force() == []


def test_fifty_random_grudges_are_measured_as_asked() -> None:
    bench = Bench()
    rng = Random(5)
    for _ in range(50):
        links = rng.sample(shapes.all_links(NODES), rng.randint(1, 19))
        value = {"grudge": shapes.as_json(shapes.grudge_of(links))}
        result = bench.do("start-partition", value)
        assert result.status == "installed"
        assert result.evidence["cut"] == value["grudge"]


def test_a_partition_that_never_happened_is_not_installed() -> None:
    bench = Bench()
    bench.cluster.lies.add("links.drop")
    result = bench.do("start-partition", ONE_WAY)
    assert result.status == "indeterminate"
    assert result.why == "1 links disagree; n2 to n1: asked cut, measured answers"
    assert result.evidence["disagrees"] == [{"from": "n2", "to": "n1", "asked": "cut", "measured": "answers"}]


def test_a_partition_that_cut_too_much_is_not_installed() -> None:
    bench = Bench()
    bench.do("start-partition", SPLIT)
    bench.cluster.lies.add("links.drop")
    assert bench.do("start-partition", ONE_WAY).status == "indeterminate"


def test_a_partition_that_did_not_heal_is_said() -> None:
    bench = Bench()
    bench.do("start-partition", ONE_WAY)
    bench.cluster.lies |= {"links.drop", "links.heal"}
    assert bench.do("stop-partition").status == "indeterminate"
    assert bench.nemesis.heal_all()["partition"].status == "indeterminate"


def test_a_probe_that_fails_once_is_taken_again_and_one_that_always_fails_is_believed() -> None:
    bench = Bench()
    bench.cluster.links.flaky_probes = 2
    assert bench.do("start-partition", ONE_WAY).status == "installed"
    bench.cluster.links.flaky_probes = 9
    assert bench.do("start-partition", ONE_WAY).status == "indeterminate"


def test_a_link_that_could_not_be_measured_is_no_agreement() -> None:
    bench = Bench()
    bench.cluster.links.blind.add(("n2", "n1"))
    result = bench.do("start-partition", ONE_WAY)
    assert result.status == "indeterminate"
    assert "measured nothing" in result.why


def test_links_to_dead_and_paused_nodes_agree_with_either() -> None:
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("pause", ["n2"])
    assert bench.do("start-partition", SPLIT).status == "installed"
    assert bench.do("stop-partition").status == "installed"


def test_a_partition_between_dead_nodes_only_is_not_seen() -> None:
    bench = Bench()
    bench.do("kill", ["n1"])
    result = bench.do("start-partition", {"grudge": {"n1": ["n2"]}})
    assert result.status == "indeterminate"
    assert "no cut was seen" in result.why


def test_the_primary_is_resolved_when_the_fault_fires() -> None:
    bench = Bench(leader="n3")
    result = bench.do("start-partition", {"shape": "primary"})
    assert result.status == "installed"
    assert result.did == {
        "shape": "primary",
        "primary": "n3",
        "grudge": shapes.as_json(shapes.isolate("n3", NODES)),
    }
    assert bench.do("kill", "primary").did == {"nodes": ["n3"], "target": "primary"}
    bench.cluster.leader = None
    for f, value in [("start-partition", {"shape": "primary"}), ("kill", "primary"), ("pause", "primary")]:
        result = bench.do(f, value)
        assert (result.status, result.why) == ("skipped", "no node leads")


def test_stopping_a_partition_leaves_disturbed_links_disturbed() -> None:
    bench = Bench()
    bench.do("start-loss", LOSS)
    bench.do("start-partition", ONE_WAY)
    bench.do("stop-partition")
    assert bench.cluster.packets.links == {"loss": [("n2", "n1")]}


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


def test_clocks_are_judged_on_top_of_their_natural_offsets() -> None:
    bench = Bench()
    result = bench.do("start-clock", {"kind": "jump", "offset_ns": {"n1": -SECOND_NS, "n2": 0}})
    assert result.status == "installed"
    assert result.evidence["offsets_ns"]["n1"] == bench.cluster.clocks.natural_ns - SECOND_NS
    stopped = bench.do("stop-clock")
    assert stopped.status == "installed"
    assert stopped.evidence["before_offsets_ns"]["n1"] == bench.cluster.clocks.natural_ns - SECOND_NS


def test_a_clock_change_too_small_to_be_told_from_none_is_indeterminate() -> None:
    bench = Bench()
    assert "too little" in bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": 1_000_000}}).why
    assert "too near 1" in bench.do("start-clock", {"kind": "drift", "rate": {"n1": 1.001}}).why


def test_the_natural_offset_of_a_node_that_was_down_at_its_first_fault_is_learnt_later() -> None:
    bench = Bench()
    bench.do("pause", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("resume")
    assert bench.do("stop-clock").status == "installed"
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    bench.cluster.lies.add("clocks.heal")
    assert bench.do("stop-clock").status == "indeterminate"


def test_clocks_of_dead_nodes_cannot_be_read() -> None:
    bench = Bench()
    bench.do("kill", ["n1"])
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS}}
    assert bench.do("start-clock", value).why == "no clock was read: n1 dead or paused"
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}}
    assert bench.do("start-clock", value).status == "installed"
    assert bench.do("stop-clock").status == "installed"


def test_a_clock_that_nobody_read_at_the_stop_is_not_seen_to_be_right() -> None:
    bench = Bench()
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("kill", ["n1", "n2"])
    stopped = bench.do("stop-clock")
    assert (stopped.status, stopped.why) == ("indeterminate", "no clock was read: n1, n2 dead or paused")
    assert "clock:offset n1 n2" in bench.in_force()
    bench.do("start", ["n1"])
    assert bench.do("stop-clock").status == "installed"
    assert "clock:offset n2" in bench.in_force(), "n1 was read and n2 was not"
    bench.do("start", ["n2"])
    assert bench.do("stop-clock").status == "installed"
    assert bench.in_force() == []


def test_the_clock_of_a_node_that_never_comes_back_is_no_heal_that_failed() -> None:
    bench = Bench()
    bench.do("start-clock", {"kind": "drift", "rate": {"n1": 2.0}})
    bench.do("kill", ["n1"])
    bench.cluster.lies.add("processes.start")
    assert bench.nemesis.heal_all()["clock"].status == "skipped"


def test_a_stopped_clock_is_known_once_its_node_runs_again() -> None:
    """What it shows then is its natural offset: the stop has undone what was asked of it while it was down."""
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("stop-clock")
    bench.do("start", ["n1"])
    bench.do("stop-clock")
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    bench.cluster.lies.add("clocks.heal")
    assert bench.do("stop-clock").status == "indeterminate", "it is a second off"


def test_a_clock_that_nobody_ever_read_before_its_stop_is_seen_to_be_right_later() -> None:
    """No other node runs, so that the stop is not seen at all; what was asked for is undone for all that."""
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    assert bench.do("stop-clock").status == "indeterminate"
    bench.do("start", ["n1"])
    assert bench.do("stop-clock").status == "installed"
    assert bench.in_force() == []
    assert bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}}).status == "installed"
    assert bench.do("stop-clock").status == "installed"


def test_a_partition_is_not_seen_to_end_where_no_two_nodes_run() -> None:
    bench = Bench()
    bench.do("start-partition", SPLIT)
    bench.do("kill", NODES)
    stopped = bench.do("stop-partition")
    assert (stopped.status, stopped.why) == ("indeterminate", NO_LINK_OPEN)
    assert "partition n1 | n2 n3 n4 n5" in bench.in_force()
    assert bench.nemesis.heal_all()["partition"].status in ("installed", "skipped")
    bench.do("start", NODES)
    assert bench.do("stop-partition").status == "installed"
    assert bench.in_force() == []


def test_packet_kinds_add_up_and_end_one_by_one() -> None:
    bench = Bench()
    bench.do("start-loss", LOSS)
    slow = {"links": {"n3": ["n1", "n2"]}, "parameters": {"delay_ms": 10, "jitter_ms": 5}}
    assert bench.do("start-slow", slow).status == "installed"
    assert bench.in_force() == ["loss 1 links, probability 0.1", "slow 2 links, delay_ms 10, jitter_ms 5"]
    assert bench.do("stop-loss").evidence == {"in_force": {"slow": [["n1", "n3"], ["n2", "n3"]]}}
    assert bench.do("stop-slow").evidence == {"in_force": {}}


def test_packets_on_other_links_than_asked_are_not_installed() -> None:
    bench = Bench()
    bench.cluster.packets.instead = [("n1", "n2")]
    assert bench.do("start-loss", LOSS).why == "loss is in force on 1 links, asked 1"


@pytest.mark.parametrize(("f", "value"), [("start-loss", LOSS), ("stop-loss", None)])
def test_packets_that_nobody_measured_prove_nothing(f: str, value: Any) -> None:
    bench = Bench()
    bench.cluster.packets.is_blind = True
    result = bench.do(f, value)
    assert (result.status, result.why) == ("indeterminate", "the environment does not say which links are disturbed")


def test_a_running_node_whose_clock_cannot_be_read_proves_nothing() -> None:
    bench = Bench()
    bench.cluster.clocks.unreadable.add("n2")
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}}
    result = bench.do("start-clock", value)
    assert (result.status, result.why) == ("indeterminate", "no clock reading from n2")
    assert bench.do("stop-clock").status == "indeterminate"
    assert bench.in_force() == ["clock:offset n1 n2"]


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


def test_a_new_partition_ends_the_old_one_and_a_lie_leaves_both_uncertain() -> None:
    bench = Bench()
    bench.do("start-partition", ONE_WAY)
    replaced = bench.do("start-partition", SPLIT)
    assert [begun.id for begun in replaced.begins] == ["partition-2"]
    assert [(ended.id, ended.nodes["n1"].lifted_ns is not None) for ended in replaced.ends] == [("partition-1", True)]
    bench.cluster.lies.add("links.drop")
    lied = bench.do("start-partition", ONE_WAY)
    assert lied.begins[0].nodes["n1"].in_force_ns is None
    assert lied.ends[0].nodes["n1"].lifted_ns is None
    bench.cluster.lies.clear()
    assert {ended.id for ended in bench.do("stop-partition").ends} == {"partition-2", "partition-3"}


def test_the_leaps_of_a_strobe_are_one_fault() -> None:
    bench = Bench()
    there, back = {"n1": SECOND_NS}, {"n1": 0}
    begun = [
        begun.name
        for i in range(6)
        for begun in bench.do("start-clock", {"kind": "strobe", "offset_ns": back if i % 2 else there}).begins
    ]
    drift = bench.do("start-clock", {"kind": "drift", "rate": {"n1": 2.0}})
    assert [fault.name for fault in drift.begins] == ["clock:drift"]
    assert drift.ends == (), "the offset stays while the clock drifts"
    stopped = bench.do("stop-clock")
    assert {ended.id for ended in stopped.ends} == {"clock-1", "clock-2"}
    assert set(begun) == {"clock:strobe"}
    assert bench.in_force() == []


def test_a_restart_begins_and_ends_in_one_op() -> None:
    result = Bench().do("restart-all")
    assert [begun.id for begun in result.begins] == [ended.id for ended in result.ends] == ["restart-all-1"]
    for node in NODES:
        onset, lift = result.begins[0].nodes[node], result.ends[0].nodes[node]
        assert onset.began_ns < (onset.in_force_ns or 0) <= lift.lifting_ns < (lift.lifted_ns or 0)
    rolling = Bench().do("restart", ["n4", "n2"])
    assert [list(begun.nodes) for begun in rolling.begins] == [["n4"], ["n2"]]
    assert all(begun.name == "restart-all:rolling" for begun in rolling.begins)
