"""Runs many seeds of one simulated run in several processes, in memory: the loop of a bug hunt. Those that fail can be kept.

A run here is the run of `themis test --env sim` with memory in place of a folder, so that the same seed gives the same history,
byte for byte, when somebody runs it again into a folder.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar, cast

import msgspec

from checkers.verdict import Validity
from harness.campaign import swarm
from harness.campaign.command_line import command_line
from harness.campaign.failing_seeds import Keeping, Kept, keep_seed
from harness.campaign.workers import worker_pool
from harness.environments.base import Environment
from harness.environments.sim.environment import SimEnvironment, collecting_seldom
from harness.environments.sim.world import TraceRow
from harness.errors import HarnessError, UsageError
from harness.report.summary import first_reason
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Result
from histories.history import History
from nemesis.schedule import Schedule

Run = TypeVar("Run")

AHEAD = 4
"""Seeds handed out per process beyond those whose turn it is: enough that none waits, few enough to stop soon."""


class SeedResult(msgspec.Struct, frozen=True):
    """How the run of one seed ended.

    result: as verdict.json would hold it, with the evidence. history: what clients saw, for a seed that is not VALID; otherwise
    None. virtual_s, cpu_s: how long it took in virtual time, and in CPU time of its thread. history_digest, trace_digest: SHA-256
    of the lines that the files would hold; empty when not asked for. command: the command line that runs it again, into a folder.
    kept: the folder that it has already; None when it was not to be kept.
    """

    seed: int
    result: Result
    virtual_s: float
    cpu_s: float
    command: str
    history: History | None = None
    history_digest: str = ""
    trace_digest: str = ""
    kept: Kept | None = None

    @property
    def validity(self) -> Validity:
        return self.result.verdict.validity

    @property
    def reason(self) -> str:
        """Why it is not VALID, or why the harness failed; empty when all is well."""
        return first_reason(self.result)


def run_seed(spec: RunSpec, with_digests: bool = False, keeping: Keeping | None = None) -> SeedResult:
    """Run one seed in this process. keeping: where it is kept if it is a finding; None: nowhere.

    Raises UsageError, and HarnessError with the command that runs the seed again when anything else goes wrong that is not in its
    result.
    """
    result = tidied(spec, lambda: _run_seed(spec, with_digests))
    return kept_in(keeping, spec, result) if keeping is not None and is_finding(result) else result


def kept_in(keeping: Keeping, spec: RunSpec, result: SeedResult) -> SeedResult:
    """The result of a seed, with the folder that is written for it now. Raises nothing but KeyboardInterrupt: what was found is
    told, whatever goes wrong with keeping it."""
    try:
        kept = tidied(spec, lambda: keep_seed(keeping, spec, result.result))
    except (Exception, SystemExit) as error:  # noqa: BLE001
        kept = Kept(problem=str(error) or type(error).__name__)
    return msgspec.structs.replace(result, kept=kept)


def tidied(spec: RunSpec, run: Callable[[], Run]) -> Run:
    """What `run` gives, which simulates `spec` and keeps nothing of it but that; the rest is gone when this returns. Raises as
    run_seed."""
    collections_count = full_collections()
    with collecting_seldom():
        try:
            result = run()
        except (UsageError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            again = f"themis --debug shows where: {command_line(spec)}"
            raise HarnessError(f"seed {spec.seed}: {type(error).__name__}: {error}\n  {again}") from error
        # A world's parts know each other in circles. All of it is still young, unless it was so long that garbage was looked for
        # within it, so that the collector need look at nothing else.
        gc.collect(0 if full_collections() == collections_count else 2)
    return result


def full_collections() -> int:
    """How often this process has looked at all of its objects for garbage."""
    return int(gc.get_stats()[2]["collections"])


def _run_seed(spec: RunSpec, with_digests: bool) -> SeedResult:
    if not with_digests:
        return run_in(MemorySink(f"seed-{spec.seed}"), spec)
    sink = TracedSink(f"seed-{spec.seed}")
    result = run_in(sink, spec)
    return msgspec.structs.replace(result, history_digest=digest(sink.history()), trace_digest=sink.trace_digest())


def run_in(sink: MemorySink, spec: RunSpec, faults: Schedule | None = None) -> SeedResult:
    """Run one seed into a sink of the caller's, which holds all of the simulated world. faults: the schedule; None: the spec's own.
    Raises whatever goes wrong that is not in its result."""
    if spec.env != "sim":
        raise UsageError(f"environment {spec.env}: only --env sim runs many seeds in memory")
    began_s = time.thread_time()
    result = execute(plan.prepare(spec, saved=faults), sink)
    cpu_s = time.thread_time() - began_s
    history, world = sink.history(), cast(SimEnvironment, sink.environment).world
    return SeedResult(
        seed=spec.seed,
        result=result,
        virtual_s=world.now_ns / 1e9,
        cpu_s=cpu_s,
        command=command_line(spec),
        history=None if result.verdict.validity is Validity.VALID else history,
    )


class TracedSink(MemorySink):
    """Also takes the digest of what the nodes trace, as it comes."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._traced = hashlib.sha256()
        self._encode = msgspec.json.Encoder(order="deterministic").encode

    @contextmanager
    def opened(self, environment: Environment, faults: Schedule) -> Iterator[None]:
        cast(SimEnvironment, environment).world.keep_traces = self._take
        with super().opened(environment, faults):
            yield

    def _take(self, rows: Sequence[TraceRow]) -> None:
        for row in rows:
            self._traced.update(self._encode(row) + b"\n")

    def trace_digest(self) -> str:
        """SHA-256 of the JSON lines of all that was traced."""
        assert self.environment is not None
        cast(SimEnvironment, self.environment).world.pass_on_traces()
        return self._traced.hexdigest()


