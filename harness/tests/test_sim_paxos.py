"""Paxos in the simulation: the healthy cores under every fault of their model, and the track record of the bug zoo."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.errors import UsageError
from harness.run import plan
from harness.spec import RunSpec
from targets.paxos.single.target import BUGS as SINGLE_BUGS

SINGLE: dict[str, Any] = {
    "env": "sim",
    "target": "paxos-single",
    "workload": "consensus",
    "nemesis": ("partition", "kill", "restart-all", "pause", "loss", "clock", "late"),
    "interval_s": 1.0,
    "time_limit_s": 20.0,
    "rate_hz": 50.0,
}
"""The standard campaign of the single decree: decisions that are still open when nodes restart."""


def not_valid(seeds: range, **fields: Any) -> list[tuple[int, str, str]]:
    """The seeds that are not VALID, with the reason."""
    results = sweep.sweep(RunSpec(**fields), seeds)
    return [(one.seed, one.validity.name, one.reason) for one in results if one.validity is not Validity.VALID]


def test_the_single_decree_is_valid_under_every_fault_of_its_model() -> None:
    assert not not_valid(range(1, 4), **SINGLE)


@pytest.mark.parametrize("options", [{"phase_1_quorum": 4, "phase_2_quorum": 2}, {"phase_2_quorum": 1}])
def test_flexible_quorums_are_valid(options: dict[str, int]) -> None:
    assert not not_valid(range(1, 2), **SINGLE, target_options=options)


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_clusters_of_any_size_decide(nodes: int) -> None:
    names = tuple(f"n{number + 1}" for number in range(nodes))
    faults = ("kill", "clock") if nodes == 1 else SINGLE["nemesis"]
    assert not not_valid(range(1, 2), **{**SINGLE, "nodes": names, "nemesis": faults})


def test_quorums_that_can_miss_each_other_are_refused_before_the_run_unless_a_bug_wants_them() -> None:
    options = {"phase_1_quorum": 2, "phase_2_quorum": 3}
    with pytest.raises(UsageError, match="their sum must exceed the number of nodes, 5"):
        plan.prepare(RunSpec(**SINGLE, target_options=options))
    plan.prepare(RunSpec(**SINGLE, target_options=options, bugs=("quorums-that-miss",)))


SINGLE_SEEDS = {
    "forget-promise": 1,
    "forget-accepted": 2,
    "own-value-wins": 1,
    "highest-by-arrival": 25,
    "ballot-reused-after-restart": 16,
    "minority-quorum": 1,
    "learn-from-one": 1,
    "accept-below-promise": 1,
    "quorums-that-miss": 1,
}
"""Bug -> a seed of the standard campaign that finds it. A change of what any component draws makes another sweep necessary."""


@pytest.mark.parametrize("bug", SINGLE_BUGS)
def test_the_track_record_of_the_single_decree(bug: str) -> None:
    result = sweep.run_seed(RunSpec(**SINGLE, bugs=(bug,), seed=SINGLE_SEEDS[bug]))
    assert result.validity is Validity.INVALID
    assert result.reason


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_100_seeds_of_the_single_decree_are_valid() -> None:
    assert not not_valid(range(1, 101), **SINGLE)


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_5000_seeds_of_the_single_decree_are_valid() -> None:
    assert not not_valid(range(1, 5001), **SINGLE)
