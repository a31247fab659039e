"""The priority queue: puts, takes, peeks, empties, crashed puts: exact, near-linear. Crashed takes: where a greedy choice fits.

Words and bounds are those of collection.py. Among equal priorities any may come first (the model's rule). Not decided, and left
to the search: a value that is put in twice; where takes crashed, a value that was peeked at and never taken, and histories in
which the greedy choice below leaves too few crashed takes.

**Without crashed takes.** A take or a peek of v asks that no value of a smaller priority is inside; larger and equal ones do
not matter. So it found the collection *of the smaller values* empty, and by the cut lemma it fits into a gap exactly when no
smaller value covers the gap, independently of everything else. In ascending order of priority, each take and peek gets the
earliest gap from its earliest bound on that no smaller value covers (the take from d_lo on, a peek from the later of its call
and e_lo on); if that lies beyond its return, the history is not linearizable, and the covers over its window prove it. An empty
asks the same of all values.

**Placing.** The chosen gaps of takes, peeks and empties are *cuts* for all smaller values. Let t be the gap of v's take (the end,
where there is none), and c the last cut of a larger priority before t. No value covers a larger cut, so c <= e_hi(v) or
c >= d_lo(v); the latter is impossible, for t is the earliest gap from d_lo on that no smaller value covers, and no smaller value
covers c. So the put fits at max(e_lo, c), and a peek at the later of its gap and c: v is inside at no larger cut. Within one
gap: what ends there or is only seen there, in ascending order, each value with its put (if due), its peeks and its take; then
the empties; then the puts of values that stay, in descending order, each with its peeks.

**Crashed takes.** Values that were completely put in and that no completed take names may be taken by crashed takes. If the
others alone fail, the history is not linearizable. A value u must be gone by every larger cut that comes after e_hi(u):

- *Not enough.* Whatever gaps are chosen, u is taken by V(u), the least hi of the larger takes, peeks and empties whose earliest
  bound is above e_hi(u). If the values with such a deadline cannot be matched with the calls of crashed takes, both in ascending
  order, the history is not linearizable (Hall: the sets of calls up to a deadline are nested).
- *Enough.* Keep the gaps chosen above. u is due at the first larger cut after e_hi(u); there it can be taken, in ascending
  order, just before the cut. If these deadlines can be matched, this is a linearization. Where they cannot, a take or an empty that
  gives a deadline moves on to its next gap in which one more crashed take has been called, and all is tried again. (A value whose
  own take was moved on is taken at the first larger cut after its e_hi, if that comes before.) When nothing can move, nothing is
  decided: another choice might ask for fewer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.collection import (
    GREEDY_FAILS,
    PEEKED_NEVER_TAKEN,
    Said,
    Values,
    gather,
    levels,
    said,
)
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.linearizability.monitors.placing import matched, merged
from checkers.linearizability.monitors.trees import Least
from checkers.models.model import Model

ROUNDS_MAX = 100
"""How often takes and empties are moved on: each round is linear."""


def decide(entries: Entries, model: Model) -> Decision:
    """The pure monitor of PriorityQueue."""
    spoken = said(entries, model, "enqueue", "dequeue")
    if isinstance(spoken, Decision):
        return spoken
    level = levels(spoken.values)
    return level if isinstance(level, Decision) else decide_said(spoken, level, entries)


def decide_said(spoken: Said, level: Sequence[int], entries: Entries) -> Decision:
    """The same, of entries in numbers; level[v]: equal for equal priorities, smaller for smaller ones."""
    values = gather(spoken, entries)
    return values if isinstance(values, Decision) else _Priority(values, level).decide()


class _Jump:
    """The next gap that is left, in one direction, while gaps are struck out."""

    def __init__(self, size: int, step: int) -> None:
        """The gaps are 0 .. size - 1; -1 and size are never struck out."""
        self.step = step
        self.to = list(range(size + 2))  # Shifted by one, so that -1 has a place.

    def strike(self, gap: int) -> None:
        """Leave out the gap."""
        self.to[gap + 1] = gap + 1 + self.step

    def find(self, gap: int) -> int:
        """The first gap from this one on that is left."""
        to, end = self.to, gap + 1
        while to[end] != end:
            end = to[end]
        at = gap + 1
        while to[at] != end:
            to[at], at = end, to[at]
        return end - 1


class _Priority:
    """One history. chosen[v]: the gap of a completed take, among those that it may have; take_at[v]: where v is taken in the
    end; gaps where it is not. peek_at, empty_at: by position. further: of a take or an empty, the gaps to move on to.
    """

    def __init__(self, values: Values, level: Sequence[int]) -> None:
        self.values = values
        self.level = level
        alive = values.alive()
        has_crashed = bool(values.unknown_takes)
        self.taken = [v for v in alive if values.take[v] >= 0 or not has_crashed]
        self.left = [v for v in alive if values.take[v] < 0 and has_crashed]
        self.calls = [values.lo[i] for i in values.unknown_takes]
        self.chosen = [values.gaps] * values.count
        self.take_at = [values.gaps] * values.count
        self.further: dict[int, list[int]] = {}
        self.value_of = {i: v for v in self.taken for i in (values.take[v], *values.peeks[v]) if i >= 0}
        self.put_at = [0] * values.count
        self.peek_at: dict[int, int] = {}
        self.empty_at: dict[int, int] = {}

    def decide(self) -> Decision:
        if any(self.values.peeks[v] for v in self.left):
            return undecided(PEEKED_NEVER_TAKEN)
        if core := self.choose():
            return invalid(core)
        if self.left and (core := self.too_few()):
            return invalid(core)
        for _ in range(ROUNDS_MAX):
            self.place()
            due = sorted(
                (v for v in self.left if self.take_at[v] < self.values.gaps), key=lambda v: (self.take_at[v], v)
            )
            short = matched([self.take_at[v] for v in due], self.calls)
            if short is None:
                for v, i in zip(due, self.values.unknown_takes, strict=False):
                    self.values.take[v] = i
                return valid(self.linearization())
            if not self.move_on(due[: short + 1]):
                break
        return undecided(GREEDY_FAILS)

    def move_on(self, due: Sequence[int]) -> bool:
        """Move the latest take or empty that gives one of these values its deadline; False: none can move."""
        values = self.values
        cuts: dict[int, list[tuple[int, int]]] = {}  # Gap -> level and entry.
        for v in self.taken:
            if self.further.get(values.take[v]):
                cuts.setdefault(self.chosen[v], []).append((self.level[v], values.take[v]))
        for i in values.empties:
            if self.further.get(i):
                cuts.setdefault(self.empty_at[i], []).append((values.count, i))
        for u in reversed(due):
            can = [i for level, i in cuts.get(self.take_at[u], []) if level > self.level[u]]
            for i in can:
                gap = self.further[i].pop(0)
                if i in self.empty_at:
                    self.empty_at[i] = gap
                else:
                    self.chosen[self.value_of[i]] = gap
            if can:
                return True
        return False

    def too_few(self) -> list[int]:
        """A core where more values must be taken in time by crashed takes than were called; empty: there is none."""
        values = self.values
        least = Least(values.gaps)
        for i in values.empties:
            least.put(values.lo[i], values.hi[i], i)
        blocker: dict[int, tuple[int, int]] = {}  # Deadline, and the entry that gives it.
        left = set(self.left)
        for level in reversed(self.by_level([*self.taken, *self.left])):
            for v in level:
                if v in left and (found := least.above(values.e_hi[v]))[1] >= 0:
                    blocker[v] = found
            for v in level:
                if v in left:
                    continue
                if (take := values.take[v]) >= 0:
                    least.put(values.d_lo[v], values.hi[take], take)
                for i in values.peeks[v]:
                    least.put(max(values.lo[i], values.e_lo[v]), values.hi[i], i)
        due = sorted(blocker, key=lambda v: (blocker[v][0], v))
        short = matched([blocker[v][0] for v in due], self.calls)
        if short is None:
            return []
        core = [i for i in values.unknown_takes if values.lo[i] <= blocker[due[short]][0]]
        for u in due[: short + 1]:
            i = blocker[u][1]
            core += [values.put[u], i, *(values.whole(self.value_of[i]) if i in self.value_of else ())]
        return core

    def by_level(self, among: Sequence[int]) -> list[list[int]]:
        """The values, level by level, ascending."""
        found: list[list[int]] = []
        for v in sorted(among, key=lambda v: (self.level[v], v)):
            if not found or self.level[found[-1][0]] != self.level[v]:
                found.append([])
            found[-1].append(v)
        return found

    def choose(self) -> list[int]:
        """Fill take_at, peek_at and empty_at; a core where one has no gap."""
        values = self.values
        free = _Jump(values.gaps, 1)
        for level in self.by_level(self.taken):
            for v in level:
                if (take := values.take[v]) >= 0:
                    self.chosen[v] = free.find(values.d_lo[v])
                    if self.chosen[v] > values.hi[take]:
                        return values.whole(v) + self.hidden(values.d_lo[v], values.hi[take], self.level[v])
                    self.further[take] = self.gaps_after(free, self.chosen[v], values.hi[take])
                for i in values.peeks[v]:
                    first = max(values.lo[i], values.e_lo[v])
                    self.peek_at[i] = free.find(first)
                    if self.peek_at[i] > values.hi[i]:
                        return [*values.whole(v), i, *self.hidden(first, values.hi[i], self.level[v])]
            for v in level:
                gap = free.find(values.e_hi[v] + 1)
                while gap < values.d_lo[v]:
                    free.strike(gap)
                    gap = free.find(gap)
        for i in values.empties:
            self.empty_at[i] = free.find(values.lo[i])
            if self.empty_at[i] > values.hi[i]:
                return [i, *self.hidden(values.lo[i], values.hi[i], values.count)]
            self.further[i] = self.gaps_after(free, self.empty_at[i], values.hi[i])
        return []

    def gaps_after(self, free: _Jump, gap: int, last: int) -> list[int]:
        """The free gaps after this one, up to the last, each the first in which one more crashed take has been called."""
        found: list[int] = []
        if self.left:
            for c in self.calls[bisect_right(self.calls, gap) :]:
                if c > last:
                    break
                if c > gap:
                    gap = free.find(c)
                    if gap > last:
                        break
                    found.append(gap)
        return found

    def hidden(self, first: int, last: int, level: int) -> list[int]:
        """What covers the gaps: values of a smaller level."""
        values = self.values
        chain = values.chain(first, last, [v for v in self.taken if self.level[v] < level])
        return [i for v in chain for i in values.whole(v)]

    def place(self) -> None:
        """Fill put_at, and take_at of the values that are left: where they must be gone"""
        values = self.values
        cut_count = [0] * (values.gaps + 1)
        for gap in (*self.peek_at.values(), *self.empty_at.values(), *(self.chosen[v] for v in self.taken)):
            cut_count[gap] += 1
        before, after = _Jump(values.gaps, -1), _Jump(values.gaps, 1)
        for gap in range(values.gaps):
            if not cut_count[gap]:
                before.strike(gap)
                after.strike(gap)
        left = set(self.left)
        for level in self.by_level([*self.taken, *self.left]):
            for v in level:
                if v in left:
                    continue
                for gap in (self.chosen[v], *(self.peek_at[i] for i in values.peeks[v])):
                    cut_count[gap] -= 1
                    if not cut_count[gap] and gap < values.gaps:
                        before.strike(gap)
                        after.strike(gap)
            for v in level:
                self.take_at[v] = min(self.chosen[v], after.find(values.e_hi[v] + 1))
                cut = before.find(self.take_at[v] - 1)
                self.put_at[v] = max(values.e_lo[v], cut)

    def linearization(self) -> list[int]:
        """Everything in order."""
        values, gaps = self.values, self.values.gaps
        placed: list[tuple[int, int, int, int, int]] = []  # Gap, phase, order of the value, step, position.
        for place, v in enumerate(sorted([*self.taken, *self.left], key=lambda v: (self.level[v], v))):
            begins, ends = self.put_at[v], self.take_at[v]
            placed.append((begins, *((0, place) if begins == ends else (2, -place)), 0, values.put[v]))
            for i in values.peeks[v]:
                gap = max(self.peek_at[i], begins)
                is_new = gap == begins and gap != ends
                placed.append((gap, *((2, -place) if is_new else (0, place)), 1, i))
            if ends < gaps:
                placed.append((ends, 0, place, 2, values.take[v]))
        placed.extend((gap, 1, 0, 0, i) for i, gap in self.empty_at.items())
        placed.sort()
        idle = sorted((values.lo[i], i) for i in values.idle)
        return [i for _, i in merged([(gap, i) for gap, _, _, _, i in placed], idle)]
