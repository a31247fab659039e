"""The bug zoo as a measure of the harness: how soon a strategy finds each planted bug, by what, and how small the run gets.

A hunt makes runs until one is INVALID; UNKNOWN ends no hunt. Each hunt begins at seeds of its own, so that hunts are independent.
What is said of runs and checkers is the same on every machine; CPU times are this machine's.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future

import msgspec

from checkers.evidence import Invariants
from checkers.verdict import Validity, Verdict
from harness.campaign.case import recorded_case, run_case
from harness.campaign.real_nodes import OnRealNodes
from harness.campaign.shrink import Shrinker
from harness.campaign.strategy import STRATEGIES, Lesson, StrategyName, run_trial
from harness.campaign.sweep import run_in, run_seed
from harness.run.sinks import MemorySink
from harness.zoo.scenario import Planted, Scenario

HUNT_SEEDS = 1000
"""Seeds between the beginnings of two hunts, and the most runs of one."""


class Hunt(msgspec.Struct, frozen=True):
    """runs_count: up to the first INVALID one, or all of them when there was none. cpu_s: of all of these runs."""

    strategy: StrategyName
    runs_count: int
    cpu_s: float
    is_found: bool


class Shrinking(msgspec.Struct, frozen=True):
    """How small the run of a bug's seed gets: its client ops, fault ops and nodes, and the seconds that this took."""

    client_ops: int
    fault_ops: int
    nodes: int
    cpu_s: float


class Row(msgspec.Struct, frozen=True):
    """One bug's record. found: of the first `seeds` seeds. by: which checkers or invariants found it there, and how often. real: on
    real nodes; None: not tried."""

    planted: Planted
    found: int
    seeds: int
    by: tuple[tuple[str, int], ...]
    hunts: tuple[Hunt, ...]
    shrinking: Shrinking | None
    real: OnRealNodes | None = None

    @property
    def is_found(self) -> bool:
        on_real_nodes = self.real is not None and self.real.is_found
        return bool(self.found) or on_real_nodes or any(hunt.is_found for hunt in self.hunts)

    def of(self, strategy: StrategyName) -> tuple[Hunt, ...]:
        """The hunts under this strategy."""
        return tuple(hunt for hunt in self.hunts if hunt.strategy == strategy)

    def runs(self, strategy: StrategyName) -> float:
        """The median number of runs of a hunt; inf when most found nothing."""
        counts = [hunt.runs_count if hunt.is_found else math.inf for hunt in self.of(strategy)]
        return statistics.median(counts) if counts else math.nan

    def cpu_s(self, strategy: StrategyName) -> float:
        """The median CPU seconds of a hunt; inf when most found nothing."""
        costs = [hunt.cpu_s if hunt.is_found else math.inf for hunt in self.of(strategy)]
        return statistics.median(costs) if costs else math.nan


class Healthy(msgspec.Struct, frozen=True):
    """How many of the seeds of a scenario are not VALID although nothing is planted."""

    scenario: Scenario
    not_valid: int
    seeds: int


def found_by(verdict: Verdict) -> str:
    """The invariant or the checker that says INVALID."""
    for name, part in sorted(verdict.parts.items()):
        if part.validity is Validity.INVALID:
            evidence = part.evidence
            if isinstance(evidence, Invariants) and evidence.violation is not None:
                return evidence.violation.rule
            return name
    return verdict.checker


def hunted(planted: Planted, strategy: StrategyName, number: int, runs_max: int) -> Hunt:
    """The hunt of this number, from 1."""
    began_s = time.thread_time()
    chosen = STRATEGIES[strategy](planted.spec(0))
    for count in range(1, runs_max + 1):
        trial = chosen.choose(number * HUNT_SEEDS + count)
        result, faults, seen = run_trial(trial, chosen.observes)
        if result.validity is Validity.INVALID:
            return Hunt(strategy, count, time.thread_time() - began_s, is_found=True)
        chosen.learn(Lesson(trial, faults, seen))
    return Hunt(strategy, runs_max, time.thread_time() - began_s, is_found=False)


def finder(planted: Planted, seed: int) -> str:
    """Who finds the bug in this seed of its scenario; "" when nobody does."""
    result = run_seed(planted.spec(seed))
    return found_by(result.result.verdict) if result.validity is Validity.INVALID else ""


def shrunk(planted: Planted, budget_s: float) -> Shrinking | None:
    """The run of the bug's own seed, shrunk; None when it is not INVALID."""
    began_s = time.thread_time()
    spec = planted.spec()
    sink = MemorySink(f"seed-{spec.seed}")
    run_in(sink, spec)
    assert sink.faults is not None
    failed = run_case(recorded_case(spec, sink.faults, sink.history()))
    if failed is None:
        return None
    best = Shrinker(failed, budget_s=budget_s).shrink().case
    return Shrinking(
        len(best.script.ops), len(best.faults.entries), len(best.spec.nodes), round(time.thread_time() - began_s, 1)
    )


def is_false_alarm(scenario: Scenario, seed: int) -> bool:
    """Whether the seed is not VALID although nothing is planted."""
    return run_seed(scenario.spec(seed)).validity is not Validity.VALID


class Measurement:
    """The record of one bug, while it is computed by the workers of `executor`."""

    def __init__(
        self,
        executor: Executor,
        planted: Planted,
        *,
        seeds: int,
        hunts: int,
        runs_max: int,
        strategies: Iterable[StrategyName],
        shrink_s: float,
    ) -> None:
        self._planted = planted
        self._finders: list[Future[str]] = [executor.submit(finder, planted, seed) for seed in range(1, seeds + 1)]
        self._hunts: list[Future[Hunt]] = [
            executor.submit(hunted, planted, strategy, number, runs_max)
            for strategy in strategies
            for number in range(1, hunts + 1)
        ]
        self._shrunk = executor.submit(shrunk, planted, shrink_s) if shrink_s else None

    def row(self) -> Row:
        """The record, once all of it is there."""
        by = Counter(name for future in self._finders if (name := future.result()))
        return Row(
            self._planted,
            by.total(),
            len(self._finders),
            tuple(by.most_common()),
            tuple(hunt.result() for hunt in self._hunts),
            None if self._shrunk is None else self._shrunk.result(),
        )


def healthy(executor: Executor, scenario: Scenario, seeds: int) -> Healthy:
    """The false alarms of the first seeds of a scenario."""
    alarms = [executor.submit(is_false_alarm, scenario, seed) for seed in range(1, seeds + 1)]
    return Healthy(scenario, sum(alarm.result() for alarm in alarms), seeds)


def ratios(rows: Sequence[Row], rare_runs: float = 10) -> list[float]:
    """Of each bug that `random` finds in a median of more than `rare_runs` runs: how many times as many as `coverage` it takes.

    A bug for which either took all runs of most of its hunts has none.
    """
    pairs = [(row.runs("random"), row.runs("coverage")) for row in rows if row.of("random") and row.of("coverage")]
    return [random / coverage for random, coverage in pairs if rare_runs < random < math.inf and coverage < math.inf]
