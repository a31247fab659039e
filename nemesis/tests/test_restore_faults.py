"""The faults of restores: the last backup is given back, and nothing is claimed that was not done."""

from __future__ import annotations

import pytest

from nemesis.registry import families
from nemesis.tests.bench import NODES, Bench

CLUSTER = {"shape": "cluster", "nodes": NODES}
NODE = {"shape": "node", "nodes": ["n2"]}


def test_the_whole_cluster_gets_the_last_backup_and_runs() -> None:
    bench = Bench()
    assert bench.do("take-backup", None).did == {"backup": 1}
    assert bench.do("take-backup", None).did == {"backup": 2}
    result = bench.do("restore", CLUSTER)
    assert result.status == "installed"
    assert result.did == {**CLUSTER, "backup": 2, "written": NODES}
    assert bench.cluster.backups.restored == [(2, tuple(NODES))]
    assert [begun.name for begun in result.begins] == ["restore:cluster"]
    assert bench.in_force() == []


def test_nodes_that_another_fault_killed_run_after_a_restore() -> None:
    bench = Bench()
    bench.do("take-backup", None)
    bench.do("kill", ["n1"])
    assert bench.do("restore", CLUSTER).status == "installed"
    assert bench.in_force() == []
    assert set(bench.cluster.processes.now.values()) == {"running"}


def test_one_node_gets_its_data_while_the_others_go_on() -> None:
    bench = Bench()
    bench.do("take-backup", None)
    result = bench.do("restore", NODE)
    assert (result.status, result.did["written"]) == ("installed", ["n2"])


def test_without_a_backup_nothing_is_done() -> None:
    bench = Bench()
    bench.cluster.fails.add("backups.take")
    taken = bench.do("take-backup", None)
    assert (taken.status, taken.why) == ("skipped", "backups.take failed")
    restored = bench.do("restore", CLUSTER)
    assert (restored.status, restored.why, restored.begins) == ("skipped", "no backup was taken", ())


def test_a_backup_that_the_target_refuses_kills_nobody() -> None:
    bench = Bench()
    bench.do("take-backup", None)
    bench.cluster.backups.refused = "a member must not forget"
    result = bench.do("restore", NODE)
    assert (result.status, result.why, result.begins) == ("skipped", "a member must not forget", ())
    assert set(bench.cluster.processes.now.values()) == {"running"}


def test_a_restore_that_failed_says_not_that_it_was_written_and_is_healed() -> None:
    bench = Bench()
    bench.do("take-backup", None)
    bench.cluster.fails.add("backups.restore")
    result = bench.do("restore", CLUSTER)
    assert result.status == "indeterminate"
    assert "written" not in (result.did or {})
    assert bench.do("stop-restore", None).status == "installed"
    assert set(bench.cluster.processes.now.values()) == {"running"}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {"shape": "cluster"},
        {"shape": "half", "nodes": NODES},
        {"shape": "cluster", "nodes": ["n1"]},
        {"shape": "node", "nodes": ["n1", "n2"]},
        {"shape": "node", "nodes": ["n9"]},
        {"shape": "node", "nodes": ["n1"], "backup": 1},
    ],
)
def test_a_wrong_value_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        families()["restore"].check("restore", wrong, NODES)
