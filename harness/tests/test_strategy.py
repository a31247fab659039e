"""Strategies of campaigns: which behaviours a run shows, and that `coverage` comes back to a state exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers import Validity
from harness.campaign.behaviour import behaviours
from harness.campaign.campaign_file import read_campaign
from harness.campaign.runner import CampaignRunner
from harness.campaign.state import CampaignFolder
from harness.campaign.strategy import CoverageStrategy, Lesson, RandomStrategy, Trial, run_trial
from harness.campaign.sweep import run_in
from harness.errors import UsageError
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.test_campaign import AtOnce
from histories.tracing import Appended, Committed, Crashed, Role, TraceEvent
from nemesis.schedule import outside_model
from targets import registry as targets

SPEC = RunSpec(
    env="sim",
    nodes=("n1", "n2", "n3"),
    nemesis=("partition", "kill"),
    interval_s=1.0,
    time_limit_s=4.0,
    env_options={"liveness_s": 0},
)


def seen(*rows: tuple[str, TraceEvent]) -> set[int]:
    timed = [(number, node, event) for number, (node, event) in enumerate(rows)]
    return set(behaviours(timed, ("n1", "n2", "n3")))


def test_which_node_it_is_and_how_high_the_terms_are_is_no_behaviour() -> None:
    one = seen(("n1", Role("leader", 3)), ("n1", Appended(7, 3, ("x",))), ("n2", Crashed(1)))
    assert one == seen(("n2", Role("leader", 8)), ("n2", Appended(2, 8, ("y",))), ("n3", Crashed(4)))
    assert one != seen(("n1", Role("leader", 3)), ("n1", Appended(7, 3, ("x",))), ("n1", Crashed(1)))


def test_an_entry_that_waits_for_an_old_term_is_one_and_how_many_entries_there_are_is_none() -> None:
    begun = (("n1", Role("leader", 1)), ("n1", Appended(1, 1, ("x",))))
    waits = seen(*begun, ("n1", Role("leader", 2)))
    assert waits != seen(*begun, ("n1", Committed(1)), ("n1", Role("leader", 2)))
    assert seen(*begun) == seen(*begun, ("n1", Appended(2, 1, ("y", "z"))))


def learned(strategy: CoverageStrategy, seeds: range) -> None:
    for seed in seeds:
        trial = strategy.choose(seed)
        result, faults, seen = run_trial(trial, observes=True)
        assert result.validity is Validity.VALID, result.reason
        strategy.learn(Lesson(trial, faults, seen))


@pytest.fixture(scope="module")
def taught() -> CoverageStrategy:
    strategy = CoverageStrategy(SPEC)
    learned(strategy, range(1, 4))
    return strategy


def branches(strategy: CoverageStrategy) -> list[Trial]:
    found = [trial for seed in range(100, 140) if (trial := strategy.choose(seed)).faults is not None]
    assert len(found) > 10
    return found


def test_a_branch_does_what_its_parent_did_up_to_that_moment(taught: CoverageStrategy) -> None:
    trial = max(branches(taught), key=lambda trial: trial.branch_ns)
    histories = []
    for faults in (None, trial.faults):  # The parent of a first branch is its spec's own run.
        sink = MemorySink("branch")
        run_in(sink, trial.spec, faults)
        histories.append([op for op in sink.history() if op.time <= trial.branch_ns])
    assert len(histories[0]) > 100
    assert histories[0] == histories[1]


def test_a_branch_stays_within_the_fault_model_and_can_be_planned_again(taught: CoverageStrategy) -> None:
    model = targets.find("raft").fault_model
    for trial in branches(taught):
        assert trial.faults is not None
        assert outside_model(trial.faults, model.survives, model.down_nodes_max) == []
        times = [entry.time_ns for entry in trial.faults.entries]
        assert times == sorted(times)
        assert max(times) > trial.branch_ns


def test_the_same_seeds_and_lessons_choose_the_same(taught: CoverageStrategy) -> None:
    other = CoverageStrategy(SPEC)
    learned(other, range(1, 4))
    assert [other.choose(seed) for seed in range(50, 60)] == [taught.choose(seed) for seed in range(50, 60)]
    assert RandomStrategy(SPEC).choose(7).faults is None


COVERED = """
name: covered
seeds: 1..9
jobs: 1
strategy: coverage
run: {time-limit: 3, nodes: 3, nemesis: "partition,kill", nemesis-interval: 0.5, bug: stale-read}
keep: 1
"""


@pytest.mark.long
def test_a_failing_branch_is_kept_with_its_faults_and_its_command_runs_it_again(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(COVERED)
    campaign = read_campaign(path)
    folder = CampaignFolder.create(tmp_path, campaign)
    CampaignRunner(Store(tmp_path), folder, campaign).run(AtOnce(), 1)
    branched = [outcome for outcome in folder.outcomes() if " --schedule " in outcome.command]
    assert branched
    for outcome in branched:
        assert Path(outcome.command.split(" --schedule ")[1]).is_file()


def test_a_strategy_that_there_is_not_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(COVERED.replace("strategy: coverage", "strategy: luck"))
    with pytest.raises(UsageError, match="line 5"):
        read_campaign(path)


def test_each_seed_of_a_swarm_draws_its_own_run(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text("run: {swarm: true, time-limit: 2}")
    strategy = RandomStrategy(read_campaign(path).cells[0].spec)
    drawn = [strategy.choose(seed).spec for seed in range(1, 9)]
    assert len({(spec.nodes, spec.nemesis) for spec in drawn}) > 4
    assert not any(spec.swarm for spec in drawn)
