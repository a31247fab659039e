"""The commit protocols in the simulation: the healthy ones under every fault of their model, what they do outside it, and the track
record of the bug zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.errors import UsageError
from harness.report.summary import summary
from harness.run import plan
from harness.soak import twopc as soak
from harness.spec import RunSpec
from harness.store.runs import RunDirectory
from harness.zoo import twopc as zoo
from harness.zoo.scenario import Planted, Scenario
from targets.twopc.bugs import BUGS

STANDARD = zoo.STANDARD.base


def not_valid(base: RunSpec, seeds: range, **fields: Any) -> list[tuple[int, str, str]]:
    """The seeds that are not VALID, with the reason."""
    results = sweep.sweep(replace(base, **fields), seeds)
    return [(one.seed, one.validity.name, one.reason) for one in results if one.validity is not Validity.VALID]


@pytest.mark.parametrize("scenario", zoo.SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.long
def test_it_is_valid_under_the_faults_of_its_model(scenario: Scenario) -> None:
    assert not not_valid(scenario.base, range(1, 2), time_limit_s=4.0)


def test_every_fault_of_the_model_and_a_log_that_is_replaced_all_the_time() -> None:
    faults = (*STANDARD.nemesis, "late", "duplicate", "reorder", "restart-all", "disk:lose-unsynced", "disk:torn-write")
    options = {"locks": "timeout", "termination": "coordinator", "checkpoint_records": 20}
    assert not not_valid(STANDARD, range(1, 2), nemesis=faults, target_options=options, time_limit_s=4.0)


def test_a_dead_leader_blocks_groups_for_no_longer_than_an_election_takes() -> None:
    """In the same faults, a coordinator that is one node blocks them until it is back."""
    longest_s = []
    for options in ({}, {"shard_replicas": 3}):
        base = replace(zoo.GROUPS.base, target_options=options, nemesis=("kill:primary",), fault_share=0.8)
        result = sweep.run_seed(replace(base, interval_s=6.0, rate_hz=20.0, time_limit_s=12.0, seed=1))
        assert result.validity is Validity.VALID, result.reason
        longest_s.append(result.result.verdict.parts["invariants"].stats["blocking"]["longest_ns"] / 1e9)
    assert longest_s[0] > 2.0
    assert 0.0 < longest_s[1] < 1.0


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_clusters_of_any_size_commit(nodes: int) -> None:
    names = tuple(f"n{number + 1}" for number in range(nodes))
    faults = ("kill", "clock") if nodes == 1 else STANDARD.nemesis
    assert not not_valid(STANDARD, range(1, 2), nodes=names, nemesis=faults, time_limit_s=4.0)


def test_a_trace_that_a_crash_cut_off_is_no_violation() -> None:
    """All knew the commit, which was on disk with the checkpoint behind it; n1 died before it could trace either."""
    faults = ("disk:lose-unsynced", "disk:slow", "partition", "restart-all", "slow")
    spec = replace(STANDARD, nemesis=faults, nodes=tuple(f"n{number}" for number in range(1, 7)), concurrency=5, seed=4)
    options = {"locks": "wait-die", "termination": "coordinator", "checkpoint_records": 10, "doubt_ms": 300}
    spec = replace(spec, interval_s=2.78, fault_share=0.7, rate_hz=30.0, time_limit_s=12.0, client_timeout_s=5.0)
    result = sweep.run_seed(replace(spec, target_options=options, env_options={"transport": "stream"}))
    assert result.validity is Validity.VALID, result.reason


def test_a_dead_coordinator_blocks_two_phase_commit_and_the_run_says_for_how_long(tmp_path: Path) -> None:
    result = sweep.run_seed(replace(STANDARD, seed=1, nemesis=("kill:coordinator",), time_limit_s=4.0))
    assert result.validity is Validity.VALID, result.reason
    blocking = result.result.verdict.parts["invariants"].stats["blocking"]
    assert blocking["blocked"] > 0
    assert blocking["longest_ns"] > 300_000_000, "it is in doubt for longer than doubt_ms"
    assert blocking["unresolved"] == 0
    assert f"  blocked: {blocking['blocked']} of {blocking['votes']} yes votes waited too long" in summary(
        RunDirectory(tmp_path), result.result, STANDARD
    )


def test_three_phase_commit_does_not_survive_partitions_and_says_so() -> None:
    with pytest.raises(UsageError, match="partition is outside the target's fault model"):
        sweep.run_seed(replace(zoo.PARTITIONS_3PC.base, beyond_model=False))
    result = sweep.run_seed(zoo.PARTITIONS_3PC.spec(SEED_OF_3PC))
    assert result.validity is Validity.INVALID
    assert "atomic-commitment" in result.reason


SEED_OF_3PC = 2
"""In it both sides of a partition decide."""


@pytest.mark.parametrize(
    ("claimed", "kept"), [("snapshot", "snapshot-isolation"), ("read-committed", "read-committed")]
)
def test_a_weaker_level_keeps_what_it_claims_and_not_serializability(claimed: str, kept: str) -> None:
    base = replace(STANDARD, target_options={"isolation": claimed}, time_limit_s=6.0, seed=5)
    assert plan.prepare(base).claim == kept
    result = sweep.run_seed(replace(base, consistency="serializable"))
    assert result.validity is Validity.INVALID
    assert set(result.result.verdict.parts["list-append"].stats["anomalies"]) & {"G2-item", "G-single", "G-nonadjacent"}


def test_snapshot_isolation_lets_write_skew_through() -> None:
    result = sweep.run_seed(
        replace(zoo.SNAPSHOT.base, workload="write-skew", consistency="serializable", time_limit_s=5.0)
    )
    assert result.validity is Validity.INVALID
    assert "each comes before the other" in result.reason


NEEDS_ITS_TIME = {"presumed-commit"}
"""The others show in the first seconds."""

SEEDS_IN_SHORT = {
    "commit-applied-twice": 7,
    "decision-told-before-durable": 14,
    "decision-told-before-replicated": 5,
    "locks-kept-after-abort": 7,
    "locks-lost-after-restart": 5,
    "vote-told-before-replicated": 7,
}
"""Seeds of runs of four seconds; other bugs show there with the zoo's seed. How long a run is changes its faults."""


