"""Partitions and disturbed links: `installed` only when the probe of all links agrees with what was asked."""

from __future__ import annotations

from random import Random

from nemesis import shapes
from nemesis.faults.partition import NO_LINK_OPEN
from nemesis.tests.bench import LOSS, NODES, ONE_WAY, SPLIT, Bench


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


def test_packets_on_other_links_than_asked_are_not_installed() -> None:
    bench = Bench()
    bench.cluster.packets.instead = [("n1", "n2")]
    assert bench.do("start-loss", LOSS).why == "loss is in force on 1 links, asked 1"


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
