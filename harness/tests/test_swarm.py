"""Swarms: what each seed draws is within the model, can be run again from its own command line, and is the seed's alone."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import swarm, sweep
from harness.campaign.command_line import command_line
from harness.cli import run_command
from harness.errors import USAGE
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from histories.op import NEMESIS

SWARM = RunSpec(env="sim", swarm=True, time_limit_s=10.0)
SEEDS = range(1, 61)
TARGETS = [("raft", "register"), ("paxos", "register"), ("paxos-single", "consensus")]


@pytest.mark.long
def test_every_drawn_scenario_can_be_run_and_none_is_a_swarm() -> None:
    drawn = [sweep.spec_of_seed(SWARM, seed) for seed in SEEDS]
    for spec in drawn:
        plan.prepare(spec)
        assert not spec.swarm
    assert drawn == [sweep.spec_of_seed(SWARM, seed) for seed in SEEDS]
    for field in (
        "nodes",
        "nemesis",
        "rate_hz",
        "concurrency",
        "fault_share",
        "calm_share",
        "client_timeout_s",
        "workload_options",
        "env_options",
        "target_options",
    ):
        values = {str(getattr(spec, field)) for spec in drawn}
        assert len(values) > 1, f"{field} is the same for all seeds"
    assert {len(spec.nodes) for spec in drawn} == set(range(2, 8))
    assert {len(spec.nemesis) for spec in drawn} == set(range(1, 6))


@pytest.mark.parametrize(("target", "workload"), TARGETS)
@pytest.mark.long
def test_moments_come_with_faults_that_bring_them_about(target: str, workload: str) -> None:
    for seed in range(1, 301):
        drawn = swarm.drawn(RunSpec(env="sim", swarm=True, target=target, workload=workload, seed=seed), seed).nemesis
        assert not all(name.partition(":")[0] in swarm.BRIEF for name in drawn), (seed, drawn)


def test_what_differs_from_the_default_stays_and_moves_nothing_else() -> None:
    fixed: dict[str, Any] = {
        "nodes": ("a", "b", "c"),
        "rate_hz": 7.0,
        "workload_options": {"read": 1, "write": 1, "cas": 1},
        "target_options": {"pre_vote": "true"},
        "env_options": {"transport": "stream"},
    }
    for seed in SEEDS:
        free = swarm.drawn(SWARM, seed)
        spec = swarm.drawn(RunSpec(env="sim", swarm=True, time_limit_s=10.0, nemesis=("kill", "pause"), **fixed), seed)
        for field, value in fixed.items():
            if field != "target_options":
                assert getattr(spec, field) == value
        assert spec.target_options["pre_vote"] == "true"
        assert set(spec.nemesis) <= {"kill", "pause"}
        assert (spec.concurrency, spec.client_timeout_s) == (free.concurrency, free.client_timeout_s)
        assert spec.target_options == free.target_options | {"pre_vote": "true"}


@pytest.mark.parametrize("target", ["raft", "paxos"])
@pytest.mark.long
def test_leases_meet_only_clocks_that_they_bear(target: str) -> None:
    """Clocks that drift only where the stated bound has room for it, and with Raft none that jump."""
    spec = RunSpec(env="sim", swarm=True, target=target, time_limit_s=10.0)
    drawn = [sweep.spec_of_seed(spec, seed) for seed in range(1, 400)]
    leased = [spec for spec in drawn if spec.target_options["reads"] == "lease"]
    clocks = {"clock", "clock:drift"}
    narrow = [
        spec
        for spec in leased
        if spec.target_options.get("lease_drift") == 1.0 or spec.target_options.get("clock_drift_max") == 0.0
    ]
    assert len(narrow) > 20
    assert len(leased) > len(narrow) + 5
    assert not [spec for spec in narrow if clocks & set(spec.nemesis)]
    assert [spec for spec in leased if clocks & set(spec.nemesis)]
    assert target == "paxos" or not [spec for spec in leased if "clock" in spec.nemesis]


def test_options_are_drawn_that_bear_the_faults_of_the_spec() -> None:
    spec = RunSpec(env="sim", swarm=True, target="raft", time_limit_s=10.0, nemesis=("clock:jump", "kill"))
    drawn = [sweep.spec_of_seed(spec, seed) for seed in range(1, 60)]
    for one in drawn:
        plan.prepare(one)
    assert "lease" not in {one.target_options["reads"] for one in drawn}
    assert len({one.target_options["reads"] for one in drawn}) == 2


def test_shapes_have_the_nodes_that_they_need() -> None:
    shaped = RunSpec(env="sim", swarm=True, nemesis=("partition:bridge", "partition:ring"))
    for seed in SEEDS:
        assert len(swarm.drawn(shaped, seed).nodes) >= 3


@pytest.mark.parametrize("seed", [3, 4])
def test_the_command_line_of_a_seed_runs_it_again(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep.spec_of_seed(SWARM, seed)
    seen: list[RunSpec] = []

    def prepare(given: RunSpec, *_: Any, **__: Any) -> Any:
        seen.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "prepare", prepare)
    run_command(shlex.split(command_line(spec))[1:])
    (again,) = seen
    assert command_line(again) == command_line(spec)
    assert (again.nodes, again.nemesis, again.env_options) == (spec.nodes, spec.nemesis, spec.env_options)


def test_seeds_of_a_swarm_are_valid_or_prove_nothing() -> None:
    results = list(sweep.sweep(SWARM, range(1, 5)))
    assert [one.reason for one in results if sweep.is_finding(one)] == []
    assert any(one.validity is Validity.VALID for one in results)


def test_the_calm_lasts_also_where_faults_fall_behind_their_schedule() -> None:
    """Restarts every quarter of a second take longer than that: without a rest the calm would be over before it began."""
    spec = RunSpec(
        env="sim",
        nemesis=("restart-all:once",),
        interval_s=0.25,
        calm_share=0.4,
        time_limit_s=10.0,
        seed=3,
        fault_share=0.7,
    )
    sink = MemorySink("calm")
    verdict = execute(plan.prepare(spec), sink).verdict
    assert verdict.validity is Validity.VALID, verdict.reason
    struck = [op.time for op in sink.history().ops if op.process == NEMESIS]
    calm_ns, begins_ns = max((after - before, before) for before, after in pairwise(struck))
    assert 4e9 <= calm_ns < 4.5e9
    served = sum(op.type == "ok" and begins_ns + 1e9 < op.time < begins_ns + calm_ns for op in sink.history().clients())
    assert served > 100


@pytest.mark.parametrize(
    ("target", "workload"), [("raft", "register"), ("paxos", "register"), ("paxos-single", "consensus")]
)
@pytest.mark.long
def test_no_seed_of_a_swarm_is_vacuous(target: str, workload: str) -> None:
    spec = RunSpec(env="sim", swarm=True, target=target, workload=workload, time_limit_s=12.0)
    assert [
        (one.seed, one.reason) for one in sweep.sweep(spec, range(11, 15)) if one.validity is not Validity.VALID
    ] == []


@pytest.mark.long
@pytest.mark.timeout(14400)
@pytest.mark.parametrize(
    "seeds",
    [
        *(range(first, first + 50) for first in range(1, 151, 50)),
        pytest.param(range(151, 5_001), marks=pytest.mark.soak),
    ],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
@pytest.mark.parametrize(("target", "workload"), TARGETS)
def test_seeds_of_healthy_consensus_are_valid(target: str, workload: str, seeds: range) -> None:
    """Not one is stuck or vacuous either. harness.soak.consensus does the same, and can be stopped and continued."""
    spec = RunSpec(env="sim", swarm=True, target=target, workload=workload, time_limit_s=12.0)
    assert [(one.seed, one.reason) for one in sweep.sweep(spec, seeds) if one.validity is not Validity.VALID] == []


def test_a_hunt_goes_on_behind_a_seed_that_proves_nothing() -> None:
    """A run of half a second has no 100,000 ok ops."""
    vacuous = RunSpec(env="sim", rate_hz=8.0, time_limit_s=0.5, vacuity={"ok_min": 100_000})
    results = list(sweep.sweep(vacuous, range(1, 4), fail_fast=True))
    assert [one.validity for one in results] == [Validity.UNKNOWN] * 3
    found = list(sweep.sweep(RunSpec(env="sim", bugs=("no-fsync",), nemesis=("kill",)), range(1, 9), fail_fast=True))
    assert found[-1].validity is Validity.INVALID
    assert all(one.validity is Validity.VALID for one in found[:-1])


def test_a_swarm_without_seeds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["test", "--env", "sim", "--swarm"]) == USAGE
    assert "add --seeds" in capsys.readouterr().err
