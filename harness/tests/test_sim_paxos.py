"""Paxos in the simulation: the healthy cores under every fault of their model, and the track record of the bug zoo."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.errors import UsageError
from harness.run import plan
from harness.spec import RunSpec
from harness.zoo import paxos as zoo
from harness.zoo.scenario import Planted
from targets.paxos.multi.target import BUGS as MULTI_BUGS
from targets.paxos.single.target import BUGS as SINGLE_BUGS

SINGLE, MULTI, SNAPSHOTS, LEASES = zoo.SINGLE.base, zoo.MULTI.base, zoo.SNAPSHOTS.base, zoo.LEASES.base


def not_valid(base: RunSpec, seeds: range, **fields: Any) -> list[tuple[int, str, str]]:
    """The seeds that are not VALID, with the reason."""
    results = sweep.sweep(replace(base, **fields), seeds)
    return [(one.seed, one.validity.name, one.reason) for one in results if one.validity is not Validity.VALID]


@pytest.mark.long
def test_the_single_decree_is_valid_under_every_fault_of_its_model() -> None:
    assert not not_valid(SINGLE, range(1, 3))


@pytest.mark.parametrize("options", [{"phase_1_quorum": 4, "phase_2_quorum": 2}, {"phase_2_quorum": 1}])
@pytest.mark.long
def test_flexible_quorums_are_valid(options: dict[str, int]) -> None:
    assert not not_valid(SINGLE, range(1, 2), target_options=options)


@pytest.mark.parametrize("nodes", [1, 2, 4])
@pytest.mark.long
def test_clusters_of_any_size_decide(nodes: int) -> None:
    names = tuple(f"n{number + 1}" for number in range(nodes))
    faults = ("kill", "clock") if nodes == 1 else SINGLE.nemesis
    assert not not_valid(SINGLE, range(1, 2), nodes=names, nemesis=faults)


def test_quorums_that_can_miss_each_other_are_refused_before_the_run_unless_a_bug_wants_them() -> None:
    options = {"phase_1_quorum": 2, "phase_2_quorum": 3}
    with pytest.raises(UsageError, match="their sum must exceed the number of nodes, 5"):
        plan.prepare(replace(SINGLE, target_options=options))
    plan.prepare(replace(SINGLE, target_options=options, bugs=("quorums-that-miss",)))


@pytest.mark.parametrize("planted", zoo.PLANTED, ids=lambda planted: f"{planted.target}-{planted.bug}")
@pytest.mark.long
def test_the_track_record(planted: Planted) -> None:
    result = sweep.run_seed(planted.spec())
    assert result.validity is Validity.INVALID
    assert result.reason


def test_every_bug_has_a_seed() -> None:
    found = {(planted.target, planted.bug) for planted in zoo.PLANTED}
    assert found == {*(("paxos-single", bug) for bug in SINGLE_BUGS), *(("paxos", bug) for bug in MULTI_BUGS)}


# --- Multi-Paxos ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_multi_paxos_is_valid_under_every_fault_of_its_model() -> None:
    assert not not_valid(MULTI, range(1, 2))


def test_a_trace_that_a_crash_cut_off_is_no_violation() -> None:
    """n4's acceptance was on disk and not traced when it died; the leader asked again, and a value was chosen with it."""
    assert not not_valid(MULTI, range(154, 155), time_limit_s=20.0)


@pytest.mark.parametrize("campaign", [SNAPSHOTS, LEASES], ids=["snapshots", "leases"])
def test_multi_paxos_is_valid_where_it_hurts(campaign: RunSpec) -> None:
    assert not not_valid(campaign, range(1, 2))


@pytest.mark.parametrize("workload", ["counter", "set", "queue", "lock", "consensus"])
@pytest.mark.long
def test_every_machine_runs_on_multi_paxos(workload: str) -> None:
    assert not not_valid(MULTI, range(1, 2), workload=workload, time_limit_s=6.0)


@pytest.mark.parametrize("options", [{"phase_1_quorum": 4, "phase_2_quorum": 2}, {"reads": "log"}])
@pytest.mark.long
def test_multi_paxos_is_valid_under_its_options(options: dict[str, Any]) -> None:
    assert not not_valid(MULTI, range(1, 2), target_options=options, time_limit_s=10.0)


@pytest.mark.parametrize(
    ("mutant", "seed"),
    [
        ("removed_multi_promised", 1),
        ("removed_multi_accepted", 1),
        ("swapped_multi_promised", 1),
        ("swapped_multi_accepted", 19),
        ("removed_single_promised", 1),
        ("removed_single_accepted", 1),
        ("removed_single_drawn", 16),
        ("swapped_single_promised", 1),
    ],
)
def test_a_record_that_is_not_written_or_late_is_noticed(mutant: str, seed: int) -> None:
    """What no seed notices, the order of effects does: targets/tests/test_paxos_single.py and test_paxos_multi.py."""
    campaign = SINGLE if "single" in mutant else MULTI
    result = sweep.run_seed(replace(campaign, target=f"harness.tests.paxos_mutants:{mutant}", seed=seed))
    assert result.validity is Validity.INVALID


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seeds", [40, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(14400)])])
@pytest.mark.parametrize("campaign", [SNAPSHOTS, LEASES], ids=["snapshots", "leases"])
def test_seeds_of_multi_paxos_are_valid(campaign: RunSpec, seeds: int) -> None:
    assert not not_valid(campaign, range(1, seeds + 1))
