"""How a campaign chooses its next simulated run of one combination.

`random`: each seed draws its run afresh. `coverage`: faults come at the pace at which rare behaviour shows; and in half of the runs
the faults of an earlier run that showed some are kept up to that moment, under the same seed, so that the cluster comes to exactly
the same state again, and from there on other faults follow. What the nodes traced says what is rare (harness.campaign.behaviour).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from statistics import fmean
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from harness.campaign.behaviour import Behaviours, BehaviourSink
from harness.campaign.sweep import SeedResult, run_in, spec_of_seed, tidied
from harness.run import plan
from harness.run.sinks import MemorySink
from harness.run.stage import prepare_stage
from harness.spec import RunSpec
from nemesis import schedule
from nemesis.family import Entry
from nemesis.registry import family_of
from nemesis.schedule import Schedule

PACES = ((-3.0, -2.25), (-2.25, -1.5), (-1.5, -0.75), (-0.75, 0.0))
"""Powers of two of the interval between faults, as a share of the spec's: a sweep draws from all of them alike."""

WORTHS_MAX = 8
"""So many runs say what a pace is worth: what was rare once may be common now."""

FRESH_SHARE = 0.5
"""Of the runs under `coverage`, so many are drawn afresh: they find the states that later ones begin at."""

BRANCHED_BY = 0.85
"""A moment later than this share of the run leaves no time for other faults."""

PARENTS_MAX = 4
"""Runs that are remembered of each behaviour: the latest."""

BEHAVIOURS_MAX = 20_000
"""More are not told apart from those that are known: the memory of a campaign of any length is bounded."""


class Trial(msgspec.Struct, frozen=True):
    """A run that was chosen. faults: its schedule; None: the spec's own. branch_ns: up to when it is a run that was made before.
    pace: number of its pace, where there is one."""

    spec: RunSpec
    faults: Schedule | None = None
    branch_ns: int = 0
    pace: int = 0


class Lesson(msgspec.Struct, frozen=True):
    """What a run teaches: the trial, the faults that it had, and what the cluster did."""

    trial: Trial
    faults: Schedule
    seen: Behaviours


class Strategy(Protocol):
    """observes: whether it wants to learn of the behaviours of its runs."""

    observes: bool

    def choose(self, seed: int) -> Trial:
        """The run of this seed."""
        ...

    def learn(self, lesson: Lesson) -> None:
        """The run is over."""
        ...


class RandomStrategy:
    """Draws each run afresh."""

    observes = False

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec

    def choose(self, seed: int) -> Trial:
        return Trial(spec_of_seed(self._spec, seed))

    def learn(self, lesson: Lesson) -> None:
        pass


class _Moment(msgspec.Struct, frozen=True):
    """When a run showed a behaviour first."""

    spec: RunSpec
    faults: Schedule
    time_ns: int


