"""Runs a campaign: simulated runs on many processes, real ones one after another, each outcome noted as it comes."""

from __future__ import annotations

import shlex
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice

import msgspec

from checkers import Validity
from harness.campaign import swarm
from harness.campaign.campaign_file import Campaign
from harness.campaign.case import run_case
from harness.campaign.command_line import command_line
from harness.campaign.findings import findings_of
from harness.campaign.outcome import Outcome, Simulated, outcome_of, simulated
from harness.campaign.reproduction import SHRUNK, keep, read_case, run_again
from harness.campaign.shrink import Shrinker
from harness.campaign.state import CampaignFolder, Shrunk, lesson
from harness.campaign.strategy import STRATEGIES, Strategy, Trial
from harness.campaign.sweep import AHEAD
from harness.errors import Interrupted, UsageError
from harness.report.page.due import write_due
from harness.run import plan
from harness.run.execute import run_into
from harness.store.runs import RunDirectory, Store


class Counts(msgspec.Struct, frozen=True):
    """How far a campaign is. left_s: until its budget is used up; None where it has none."""

    done: int
    total: int
    endings: dict[str, int]
    failed_classes: int
    rate_hz: float
    left_s: float | None

    @property
    def words(self) -> str:
        """One line."""
        told = ", ".join(f"{count} {name}" for name, count in self.endings.items() if count)
        left = "" if self.left_s is None else f", {self.left_s / 60:.0f} min left"
        kinds = "kind" if self.failed_classes == 1 else "kinds"
        return (
            f"{self.done} of {self.total} runs, {self.rate_hz:.1f} a second{left}"
            f"{f'; {told}' if told else ''}; {self.failed_classes} {kinds} of failure so far"
        )


class _Waiting(msgspec.Struct, frozen=True):
    """A run whose turn has not come. trial, future: of a simulated one that was not done before."""

    cell: int
    seed: int
    trial: Trial | None = None
    future: Future[Simulated] | None = None