def digest(rows: Sequence[Any]) -> str:
    """SHA-256 of the rows' JSON lines."""
    encoder = msgspec.json.Encoder(order="deterministic")
    total = hashlib.sha256()
    for row in rows:
        total.update(encoder.encode(row) + b"\n")
    return total.hexdigest()


def sweep(
    spec: RunSpec,
    seeds: Sequence[int],
    jobs: int = 1,
    *,
    fail_fast: bool = False,
    with_digests: bool = False,
    keeping: Keeping | None = None,
) -> Generator[SeedResult, None, None]:
    """The result of each seed, in order; with `fail_fast` the first finding (is_finding) is the last.

    jobs: processes; 1 runs everything in this one, and keeps nothing. keeping: where the processes keep findings (is_finding);
    None: nowhere. Raises UsageError when the spec cannot be run or there are no seeds.
    """
    if not seeds:
        raise UsageError("no seeds: give a range such as 1..1000")
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least one process is needed")
    plan.prepare(spec)
    if jobs == 1:
        for seed in seeds:
            result = run_seed(spec_of_seed(spec, seed), with_digests)
            yield result
            if fail_fast and is_finding(result):
                return
        return
    done = 0
    try:
        with worker_pool(jobs) as executor:
            for result in sweep_on(
                executor, spec, seeds, jobs, fail_fast=fail_fast, with_digests=with_digests, keeping=keeping
            ):
                done += 1
                yield result
    except BrokenExecutor as error:
        raise HarnessError(
            f"a worker of the sweep was killed from outside after {done} seeds, perhaps because memory ran out: "
            "fewer --jobs need less"
        ) from error


def is_finding(result: SeedResult) -> bool:
    """Whether a hunt has found something: a seed that only proves nothing (vacuous) is none, and the next may prove much."""
    if result.validity is not Validity.UNKNOWN or result.result.harness:
        return result.validity is not Validity.VALID
    parts = result.result.verdict.parts
    return any(part.validity is not Validity.VALID for name, part in parts.items() if name != "vacuity")


def spec_of_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The spec of one seed of a sweep: with a mean fault interval of its own, from an eighth of the spec's to all of it.

    A sweep looks for what one configuration would not show (swarm testing: Groce et al., ISSTA 2012): long faults for slow
    recoveries, rapid ones for races. With `spec.swarm` much else is drawn too (harness.campaign.swarm). The command line of a
    seed names the interval, so that it repeats the run.
    """
    is_swarm = spec.swarm
    if is_swarm:
        spec = swarm.drawn(spec, seed)
    interval_s = round(spec.interval_s * 2 ** Random(f"{seed}/sweep").uniform(-3, 0), 3)
    least_s = min(spec.interval_s, swarm.INTERVAL_S_MIN) if is_swarm else 0.05
    return msgspec.structs.replace(spec, seed=seed, interval_s=max(least_s, interval_s))


def sweep_on(
    executor: Executor,
    spec: RunSpec,
    seeds: Sequence[int],
    jobs: int,
    *,
    fail_fast: bool = False,
    with_digests: bool = False,
    keeping: Keeping | None = None,
) -> Generator[SeedResult, None, None]:
    """As `sweep`, on the workers of `executor`, of which there are `jobs`. Raises BrokenExecutor when one of them is gone."""
    left = iter(seeds)
    waiting: deque[tuple[Future[SeedResult], bool]] = deque()
    kept_count = 0
    try:
        while True:
            while len(waiting) < jobs * AHEAD and (seed := next(left, None)) is not None:
                # As many may be kept as there is room for, if all that are being run now are.
                is_room = keeping is not None and kept_count + sum(may for _, may in waiting) < keeping.at_most
                kept = keeping if is_room else None
                waiting.append((executor.submit(run_seed, spec_of_seed(spec, seed), with_digests, kept), is_room))
            if not waiting:
                return
            result = waiting.popleft()[0].result()
            kept_count += result.kept is not None
            yield result
            if fail_fast and is_finding(result):
                return
    finally:
        for future, _ in waiting:
            future.cancel()
