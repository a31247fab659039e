"""Turns a failing run of real nodes into a simulated one that fails again exactly.

The run's faults and its clients' operations, as they really happened, are simulated under many seeds. Real nodes keep other time
than simulated ones: from the second try on all of it goes a little faster or slower, and each fault begins a little sooner or
later. A machine that is busy is a slow network: every third try has one.

The simulation watches every invariant at every step, so that it often ends a run before that shows which the real nodes showed.
Then the same try is made again without the invariant that ended it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count, islice
from random import Random

import msgspec
from msgspec.structs import replace

from harness.campaign.case import Case, Failed, recorded_case, run_case, squeezed
from harness.errors import UsageError
from harness.report.anomaly import anomaly_classes, bug_class
from harness.run import plan
from harness.store.runs import RunDirectory
from histories import jsonl
from histories.units import NS_PER_MS
from histories.wellformed import MalformedHistory
from nemesis import schedule
from nemesis.schedule import BadSchedule
from targets.target import CoreTarget

PACE_MAX = 1.25
"""How much faster or slower a try goes at most."""

SHIFT_NS_MAX = 300 * NS_PER_MS
"""By how much a fault begins and ends sooner or later at most: about an election."""

UNWATCHED_MAX = 4
"""Invariants of one try that are left unwatched, one after the other."""

SLOW_MS = (1.0, 100.0)
"""Of the mean delays of slow networks: the least and the greatest."""

OTHERS_MAX = 50
"""Tries that fail in another way, after which no more are made."""


def simulated_case(run: RunDirectory) -> tuple[Case, tuple[str, ...]]:
    """The stored run as a case of the simulation, and the classes of its anomalies.

    Raises UsageError for a run that cannot be read, that is not INVALID, whose target has no simulation, or whose faults have none.
    """
    spec = run.read_spec()
    result = run.read_result()
    classes = () if result is None else anomaly_classes(result)
    if not classes:
        raise UsageError(
            f"{run.path}: the run is not INVALID, so there is nothing to look for; `themis analyze` checks it again"
        )
    if spec.env == "sim":
        raise UsageError(f"{run.path}: a simulated run already fails again exactly: themis shrink {run.path}")
    if not isinstance(plan.find_target(spec.target), CoreTarget):
        raise UsageError(
            f"{spec.target}: a program outside the project has no simulation; only cores have (docs/cores.md)"
        )
    try:
        planned = schedule.load(run.schedule, spec.nodes)
        history = jsonl.read(run.history).history
    except (BadSchedule, MalformedHistory) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}") from error
    case = recorded_case(replace(spec, env="sim", env_options={}), planned, history)
    plan.prepare(case.spec, saved=case.faults, script=case.script)
    return case, classes


def varied(case: Case, number: int) -> Case:
    """The try of this number: the first is the case itself, under seed 0."""
    rng = Random(f"{case.spec.seed}/lift/{number}")
    changed = replace(case, spec=replace(case.spec, seed=number))
    if number == 0:
        return changed
    if number % 3 == 2:
        least_ms, most_ms = SLOW_MS
        delay_ms = round(least_ms * (most_ms / least_ms) ** rng.random(), 1)
        slow = {**changed.spec.env_options, "delay": "lognormal", "delay_ms_mean": delay_ms}
        changed = replace(changed, spec=replace(changed.spec, env_options=slow))
    if number % 2:
        changed = squeezed(changed, PACE_MAX ** rng.uniform(-1, 1))
    entries = list(changed.faults.entries)
    for window in changed.faults.windows():
        shift_ns = rng.randint(-SHIFT_NS_MAX, SHIFT_NS_MAX)
        for at in window:
            entries[at] = replace(entries[at], time_ns=max(0, entries[at].time_ns + shift_ns))
    entries.sort(key=lambda entry: entry.time_ns)
    return replace(changed, faults=replace(changed.faults, entries=tuple(entries)))


def nearness(failed: Failed, wanted: frozenset[str]) -> int:
    """2: it has an anomaly of a wanted class; 1: of a class that the same bug may show (anomaly.bug_class); 0: of neither."""
    if wanted.intersection(failed.classes):
        return 2
    return int(not set(map(bug_class, wanted)).isdisjoint(map(bug_class, failed.classes)))


def try_number(case: Case, number: int, wanted: frozenset[str]) -> Failed | None:
    """How the try of this number fails; None: it does not.

    wanted: classes of anomalies. Where an invariant that is none of them ends the run, it runs again with that one unwatched, and
    so on, until it fails as wanted or cannot go on; otherwise its nearest failure is returned, the first of those alike.
    """
    case = varied(case, number)
    nearest = failed = run_case(case)
    for _ in range(UNWATCHED_MAX):
        if nearest is None or failed is None or nearness(failed, wanted) == 2:
            break
        rules = [name for kind, _, name in (one.partition("/") for one in failed.classes) if kind == "invariants"]
        if not rules:
            break
        unwatched = [*case.spec.env_options.get("unwatched", ()), *rules]
        case = replace(case, spec=replace(case.spec, env_options={**case.spec.env_options, "unwatched": unwatched}))
        failed = run_case(case)
        if failed is not None and nearness(failed, wanted) > nearness(nearest, wanted):
            nearest = failed
    return nearest


class Lifted(msgspec.Struct, frozen=True):
    """What was found. failed: how a try fails as the real run did; None: none did. other: how one fails in another way, as near to
    that as any did; None where `failed` is there, or every try was good. tried_count: how many there were."""

    failed: Failed | None
    other: Failed | None
    tried_count: int


def lift(
    case: Case,
    classes: tuple[str, ...],
    *,
    executor: Executor,
    jobs: int,
    budget_s: float,
    show: Callable[[int], None] = lambda tried: None,
) -> Lifted:
    """Try until one fails with an anomaly of one of `classes`, or the budget is used up, or so many have failed in another way that
    this one will not come: the simulation sees some bugs before clients can.

    executor: has `jobs` workers. show: is told how many were tried.
    """
    deadline_s = time.monotonic() + budget_s
    wanted = frozenset(classes)
    numbers = count()
    waiting: deque[Future[Failed | None]] = deque()
    other: Failed | None = None
    tried_count = other_count = 0
    try:
        while True:
            if time.monotonic() < deadline_s and other_count < OTHERS_MAX:
                for number in islice(numbers, 2 * jobs - len(waiting)):
                    waiting.append(executor.submit(try_number, case, number, wanted))
            if not waiting:
                return Lifted(None, other, tried_count)
            failed = waiting.popleft().result()
            tried_count += 1
            show(tried_count)
            if failed is None:
                continue
            if wanted.intersection(failed.classes):
                return Lifted(failed, None, tried_count)
            other_count += 1
            if other is None or nearness(failed, wanted) > nearness(other, wanted):
                other = failed
    finally:
        for future in waiting:
            future.cancel()