def is_found(planted: Planted, spec: RunSpec) -> bool:
    """Whether the run is INVALID by what the zoo says of the bug."""
    result = sweep.run_seed(spec)
    found = {name for name, part in result.result.verdict.parts.items() if part.validity is Validity.INVALID}
    return result.validity is Validity.INVALID and (planted.by in result.reason or planted.by in found)


@pytest.mark.parametrize("planted", zoo.PLANTED, ids=lambda planted: planted.bug)
@pytest.mark.long
def test_the_track_record(planted: Planted) -> None:
    spec = planted.spec(SEEDS_IN_SHORT.get(planted.bug))
    assert is_found(planted, spec if planted.bug in NEEDS_ITS_TIME else replace(spec, time_limit_s=4.0))


@pytest.mark.long
@pytest.mark.parametrize("planted", zoo.PLANTED, ids=lambda planted: planted.bug)
def test_the_seed_of_the_zoo_finds_the_bug(planted: Planted) -> None:
    assert is_found(planted, planted.spec())


def test_every_bug_has_a_seed() -> None:
    assert {planted.bug for planted in zoo.PLANTED} == {*BUGS}


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", zoo.SCENARIOS, ids=lambda scenario: scenario.name)
def test_20_seeds_are_valid(scenario: Scenario) -> None:
    assert not not_valid(scenario.base, range(1, 21))


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(14400)
@pytest.mark.parametrize(("mode", "seeds"), soak.SEEDS.items())
def test_many_seeds_are_strict_serializable(mode: str, seeds: int) -> None:
    """`python -m harness.soak.twopc STATE` runs the same, and goes on where it ended."""
    assert not not_valid(soak.BASES[mode], range(1, seeds + 1))
