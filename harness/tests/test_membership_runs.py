"""Members of Raft change while clients ask and other faults run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.run import execute, plan
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.zoo.raft import MEMBERSHIP
from histories import jsonl
from histories.op import NEMESIS, Op
from nemesis.family import Entry
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND_NS = 1_000_000_000
CAUGHT_UP_WITHIN_S = 10.0


def one_after_another(gap_s: float, *, cuts: bool) -> Schedule:
    """Every node is replaced by one with an empty disk, each after the one before has its vote; `cuts`: another node is cut off
    while it catches up."""
    entries = []
    for number, node in enumerate(NODES):
        begin_ns = int((1 + number * gap_s) * SECOND_NS)
        entries.append(Entry(begin_ns, "start-membership", {"shape": "replace", "nodes": [node]}))
        if cuts:
            loner = NODES[(number + 2) % len(NODES)]
            others = [other for other in NODES if other != loner]
            grudge = {loner: others} | {other: [loner] for other in others}
            entries.append(Entry(begin_ns + SECOND_NS // 100, "start-partition", {"grudge": grudge}))
            entries.append(Entry(begin_ns + SECOND_NS // 2, "stop-partition"))
        entries.append(Entry(begin_ns + SECOND_NS * 3 // 4, "stop-membership"))
    return Schedule(nodes=NODES, entries=tuple(entries))


def completions(history: Any) -> list[Op]:
    """The completions of the faults of the membership that the schedule planned."""
    return [op for op in history if op.process == NEMESIS and op.type == "info" and op.f.endswith("-membership")]


def check_replaced(ops: list[Op]) -> None:
    """Each node was wiped, and had its vote again in time."""
    began_ns: dict[str, int] = {}
    replaced: list[str] = []
    for op in ops:
        if op.f == "start-membership":
            assert op.value["status"] == "installed", op.value
            (node,) = op.value["did"]["nodes"]
            assert node in op.value["evidence"]["wiped"]
            began_ns[node] = op.time
            replaced.append(node)
        else:
            assert op.value["status"] == "installed", op.value
            assert op.value["evidence"]["voters"] == list(NODES)
            if replaced:
                assert (op.time - began_ns[replaced[-1]]) / 1e9 < CAUGHT_UP_WITHIN_S
    assert replaced == list(NODES)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cluster_is_replaced_node_by_node_under_load_and_partitions(seed: int) -> None:
    spec = RunSpec(
        env="sim",
        nodes=NODES,
        rate_hz=100.0,
        concurrency=10,
        time_limit_s=18.0,
        target_options={"snapshot_entries": 50},
        seed=seed,
    )
    sink = MemorySink("replaced")
    verdict = execute.execute(plan.prepare(spec, saved=one_after_another(3.0, cuts=True)), sink).verdict
    assert verdict.validity is Validity.VALID, verdict.reason
    check_replaced(completions(sink.history().ops))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.long
def test_members_come_and_go_while_the_cluster_falls_apart(seed: int) -> None:
    result = sweep.run_seed(MEMBERSHIP.spec(seed))
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.long
@pytest.mark.real
def test_real_nodes_are_replaced_one_after_another(tmp_path: Path) -> None:
    spec = RunSpec(
        env="local",
        nodes=NODES,
        rate_hz=50.0,
        concurrency=5,
        time_limit_s=30.0,
        target_options={"snapshot_entries": 50, "heartbeat_ms": 100, "election_ms_min": 500, "election_ms_max": 1000},
        seed=3,
    )
    prepared = plan.prepare(spec, saved=one_after_another(5.0, cuts=False))
    run, result = execute.run_into(Store(tmp_path), prepared)
    assert result.verdict.validity is Validity.VALID, result.verdict.reason
    check_replaced(completions(jsonl.read(run.history).history.ops))