class CoverageStrategy:
    """Takes the pace of faults that shows rare behaviour, and goes on from moments of such.

    What it chooses depends on the spec, the seeds and what it has learned, in order.
    """

    observes = True

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._seen_count: Counter[int] = Counter()
        self._moments: dict[int, list[_Moment]] = {}
        self._worth: list[list[float]] = [[] for _ in PACES]
        """Of the latest runs at each pace: how rare what they showed was at that time."""

    def choose(self, seed: int) -> Trial:
        rng = Random(f"{seed}/coverage")
        pace = self._pace(rng)
        interval_s = max(0.05, round(self._spec.interval_s * 2 ** rng.uniform(*PACES[pace]), 3))
        if not self._moments or rng.random() < FRESH_SHARE:
            return Trial(replace(spec_of_seed(self._spec, seed), interval_s=interval_s), pace=pace)
        rare = list(self._moments)
        behaviour = rng.choices(rare, [1 / self._seen_count[each] for each in rare])[0]
        moment = rng.choice(self._moments[behaviour])
        faults = _branched(moment, replace(moment.spec, seed=seed, interval_s=interval_s))
        if faults is None:
            return Trial(replace(spec_of_seed(self._spec, seed), interval_s=interval_s), pace=pace)
        return Trial(moment.spec, faults, moment.time_ns, pace)

    def _pace(self, rng: Random) -> int:
        """One that has not been tried yet; otherwise the more likely the rarer what it showed lately."""
        if untried := [pace for pace, worth in enumerate(self._worth) if not worth]:
            return rng.choice(untried)
        return rng.choices(range(len(PACES)), [fmean(worth) ** 2 for worth in self._worth])[0]

    def learn(self, lesson: Lesson) -> None:
        trial = lesson.trial
        until_ns = trial.spec.time_limit_s * 1e9 * BRANCHED_BY
        worth = 0.0
        for behaviour, time_ns in lesson.seen.items():
            if behaviour not in self._seen_count and len(self._seen_count) >= BEHAVIOURS_MAX:
                continue
            self._seen_count[behaviour] += 1
            if time_ns <= trial.branch_ns:
                continue
            worth += 1 / self._seen_count[behaviour]
            if time_ns < until_ns:
                moments = self._moments.setdefault(behaviour, [])
                moments.append(_Moment(trial.spec, lesson.faults, time_ns))
                del moments[:-PARENTS_MAX]
        its = self._worth[trial.pace]
        its.append(worth)
        del its[:-WORTHS_MAX]


def _branched(moment: _Moment, fresh: RunSpec) -> Schedule | None:
    """The faults that had begun at the moment, and behind them those that `fresh` plans for later. None when there are none.

    Where both together would leave the target's fault model, as with too many nodes down at once, the new ones begin when all
    the old ones have ended.
    """
    kept = [group for group in _groups(moment.faults) if group[0].time_ns <= moment.time_ns]
    free_ns: dict[str, int] = {}
    for group in kept:
        name = family_of(group[0].f).name
        free_ns[name] = max(free_ns.get(name, 0), group[-1].time_ns)
    prepared = plan.prepare(fresh)
    model = prepared.target.fault_model_under(prepared.target_options)
    planned = _groups(prepare_stage(prepared, MemorySink("branch")).faults)
    for after_ns in (moment.time_ns, max(free_ns.values(), default=moment.time_ns)):
        added = [
            group for group in planned if group[0].time_ns > max(after_ns, free_ns.get(family_of(group[0].f).name, 0))
        ]
        longer = _schedule(moment.faults, [*kept, *added])
        if fresh.beyond_model or not schedule.outside_model(longer, model.survives, model.down_nodes_max):
            return longer if added else None
    return None


def _groups(faults: Schedule) -> list[list[Entry]]:
    """The entries of each fault, from its start to its stop."""
    return [[faults.entries[number] for number in window] for window in faults.windows()]


def _schedule(like: Schedule, groups: list[list[Entry]]) -> Schedule:
    entries = sorted((entry for group in groups for entry in group), key=lambda entry: entry.time_ns)
    return replace(like, entries=tuple(entries))


def run_trial(trial: Trial, observes: bool) -> tuple[SeedResult, Schedule, Behaviours]:
    """Run it in this process, in memory: how it ended, its faults, and what the cluster did where that is observed."""
    return tidied(trial.spec, lambda: _run_trial(trial, observes))


def _run_trial(trial: Trial, observes: bool) -> tuple[SeedResult, Schedule, Behaviours]:
    name = f"seed-{trial.spec.seed}"
    sink = BehaviourSink(name) if observes else MemorySink(name)
    result = run_in(sink, trial.spec, trial.faults)
    assert sink.faults is not None
    return result, sink.faults, sink.behaviours() if isinstance(sink, BehaviourSink) else {}


StrategyName = Literal["random", "coverage"]

STRATEGIES: Mapping[StrategyName, Callable[[RunSpec], Strategy]] = {
    "random": RandomStrategy,
    "coverage": CoverageStrategy,
}
"""Name -> how the runs of one spec are chosen."""
