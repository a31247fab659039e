"""From a history that is not linearizable to a short one that proves it: only steps that a proof stands behind.

A step from entries H to entries H' is sound when every linearization of H yields one of H'; then "H' is not
linearizable" implies that H is not. Any chain of such steps is sound. The steps:

- *prefix*: forget what was called after an event; what was still open then may or may not have happened.
- *drop*: leave out operations that change no state (`is_pure`). A linearization stays legal without them.
- *project*: leave out all operations of some components (`component`), such as values in a queue.
- *weaken*: take a completed operation for one that may or may not have happened, at any time after its call.
- *cut* at a completed reset b (`is_reset`): leave out what returned before b was called, drop what is pure and may come
  before b, weaken what else may come before b unless it is a reset itself. Of a linearization of H keep, before b, only
  the resets (always possible) and everything from b on: b makes the states equal.
- *remove* an operation w whose absence nothing can notice, proven by simulation: for every reachable state s and t
  after w in s, whatever the operations that may follow w can do from t they can do from s. Operations that come, in
  real time, after a completed reset that itself comes after w do not count: the states are equal by then.

A reset that such an argument leans on stays in the result: without it nobody would see why. Each step is kept only when
the result is still refuted. The same idea for tests is delta debugging (Zeller and
Hildebrandt 2002).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence

import msgspec
import numpy as np

from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.linearizability.encode import Entries, Entry, columns
from checkers.linearizability.possible import CELLS_MAX, size
from checkers.models.model import Model, Operation, State

Refute = Callable[[Sequence[Entry]], bool]
"""Whether the entries are certainly not linearizable; False for an undecided search, too."""

PREFIX_MAX = 100_000
"""A longer prefix that no reset can cut is not reduced: it would be searched too often."""

REMOVED_MAX = 200
WEAKENED_MAX = 24
"""Removal and weakening are tried on at most that many entries: a person reads no more, and each crashed operation
doubles the worst case of a search."""

STATES_MAX = 300
"""More reachable states than this, and a removal is not tried: the proof would cost more than it shortens."""

PAIRS_MAX = 20_000


class Reduced(msgspec.Struct, frozen=True):
    """What is left of a refuted history.

    entries: of the history that was reduced, in order of call; some weakened, so that ret is -1 although they
        completed.
    is_minimal: no single step shortens or weakens it further; False when a limit ended the reduction first, and `limit`
        says which.
    cut_count, projected_count, dropped_count, removed_count, weakened_count: how many entries each kind of step took.
    """

    entries: tuple[Entry, ...]
    is_minimal: bool
    limit: str = ""
    cut_count: int = 0
    projected_count: int = 0
    dropped_count: int = 0
    removed_count: int = 0
    weakened_count: int = 0


def reduce(
    entries: Sequence[Entry],
    failed_at: int,
    model: Model,
    refute: Refute,
    *,
    work_max: int,
    deadline: Deadline | None = None,
    core: Sequence[int] | None = None,
) -> Reduced | None:
    """A short history that is refuted as well, reached by sound steps only; the entry at `failed_at` stays in it as it
    is.

    work_max: how many entries may be searched, over all searches. deadline: when the reduction ends. What is returned
    when either ends it is sound, but perhaps not minimal. core: positions of entries that are known to be refuted, to
    begin with instead of the whole history. None when nothing could be refuted within the limits.
    """
    return _Reduction(columns(entries), failed_at, model, refute, work_max, deadline or Deadline(), core).run()


def prefix(entries: Sequence[Entry], failed_at: int) -> list[Entry]:
    """What was called before the return of the entry at `failed_at`; it is the last to return.

    An operation still open then may have happened, with the result that it returned later, or not.
    """
    end = entries[failed_at].ret
    assert end >= 0, "a crashed operation never returns, so no search can fail at its return"
    return [weakened(entry) if entry.ret > end else entry for entry in entries if entry.call < end]


def weakened(entry: Entry) -> Entry:
    """The same operation, but it may never have happened."""
    return msgspec.structs.replace(entry, ret=-1)


def part_of(whole: Entries, part: Sequence[Entry]) -> Entries:
    """The entries of a part, some weakened, as columns of the same history."""
    found = columns(part)
    for place, entry in enumerate(part):
        if entry.is_crashed:
            end = whole.end[bisect_left(whole.call, entry.call)]
            found.end[place] = end if end < 0 else -2 - end
    return Entries(whole.ops, found.operations, found.op, found.call, found.end, found.returns)


class _OutOfWork(Exception):
    """So many entries were searched that the rest is left as it is."""


class _Reduction:
    """One run of `reduce`; `best` is always refuted, or empty before anything was."""

    def __init__(
        self,
        entries: Entries,
        failed_at: int,
        model: Model,
        refute: Refute,
        work_max: int,
        deadline: Deadline,
        core: Sequence[int] | None,
    ) -> None:
        self.entries = entries
        self.failed = entries[failed_at]
        self.failed_at = failed_at
        self.model = model
        self.refute = refute
        self.work_left = work_max
        self.deadline = deadline
        self.core = core
        self.best: list[Entry] = []
        self.pinned = {self.failed.call}  # The calls of entries that stay: a call is at one place in the history.
        self.cut_count = self.projected_count = self.dropped_count = self.removed_count = self.weakened_count = 0

    def run(self) -> Reduced | None:
        limit = ""
        try:
            if not self.start_from_core() and not self.cut() and not self.start_whole():
                return None
            changed = True
            while changed:
                before = self.best
                self.project()
                self.drop()
                self.remove()
                self.weaken()
                changed = self.best != before
        except OutOfTime:
            limit = "the time for the explanation ended"
        except _OutOfWork:
            limit = "the limit of the reduction's searches was reached"
        if not self.best:
            return None
        if not limit and len(self.best) > WEAKENED_MAX:
            limit = f"of more than {WEAKENED_MAX} operations none is weakened"
        return Reduced(
            tuple(self.best),
            not limit,
            limit,
            cut_count=self.cut_count,
            projected_count=self.projected_count,
            dropped_count=self.dropped_count,
            removed_count=self.removed_count,
            weakened_count=self.weakened_count,
        )

    def start_from_core(self) -> bool:
        """Begin with the core that the caller has a proof for; it stands even where the time for a search has ended."""
        if self.core is None:
            return False
        self.best = [self.entries[position] for position in sorted(self.core)]
        self.cut_count = len(self.entries) - len(self.best)
        return True

    def still_fails(self, entries: list[Entry]) -> bool:
        """Whether the entries are refuted; if so they are the best so far."""
        self.deadline.require()
        self.work_left -= len(entries) + 1
        if self.work_left < 0:
            raise _OutOfWork
        if not self.refute(entries):
            return False
        self.best = entries
        return True

    def start_whole(self) -> bool:
        """Begin with the whole prefix."""
        position_count = int(np.searchsorted(np.array(self.entries.call), self.failed.ret))
        return position_count <= PREFIX_MAX and self.still_fails(prefix(self.entries, self.failed_at))

    def cut(self) -> bool:
        """Begin as late as possible: at the last reset before the failed operation, or the 2nd, 4th, 8th ...

        to last.
        """
        is_reset = np.array([self.model.is_reset(operation) for operation in self.entries.operations], dtype=bool)
        end = np.array(self.entries.end, dtype=np.int64)
        resets = np.flatnonzero(
            is_reset[np.array(self.entries.op, dtype=np.int64)] & (end >= 0) & (end < self.failed.call)
        )
        resets = resets[np.argsort(end[resets], kind="stable")]
        back = 1
        while back <= len(resets):
            candidate = self.cut_at(int(resets[-back]), end)
            if self.still_fails(candidate):
                call_count = int(np.searchsorted(np.array(self.entries.call), self.failed.ret))
                self.cut_count = call_count - len(candidate)
                self.pinned.add(self.entries.call[int(resets[-back])])
                return True
            back *= 2
        return False

    def cut_at(self, reset_at: int, end: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Entry]:
        """What a cut at the reset at that position leaves of the prefix."""
        reset = self.entries[reset_at]
        call = np.array(self.entries.call, dtype=np.int64)
        left = np.flatnonzero((call < self.failed.ret) & ((end < 0) | (end >= reset.call)))
        kept: list[Entry] = []
        for position in left.tolist():
            entry = self.entries[position]
            if entry.ret > self.failed.ret:
                entry = weakened(entry)
            may_come_before = entry.call < reset.ret and position != reset_at
            if may_come_before and self.model.is_pure(entry.operation):
                continue
            kept.append(weakened(entry) if may_come_before and not self.model.is_reset(entry.operation) else entry)
        return kept

    def project(self) -> None:
        """Leave out components whole."""
        component = self.model.component
        stays = {None, *(component(entry.operation) for entry in self.best if entry.call in self.pinned)}
        parts: dict[Hashable, set[int]] = {}
        for entry in self.best:
            if (part := component(entry.operation)) not in stays:
                parts.setdefault(part, set()).add(entry.call)
        self.projected_count += self.leave_out(list(parts.values()))

    def drop(self) -> None:
        """Leave out what is pure."""
        pure = [e for e in self.best if e.call not in self.pinned and self.model.is_pure(e.operation)]
        self.dropped_count += self.leave_out([{entry.call} for entry in pure])

    def leave_out(self, groups: list[set[int]]) -> int:
        """Leave out as many groups of entries, given by their calls, as can be: in halves, quarters, down to single ones.

        The number of entries that went.
        """
        before = len(self.best)
        chunks = [groups] if groups else []
        while chunks:
            chunk = chunks.pop()
            gone = set().union(*chunk)
            if not self.still_fails([entry for entry in self.best if entry.call not in gone]) and len(chunk) > 1:
                middle = len(chunk) // 2
                chunks += [chunk[:middle], chunk[middle:]]
        return before - len(self.best)

    def remove(self) -> None:
        """Remove, one by one and the latest first, what nothing that is left can notice."""
        if len(self.best) > REMOVED_MAX:
            return
        if _reachable(list({entry.operation: None for entry in self.best}), self.model, self.deadline) is None:
            return  # Without one operation of many there are hardly fewer states.
        for entry in reversed(list(self.best)):
            if entry.call in self.pinned or self.model.is_pure(entry.operation):
                continue
            rest = [other for other in self.best if other.call != entry.call]
            forgotten_at = forgetting_reset(entry, rest, self.model)
            if is_unnoticed(entry, rest, self.model, forgotten_at, self.deadline) and self.still_fails(rest):
                self.removed_count += 1
                if forgotten_at is not None:
                    self.pinned.add(forgotten_at.call)

    def weaken(self) -> None:
        """Take operations for crashed ones where their return does not matter."""
        if len(self.best) > WEAKENED_MAX:
            return
        for entry in list(self.best):
            if not entry.is_crashed and entry.call not in self.pinned:
                changed = [weakened(other) if other.call == entry.call else other for other in self.best]
                self.weakened_count += self.still_fails(changed)


def forgetting_reset(w: Entry, rest: Sequence[Entry], model: Model) -> Entry | None:
    """The first completed reset to return, of those that come after w in real time; after it nothing tells of w."""
    resets = [
        e for e in rest if not e.is_crashed and not w.is_crashed and w.ret < e.call and model.is_reset(e.operation)
    ]
    return min(resets, key=lambda entry: entry.ret, default=None)


def is_unnoticed(
    w: Entry, rest: Sequence[Entry], model: Model, forgotten_at: Entry | None, deadline: Deadline | None = None
) -> bool:
    """Whether it is proven that every linearization of `rest` and w is one of `rest` when w is left out.

    forgotten_at: as of `forgetting_reset`. False when it is not so, or when the proof would need too many states.
    Raises OutOfTime when the deadline passes first.
    """
    deadline = deadline or Deadline()
    states = _reachable(list({entry.operation: None for entry in rest}), model, deadline)
    if states is None:
        return False
    noticing = {
        entry.operation: None
        for entry in rest
        if (entry.is_crashed or entry.ret >= w.call) and (forgotten_at is None or entry.call <= forgotten_at.ret)
    }
    todo = [(after, state) for state in states for after in model.step(state, w.operation) if after != state]
    seen = set(todo)
    cells = sum(size(state) for state in states)
    while todo:
        deadline.require()
        with_w, without_w = todo.pop()
        for operation in noticing:
            possible = list(model.step(without_w, operation))
            for after in model.step(with_w, operation):
                if after in possible:
                    continue
                if len(possible) != 1:  # None: w was noticed. Several: which one to follow would have to be guessed.
                    return False
                pair = (after, possible[0])
                if pair not in seen:
                    cells += size(after) + size(possible[0])
                    seen.add(pair)
                    todo.append(pair)
        if len(seen) * len(noticing) > PAIRS_MAX or cells > CELLS_MAX:
            return False
    return True


def _reachable(operations: Sequence[Operation], model: Model, deadline: Deadline) -> list[State] | None:
    """Every state that any sequence of the operations leads to; None when there are too many."""
    states: dict[State, None] = {model.initial(): None}
    todo = list(states)
    while todo:
        deadline.require()
        state = todo.pop()
        for operation in operations:
            for after in model.step(state, operation):
                if after not in states:
                    states[after] = None
                    todo.append(after)
        if len(states) > STATES_MAX:
            return None
    return list(states)
