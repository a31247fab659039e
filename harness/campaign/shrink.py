"""Makes a failing simulated run smaller: fewer faults, ops, keys, nodes and seconds, while the same class of anomaly remains.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 2002) over the schedule and
the script of the run. A smaller run is another run: an op less shifts every delay that the network draws after it. Hence each
candidate is tried under a few seeds, and keeps the one that failed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from harness.campaign.case import (
    TIME_LIMIT_S_MIN,
    Case,
    Failed,
    first_failure,
    squeezed,
    until,
    with_fewer_clients,
    without_node,
)
from harness.generators.script import Script, ScriptedOp
from histories.units import NS_PER_S

SEEDS_COUNT = 4
"""Seeds that a candidate is tried under: its own, and the others beside it."""

AFTER_FAILURE_NS = 10_000_000
"""How long a run that is made to end early goes on after the failure, so that the failed op is in it."""

Part = TypeVar("Part")


class OutOfTime(Exception):
    """The budget is used up; what was found so far stands."""


class Shrinker:
    """Shrinks one failing case, step by step. `failed` is at any time the smallest that was found, and how it fails.

    executor: runs candidates in `jobs` processes; None: in this one. The result does not depend on it unless time runs out.
    budget_s: of wall time. say: is told of each case that is smaller.
    """

    def __init__(
        self,
        failed: Failed,
        *,
        executor: Executor | None = None,
        jobs: int = 1,
        budget_s: float = 60.0,
        seeds_count: int = SEEDS_COUNT,
        say: Callable[[Case], None] = lambda case: None,
    ) -> None:
        self.failed = failed
        self.wanted = failed.classes[0]
        """The class of anomaly that every step keeps."""
        self.tried_count = 0
        self.is_minimal = False
        self._executor, self._jobs = executor, jobs
        self._deadline_s = time.monotonic() + budget_s
        self._seeds_count = seeds_count
        self._say = say

    @property
    def best(self) -> Case:
        """The smallest case that was found."""
        return self.failed.case

    def shrink(self) -> Failed:
        """The smallest case that the budget allows, and how it fails. `is_minimal`: no step makes it smaller."""
        steps = (
            self._end_early,
            self._keep_one_key,
            self._keep_what_shows_it,
            self._drop_faults,
            self._drop_clients,
            self._drop_ops,
            self._drop_fault_ops,
            self._drop_nodes,
            self._drop_options,
            self._take_less_time,
        )
        try:
            while not self.is_minimal:
                before = self.best
                for step in steps:
                    step()
                self.is_minimal = self.best == before
        except OutOfTime:
            pass
        return self.failed

    def _end_early(self) -> None:
        failed_ns = self.failed.failed_ns
        if failed_ns is not None and failed_ns + AFTER_FAILURE_NS < self.best.spec.time_limit_s * NS_PER_S:
            self._accept_first([until(self.best, failed_ns + AFTER_FAILURE_NS)])

    def _keep_one_key(self) -> None:
        key = self.failed.key
        self._keep_ops(lambda op: bool(op.key == key))
        keys = tuple(dict.fromkeys(repr(op.key) for op in self.best.script.ops))
        if len(keys) > 1:
            self._minimise(keys, lambda kept: self._with_ops(lambda op: repr(op.key) in kept))

    def _keep_what_shows_it(self) -> None:
        shown = self.failed.shown
        self._keep_ops(lambda op: (op.time_ns, op.f) in shown)

    def _drop_faults(self) -> None:
        """Whole faults, each from its begin to its end."""
        faults = self.best.faults
        self._minimise(
            faults.windows(),
            lambda kept: replace(self.best, faults=faults.only({number for window in kept for number in window})),
        )

    def _drop_fault_ops(self) -> None:
        faults = self.best.faults
        self._minimise(range(len(faults.entries)), lambda kept: replace(self.best, faults=faults.only(kept)))

    def _drop_clients(self) -> None:
        self._minimise(self.best.threads, lambda kept: self._with_ops(lambda op: op.thread in kept))

    def _drop_ops(self) -> None:
        self._minimise(self.best.script.ops, lambda kept: replace(self.best, script=Script(ops=tuple(kept))))

    def _drop_nodes(self) -> None:
        if self.best.spec.concurrency > with_fewer_clients(self.best).spec.concurrency:
            self._accept_first([with_fewer_clients(self.best)])
        for node in self.best.spec.nodes:
            if len(self.best.spec.nodes) > 1:
                self._accept_first([without_node(self.best, node)])

    def _drop_options(self) -> None:
        spec = self.best.spec
        for name in spec.env_options:
            left = {key: value for key, value in self.best.spec.env_options.items() if key != name}
            self._accept_first([replace(self.best, spec=replace(self.best.spec, env_options=left))])
        for name in spec.target_options:
            left = {key: value for key, value in self.best.spec.target_options.items() if key != name}
            self._accept_first([replace(self.best, spec=replace(self.best.spec, target_options=left))])

    def _take_less_time(self) -> None:
        for factor in (0.5, 0.8):
            while self.best.spec.time_limit_s > TIME_LIMIT_S_MIN and self._accept_first([squeezed(self.best, factor)]):
                pass

    def _with_ops(self, keeps: Callable[[ScriptedOp], bool]) -> Case:
        return replace(self.best, script=self.best.script.only(keeps))

    def _keep_ops(self, keeps: Callable[[ScriptedOp], bool]) -> None:
        """Only these ops, where that is fewer and still fails."""
        smaller = self._with_ops(keeps)
        if len(smaller.script.ops) < len(self.best.script.ops):
            self._accept_first([smaller])

    def _minimise(self, parts: Sequence[Part], build: Callable[[Sequence[Part]], Case]) -> None:
        """Take away as many of the parts as can be: first all, then halves, and so on to single ones. `build` makes the case with
        only the parts that it is given; the best case has all of them."""
        left = list(parts)
        size = len(left)
        while size:
            at = 0
            while at < len(left):
                starts = range(at, len(left), size)
                accepted = self._accept_first([build(left[:i] + left[i + size :]) for i in starts])
                if accepted is None:
                    break
                at = starts[accepted]
                del left[at : at + size]
            size //= 2

    def _accept_first(self, candidates: Sequence[Case]) -> int | None:
        """The first candidate, in this order, that still fails is the best case now; its number, or None when there is none.

        Raises OutOfTime.
        """
        for number, failed in enumerate(self._outcomes(candidates)):
            self.tried_count += 1
            if failed is not None:
                self.failed = failed
                self._say(failed.case)
                return number
        return None

    def _outcomes(self, candidates: Sequence[Case]) -> Iterator[Failed | None]:
        """How each candidate fails, in their order. Several are tried at once where there are processes. Raises OutOfTime."""
        if self._executor is None:
            for candidate in candidates:
                self._check_time()
                yield first_failure(candidate, self.wanted, self._seeds_count)
            return
        waiting: deque[Future[Failed | None]] = deque()
        left = iter(candidates)
        try:
            while True:
                self._check_time()
                for candidate in islice(left, self._jobs - len(waiting)):
                    waiting.append(self._executor.submit(first_failure, candidate, self.wanted, self._seeds_count))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _check_time(self) -> None:
        if time.monotonic() >= self._deadline_s:
            raise OutOfTime