class CampaignRunner:
    """Runs what is left of the campaign in `folder`.

    show: is told how far it is, often. say: is told of each kind of failure when it is first seen.
    """

    def __init__(
        self,
        store: Store,
        folder: CampaignFolder,
        campaign: Campaign,
        *,
        show: Callable[[Counts], None] = lambda counts: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._store, self._folder, self._campaign = store, folder, campaign
        self._show, self._say = show, say
        self._before = {(outcome.cell, outcome.seed): outcome for outcome in folder.outcomes()}
        self._learned = folder.learned()
        self._endings: Counter[str] = Counter()
        self._kept: Counter[tuple[int, str]] = Counter()
        self._failed: Counter[int] = Counter()
        self._done_count = 0
        self._spent_s = max((outcome.elapsed_s for outcome in self._before.values()), default=0.0)
        self._began_s = time.monotonic()
        self._strategies: dict[int, Strategy] = {}

    @property
    def elapsed_s(self) -> float:
        """For how long the campaign has run, with what it ran before it was interrupted."""
        return self._spent_s + time.monotonic() - self._began_s

    @property
    def is_over(self) -> bool:
        """The budget is used up."""
        return self._campaign.budget_s is not None and self.elapsed_s >= self._campaign.budget_s

    def run(self, executor: Executor, jobs: int) -> None:
        """Do every run that is left, until the budget is used up. `executor` has `jobs` workers.

        Runs are noted, and learned from, in the order in which they were chosen, and each is chosen when a fixed number of those
        before it are noted. So what is chosen does not depend on how fast each ended. What was done before an interruption goes
        through the same order again without being run, so that a resumed campaign goes on as if nothing had happened.
        """
        waiting: deque[_Waiting] = deque()
        tasks = self._tasks()
        try:
            while True:
                waiting.extend(
                    self._begin(executor, cell, seed)
                    for cell, seed in islice(tasks, max(0, jobs * AHEAD - len(waiting)))
                )
                if not waiting:
                    return
                self._end(waiting.popleft())
        finally:
            for each in waiting:
                if each.future is not None:
                    each.future.cancel()

    def _begin(self, executor: Executor, cell: int, seed: int) -> _Waiting:
        """What was done before and what real nodes do has nothing to begin: its turn comes."""
        if (cell, seed) in self._before or self._campaign.cells[cell].spec.env != "sim":
            return _Waiting(cell, seed)
        strategy = self._strategy(cell)
        trial = strategy.choose(seed)
        return _Waiting(cell, seed, trial, executor.submit(simulated, cell, seed, trial, strategy.observes))

    def _end(self, run: _Waiting) -> None:
        """Its turn has come: wait for it, learn from it, note it."""
        key = (run.cell, run.seed)
        if (before := self._before.get(key)) is not None:
            if (packed := self._learned.pop(key, None)) is not None and (known := lesson(packed)) is not None:
                self._strategy(run.cell).learn(known)
            self._count(before)
            return
        if run.future is None:
            self._do_for_real(run.cell, run.seed)
            return
        done = run.future.result()
        if done.lesson is not None:
            self._strategy(run.cell).learn(done.lesson)
            # Before its outcome: a run that has one is not done again.
            self._folder.add_lesson(run.cell, run.seed, done.lesson)
        self._note(done.outcome, run.trial)

    def _strategy(self, cell: int) -> Strategy:
        """The one of this combination, with what it has learned."""
        if cell not in self._strategies:
            self._strategies[cell] = STRATEGIES[self._campaign.strategy](self._campaign.cells[cell].spec)
        return self._strategies[cell]

    def _tasks(self) -> Iterator[tuple[int, int]]:
        for task in self._campaign.tasks():
            if task not in self._before and self.is_over:
                return
            if not self._campaign.rests(self._failed[task[0]]):
                yield task

    def _do_for_real(self, cell: int, seed: int) -> None:
        """One run in a real environment, noted, and kept unless it is good. Raises Interrupted where a signal ended it: then only a
        violation is noted, and another outcome is left to `resume`."""
        spec = self._campaign.cells[cell].spec
        spec = swarm.drawn(spec, seed) if spec.swarm else msgspec.structs.replace(spec, seed=seed)
        began_s = time.process_time()
        run, result = run_into(self._store, plan.prepare(msgspec.structs.replace(spec, name=self._campaign.name)))
        outcome = outcome_of(cell, seed, result, command_line(spec))
        interrupted = (
            Interrupted(signal.Signals[result.signal], f"in the middle of {run.path}") if result.signal else None
        )
        if interrupted and outcome.validity is not Validity.INVALID:
            raise interrupted
        if outcome.is_good:
            self._store.remove(run)
        elif problem := write_due(run, result):
            self._say(problem)
        path = "" if outcome.is_good else str(run.path)
        self._note(msgspec.structs.replace(outcome, cpu_s=time.process_time() - began_s, run=path), None)
        if interrupted:
            raise interrupted

    def _note(self, outcome: Outcome, trial: Trial | None) -> None:
        """The run is done: on the disk, counted, and kept as a folder where it is one of the first of its kind to fail.

        trial: what was simulated; None for a run of real nodes.
        """
        if trial is not None and trial.faults is not None and not outcome.is_good:
            file = self._folder.keep_schedule(outcome.cell, outcome.seed, trial.faults)
            outcome = msgspec.structs.replace(outcome, command=f"{outcome.command} --schedule {shlex.quote(str(file))}")
        if outcome.validity is Validity.INVALID:
            kept_count = self._kept[self._kind(outcome)]
            if not kept_count:
                self._say(f"{self._campaign.cells[outcome.cell].title}, seed {outcome.seed}: {outcome.words}")
            if trial is not None and kept_count < self._campaign.keep:
                try:
                    outcome = msgspec.structs.replace(outcome, run=str(self._again(trial).path))
                except UsageError as error:  # What was found is noted, whatever the disk says.
                    self._say(f"not kept: {error}")
        self._folder.add(msgspec.structs.replace(outcome, elapsed_s=round(self.elapsed_s, 3)))
        self._count(outcome)
        rate_hz = (self._done_count - len(self._before)) / max(time.monotonic() - self._began_s, 1e-9)
        budget_s = self._campaign.budget_s
        self._show(
            Counts(
                self._done_count,
                self._campaign.tasks_count,
                dict(self._endings),
                len(self._kept),
                rate_hz,
                None if budget_s is None else max(0.0, budget_s - self.elapsed_s),
            )
        )

    def _count(self, outcome: Outcome) -> None:
        if outcome.validity is Validity.INVALID:
            self._kept[self._kind(outcome)] += bool(outcome.run)
            self._failed[outcome.cell] += 1
        self._endings[outcome.validity.name] += 1
        self._done_count += 1

    def _kind(self, outcome: Outcome) -> tuple[int, str]:
        return outcome.cell, outcome.classes[0] if outcome.classes else ""

    def _again(self, trial: Trial) -> RunDirectory:
        """The simulated run once more, into the store."""
        spec = msgspec.structs.replace(trial.spec, name=self._campaign.name)
        run, _, problem = run_again(self._store, plan.prepare(spec, saved=trial.faults))
        if problem:
            self._say(problem)
        return run

    def shrink(self, executor: Executor, jobs: int) -> None:
        """Shrink the first simulated run of each finding that was not shrunk before."""
        if self._campaign.shrink_s is None:
            return
        done = {(shrunk.cell, shrunk.seed) for shrunk in self._folder.shrunk_runs()}
        for finding in findings_of(self._campaign, self._folder.outcomes(self._campaign)):
            kept = [each for each in finding.outcomes if each.run and self._is_simulated(each)]
            if not kept or any((each.cell, each.seed) in done for each in finding.outcomes):
                continue
            try:
                failed = run_case(read_case(RunDirectory(self._folder.place_of(kept[0].run))))
            except UsageError as error:  # The run was removed since, or damaged.
                self._say(f"{finding.title}: not shrunk: {error}")
                continue
            if failed is None:
                self._say(f"{finding.title}: {kept[0].run} does not fail again, so it is not shrunk")
                continue
            shrinker = Shrinker(failed, executor=executor, jobs=jobs, budget_s=self._campaign.shrink_s)
            shrinker.shrink()
            try:
                run = keep(self._store, shrinker.failed, self._campaign.name, SHRUNK)
            except UsageError as error:
                self._say(f"{finding.title}: the shrunk run is not kept: {error}")
                continue
            self._say(f"{finding.title}: shrunk to {shrinker.best.size}: {run.path}")
            self._folder.add_shrunk(
                Shrunk(cell=kept[0].cell, seed=kept[0].seed, run=str(run.path), size=shrinker.best.size)
            )

    def _is_simulated(self, outcome: Outcome) -> bool:
        return self._campaign.cells[outcome.cell].spec.env == "sim"
