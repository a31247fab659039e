"""Paxos in the simulation: the healthy cores under every fault of their model, and the track record of the bug zoo."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.errors import UsageError
from harness.run import plan
from harness.spec import RunSpec
from targets.paxos.multi.target import BUGS as MULTI_BUGS
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
    assert not not_valid(range(1, 3), **SINGLE)


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


# --- Multi-Paxos ------------------------------------------------------------------------------------------------------

MULTI: dict[str, Any] = {
    "env": "sim",
    "target": "paxos",
    "nemesis": ("partition", "kill", "restart-all", "pause", "loss", "clock", "late"),
    "interval_s": 1.0,
    "time_limit_s": 20.0,
}
"""The standard campaign of Multi-Paxos."""

SNAPSHOTS: dict[str, Any] = {
    **MULTI,
    "nodes": ("n1", "n2", "n3"),
    "nemesis": ("partition", "kill", "late", "duplicate", "reorder", "disk:lose-unsynced", "disk:torn-write", "slow"),
    "target_options": {"snapshot_entries": 7, "snapshot_chunk_chars": 30},
    "vacuity": {"attempts_min": 50},
}
"""Snapshots all the time, in many parts, some of them late or twice. Where so little gets through, every one of 27 cas may fail."""

LEASES: dict[str, Any] = {
    **MULTI,
    "nodes": ("n1", "n2", "n3"),
    "nemesis": ("partition:primary", "clock:drift", "late", "pause"),
    "interval_s": 2.0,
    "fault_share": 0.6,
    "time_limit_s": 30.0,
    "target_options": {"reads": "lease", "heartbeat_ms": 20},
    "workload_options": {"read": 10, "write": 3, "cas": 0},
}
"""Leaders that are cut off while clocks run at half and double speed, and clients that read."""


def test_multi_paxos_is_valid_under_every_fault_of_its_model() -> None:
    assert not not_valid(range(1, 2), **MULTI)


def test_a_trace_that_a_crash_cut_off_is_no_violation() -> None:
    """n4's acceptance was on disk and not traced when it died; the leader asked again, and a value was chosen with it."""
    assert not not_valid(range(154, 155), **{**MULTI, "time_limit_s": 20.0})


@pytest.mark.parametrize("campaign", [SNAPSHOTS, LEASES], ids=["snapshots", "leases"])
def test_multi_paxos_is_valid_where_it_hurts(campaign: dict[str, Any]) -> None:
    assert not not_valid(range(1, 2), **campaign)


@pytest.mark.parametrize("workload", ["counter", "set", "queue", "lock", "consensus"])
def test_every_machine_runs_on_multi_paxos(workload: str) -> None:
    assert not not_valid(range(1, 2), **{**MULTI, "workload": workload, "time_limit_s": 6.0})


@pytest.mark.parametrize("options", [{"phase_1_quorum": 4, "phase_2_quorum": 2}, {"reads": "log"}])
def test_multi_paxos_is_valid_under_its_options(options: dict[str, Any]) -> None:
    assert not not_valid(range(1, 2), **{**MULTI, "target_options": options, "time_limit_s": 10.0})


MULTI_SEEDS: dict[str, tuple[int, dict[str, Any]]] = {
    "forget-promise": (1, MULTI),
    "forget-accepted": (1, MULTI),
    "own-value-wins": (1, MULTI),
    "highest-by-arrival": (1, MULTI),
    "ballot-reused-after-restart": (12, MULTI),
    "minority-quorum": (1, MULTI),
    "learn-from-one": (1, MULTI),
    "accept-below-promise": (1, MULTI),
    "quorums-that-miss": (2, MULTI),
    "gap-skipped": (1, MULTI),
    "no-op-overwrites": (1, MULTI),
    "lease-overlap": (9, LEASES),
}
"""Bug -> a seed that finds it, and the campaign."""


@pytest.mark.parametrize("bug", MULTI_BUGS)
def test_the_track_record_of_multi_paxos(bug: str) -> None:
    seed, campaign = MULTI_SEEDS[bug]
    result = sweep.run_seed(RunSpec(**campaign, bugs=(bug,), seed=seed))
    assert result.validity is Validity.INVALID
    assert result.reason


@pytest.mark.parametrize(
    ("mutant", "seed"),
    [
        ("removed_multi_promised", 1),
        ("removed_multi_accepted", 1),
        ("swapped_multi_promised", 1),
        ("swapped_multi_accepted", 4),
        ("removed_single_promised", 1),
        ("removed_single_accepted", 1),
        ("removed_single_drawn", 16),
        ("swapped_single_promised", 1),
    ],
)
def test_a_record_that_is_not_written_or_late_is_noticed(mutant: str, seed: int) -> None:
    """What no seed notices, the order of effects does: targets/tests/test_paxos_single.py and test_paxos_multi.py."""
    campaign = SINGLE if "single" in mutant else MULTI
    result = sweep.run_seed(RunSpec(**{**campaign, "target": f"harness.tests.paxos_mutants:{mutant}"}, seed=seed))
    assert result.validity is Validity.INVALID


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("campaign", [MULTI, SNAPSHOTS, LEASES], ids=["standard", "snapshots", "leases"])
def test_100_seeds_of_multi_paxos_are_valid(campaign: dict[str, Any]) -> None:
    assert not not_valid(range(1, 101), **campaign)


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_5000_seeds_of_multi_paxos_are_valid() -> None:
    assert not not_valid(range(1, 5001), **MULTI)
