"""One key: two searches over the same configurations, interleaved, and the verdict of whichever decides first.

Depth first finds a witness at once in most valid histories and drowns in some invalid ones; forward refutes with little
memory and drowns in high concurrency. They take turns in one thread, each for a slice of configurations, and a search
that moves through the history keeps its turn. Nothing depends on time unless a time limit ends it, so the same history
gives the same answer, from the native core and from its pure twin.
"""

from __future__ import annotations

import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol

from checkers.linearizability import native
from checkers.linearizability.depth import Depth
from checkers.linearizability.encode import Entries, Entry, columns
from checkers.linearizability.forward import Forward
from checkers.linearizability.guide import Guide
from checkers.linearizability.outcome import Outcome
from checkers.linearizability.problem import Problem
from checkers.linearizability.result import Configuration, SearchResult
from checkers.linearizability.table import Table, steps_for
from checkers.models.model import Model
from checkers.verdict import Validity

Core = Literal["auto", "native", "pure"]

SLICE_MIN, SLICE_MAX = 1 << 14, 1 << 20
"""Configurations in a turn; it doubles from the first to the second while neither search moves."""

CHUNK = {"native": 1 << 15, "pure": 1 << 9}
"""Configurations between two looks at the clock, at most: some 10 ms where each is cheap."""

CHUNK_MIN = 1 << 5
CHUNK_NS = 10_000_000
"""The chunk after a longer one is shorter, down to CHUNK_MIN: configurations of long lists or of many crashed classes cost a
thousand times more than others. A chunk that took less than a quarter is doubled.
"""

MEMORY_MAX = 1 << 23
"""Failed configurations that depth first remembers: up to about 700 MB."""

WIDTH_MAX = 1 << 22
"""Configurations that forward keeps at one event: up to about 500 MB."""

REFUTED_EXTRA = 1 << 18
"""Configurations that may always be spent on finding the exact event once the history is refuted; or as many as before
it.
"""


class Cancellation:
    """Tells searches in other threads to stop; they look about every 10 ms."""

    def __init__(self) -> None:
        self.reason = ""

    def cancel(self, reason: str) -> None:
        """Every search that holds this ends as UNKNOWN with the reason."""
        self.reason = reason


class _Depth(Protocol):
    """Depth, or its native twin."""

    @property
    def explored(self) -> int: ...
    @property
    def deepest(self) -> int: ...
    @property
    def forgot(self) -> bool: ...
    def run(self, until: int) -> Outcome: ...
    def linearization(self) -> Sequence[int]: ...
    def configurations(self) -> tuple[Configuration, ...]: ...


class _Forward(Protocol):
    """Forward, or its native twin."""

    @property
    def explored(self) -> int: ...
    @property
    def bound(self) -> int: ...
    @property
    def is_refuted(self) -> bool: ...
    @property
    def restarts(self) -> int: ...
    @property
    def widest(self) -> int: ...
    @property
    def reached(self) -> int: ...
    def refute(self, k: int) -> None: ...
    def run(self, until: int) -> Outcome: ...
    def linearization(self) -> Sequence[int]: ...
    def configurations(self) -> tuple[Configuration, ...]: ...


def search(
    entries: Sequence[Entry],
    model: Model,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
    stop: Cancellation | None = None,
    core: Core = "auto",
    table: Table | None = None,
) -> SearchResult:
    """Whether one object's operations are linearizable.

    states_max: configurations to explore in all; time_limit_s: wall time. What runs out makes the answer UNKNOWN, with
    how far it got. Memory is bounded in any case, with the same effect. table: a complete one for these entries'
    operations. A model that raises makes it UNKNOWN with the traceback. Raises ValueError for a core that is not there.
    """
    began_ns = time.perf_counter_ns()
    encoded = columns(entries)
    name = chosen_core(core)
    if stop is not None and stop.reason:
        return SearchResult(Validity.UNKNOWN, reason=stop.reason, stats={"core": name, "ns": 0})
    try:
        turns = _Turns(*_searches(encoded, model, name, table), len(encoded.returns))
        result = turns.decide(states_max, time_limit_s, stop or Cancellation(), encoded)
    except Exception as error:  # noqa: BLE001 - a model is a stranger's code: what it raises is a finding, not a crash
        reason = f"the model {model.name} raised {type(error).__name__}: {error}"
        result = SearchResult(Validity.UNKNOWN, reason=reason, traceback=traceback.format_exc(), stats={"core": name})
    result.stats["ns"] = time.perf_counter_ns() - began_ns
    return result


def chosen_core(wanted: Core) -> str:
    """ "native" or "pure". Raises ValueError when the native core is wanted and not there."""
    if wanted == "native" and native.core is None:
        raise ValueError("the native core is not built here: no C++ compiler was found at installation")
    if wanted == "auto":
        return "pure" if native.core is None or native.is_pure_forced() else "native"
    return wanted


class _Searches(NamedTuple):
    """depth: makes a search for a path that reaches the return event (-1: all of them). core: what they are of.
    impossible: the first return of an operation that no state allows. is_guided: depth first leaves out dead ends.
    """

    depth: Callable[[int], _Depth]
    forward: _Forward
    core: str
    impossible: int | None
    is_guided: bool


def _searches(entries: Entries, model: Model, core: str, table: Table | None) -> _Searches:
    op: Sequence[int] | None = None
    if table is None:
        operations = entries.operations
        if len(entries) < len(operations):  # The list is shared with other keys.
            used = sorted(set(entries.op))
            numbers = {number: place for place, number in enumerate(used)}
            op = array("i", [numbers[number] for number in entries.op])
            operations = [entries.operations[number] for number in used]
        table = Table(model, operations, steps_for(len(entries)))
    op = entries.op if op is None else op
    never, is_guiding = table.never(), table.is_guiding
    impossible = next((k for k, i in enumerate(entries.returns) if op[i] in never), None) if never else None
    if core == "native":
        assert native.core is not None
        problem = native.core.Problem(entries, table, op)
        if problem.width <= native.core.WIDTH_MAX:
            share = _share(problem.width, problem.class_count)
            guide = native.core.Guide(problem, table.landings()) if is_guiding else None
            depth = partial(native.core.Depth, problem, MEMORY_MAX // share, guide)
            forward = native.core.Forward(problem, WIDTH_MAX // share)
            return _Searches(depth, forward, "native", impossible, is_guiding)
    twin = Problem(entries, table, op)
    share = _share(twin.width, len(twin.class_op))
    pure_guide = Guide(twin, table.landings()) if is_guiding else None
    return _Searches(
        partial(Depth, twin, MEMORY_MAX // share, pure_guide),
        Forward(twin, WIDTH_MAX // share),
        "pure",
        impossible,
        is_guiding,
    )


def _share(width: int, classes: int) -> int:
    """How many times more a configuration needs than one of 64 slots and no crashed operation."""
    return max(1, -(-width // 64)) + classes // 8


class _Interrupted(Exception):
    """A budget ended. The message is the reason."""


def next_chunk(chunk: int, took_ns: int, chunk_max: int) -> int:
    """How many configurations to explore before the next look at the clock, when the last `chunk` took `took_ns`."""
    if took_ns > CHUNK_NS:
        return max(CHUNK_MIN, chunk * CHUNK_NS // took_ns)
    return min(chunk_max, 2 * chunk) if took_ns < CHUNK_NS // 4 else chunk


class _Turns:
    """Who searches next, and what the outcomes mean."""

    def __init__(
        self,
        make_depth: Callable[[int], _Depth],
        forward: _Forward,
        core: str,
        impossible: int | None,
        is_guided: bool,
        size: int,
    ) -> None:
        """The first as in _Searches. size: how many operations returned."""
        self.make_depth = make_depth
        self.depth = make_depth(-1)
        self.forward = forward
        self.size = size
        self.core = core
        self.impossible = impossible
        self.is_guided = is_guided
        self._chunk = CHUNK_MIN
        self.located = 0  # Configurations of the searches that found out where a refuted history fails.
        if impossible is not None:
            forward.refute(impossible)

    def decide(
        self, states_max: int | None, time_limit_s: float | None, stop: Cancellation, entries: Entries
    ) -> SearchResult:
        """Take turns until one search decides or a budget ends."""
        self._states_max = states_max
        self._deadline_ns = None if time_limit_s is None else time.monotonic_ns() + int(time_limit_s * 1e9)
        self._stop = stop
        self._entries = entries
        try:
            return self._take_turns()
        except _Interrupted as interrupted:
            return self._at_bound() if self.forward.is_refuted else self._unknown(str(interrupted))

    def _take_turns(self) -> SearchResult:
        depth, forward = self.depth, self.forward
        slice_, is_forward_alive = SLICE_MIN, True
        while True:
            before = depth.deepest
            match self._turn(depth, slice_):
                case Outcome.FOUND:
                    return self._valid(depth.linearization(), "depth first")
                case Outcome.EXHAUSTED if self.is_guided:
                    return self._locate()
                case Outcome.EXHAUSTED:
                    return self._refuted(depth.deepest, depth.configurations(), "depth first")
            if depth.deepest - before >= max(1, slice_ // 16):
                continue
            if self.impossible is not None:
                return self._sharpen(is_forward_alive)
            has_moved = is_forward_alive
            while has_moved:
                before, passes = forward.reached, forward.restarts
                match self._turn(forward, slice_):
                    case Outcome.FOUND:
                        return self._valid(forward.linearization(), "forward")
                    case Outcome.EXHAUSTED:
                        return self._refuted(forward.bound, forward.configurations(), "forward")
                    case Outcome.GAVE_UP:
                        is_forward_alive = False
                if forward.is_refuted:
                    return self._sharpen(is_forward_alive)
                has_moved = (
                    is_forward_alive and passes == forward.restarts and forward.reached - before >= max(1, slice_ // 64)
                )
            if not is_forward_alive and depth.forgot:
                return self._unknown("both searches ran out of memory")
            slice_ = min(2 * slice_, SLICE_MAX)

    def _locate(self) -> SearchResult:
        """The history is refuted by a search that left out dead ends, which it saw ahead; find the return event at
        which it fails, if that costs no more than refuting it did: the first that no path reaches, judged by what
        returns up to it.
        """
        passed, failing = self.depth.deepest, self.size - 1  # Everything before `passed` can be explained.
        sample = self.depth.configurations()
        until = max(self.depth.explored, REFUTED_EXTRA)
        stride = 1
        while passed < failing:
            k = min(passed + stride - 1, failing - 1) if stride else (passed + failing) // 2
            trial = self.make_depth(k + 1)
            outcome = Outcome.RUNNING
            try:
                while outcome is Outcome.RUNNING and self.located + trial.explored < until:
                    outcome = self._turn(trial, SLICE_MIN)
            except _Interrupted:
                outcome = Outcome.RUNNING
            self.located += trial.explored
            match outcome:
                case Outcome.FOUND:
                    passed, sample, stride = trial.deepest, trial.configurations(), 2 * stride
                case Outcome.EXHAUSTED:
                    failing, stride = k, 0
                case _:
                    return self._refuted(failing, (), "depth first", is_shortest=False)
        return self._refuted(failing, sample, "depth first")

    def _sharpen(self, is_alive: bool) -> SearchResult:
        """The history is refuted; find the exact return event, if that costs no more than refuting it did."""
        explored = self.forward.explored
        until = explored + max(explored, REFUTED_EXTRA)
        while is_alive and self.depth.deepest < self.forward.bound and self.forward.explored < until:
            match self._turn(self.forward, SLICE_MIN):
                case Outcome.EXHAUSTED:
                    return self._refuted(self.forward.bound, self.forward.configurations(), "forward")
                case Outcome.GAVE_UP:
                    is_alive = False
        return self._at_bound()

    def _at_bound(self) -> SearchResult:
        """Refuted at an event that depth first could not pass either, or else perhaps at an earlier one."""
        bound = self.forward.bound
        if self.depth.deepest == bound:
            return self._refuted(bound, self.depth.configurations(), "forward")
        return self._refuted(bound, (), "forward", is_shortest=False)

    def _turn(self, searching: _Depth | _Forward, slice_: int) -> Outcome:
        """Let one search explore so many configurations. Raises _Interrupted when a budget ends first."""
        end = searching.explored + slice_
        outcome = Outcome.RUNNING
        while outcome is Outcome.RUNNING and searching.explored < end:
            until = min(end, searching.explored + self._chunk)
            if self._states_max is not None:
                left = self._states_max - self.depth.explored - self.forward.explored - self.located
                if searching is not self.depth and searching is not self.forward:
                    left -= searching.explored
                if left <= 0:
                    raise _Interrupted(f"the budget of {self._states_max:,} configurations is used up")
                until = min(until, searching.explored + left)
            if self._stop.reason:
                raise _Interrupted(self._stop.reason)
            if self._deadline_ns is not None and time.monotonic_ns() >= self._deadline_ns:
                raise _Interrupted("the time limit ended")
            began_ns = time.monotonic_ns()
            outcome = searching.run(until)
            self._chunk = next_chunk(self._chunk, time.monotonic_ns() - began_ns, CHUNK[self.core])
        return outcome

    def _stats(self, decided_by: str) -> dict[str, object]:
        return {
            "core": self.core,
            "decided_by": decided_by,
            "configurations": self.depth.explored + self.forward.explored + self.located,
            "depth_first_configurations": self.depth.explored + self.located,
            "forward_configurations": self.forward.explored,
            "forward_width_max": self.forward.widest,
            "forward_passes": self.forward.restarts + 1,
        }

    def _valid(self, linearization: Sequence[int], decided_by: str) -> SearchResult:
        stats = self._stats(decided_by)
        return SearchResult(Validity.VALID, linearization, stats=stats, linearizable_up_to=self.size)

    def _refuted(
        self, k: int, sample: tuple[Configuration, ...], decided_by: str, *, is_shortest: bool = True
    ) -> SearchResult:
        return SearchResult(
            Validity.INVALID,
            failed_at=self._entries.returns[k],
            is_shortest=is_shortest,
            final_configurations=sample,
            stats=self._stats(decided_by),
            linearizable_up_to=k if is_shortest else self.depth.deepest,
        )

    def _unknown(self, why: str) -> SearchResult:
        deepest = self.depth.deepest
        reason = f"{why}; the first {deepest:,} of {self.size:,} completed operations are linearizable"
        return SearchResult(Validity.UNKNOWN, stats=self._stats(""), reason=reason, linearizable_up_to=deepest)
