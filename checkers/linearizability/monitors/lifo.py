"""The LIFO stack: histories without crashed pops exactly, O(n log n) in practice; with crashed pops where it can.

Words and bounds are those of collection.py; a value that nobody takes is taken at the very end, in gap `gaps`, where whatever
is left can leave in order. Not decided, and left to the search: a value that is put in twice; with
crashed pops, what the insertion below cannot place, and values that were peeked at and that no completed pop names.

**Complete histories.** An empty is explained by an uncovered gap (cut lemma); the earliest in its interval will do. The chosen
gaps cut the history into components, and so do others, until nothing is left. In a component let m1 be the least e_hi and m2
the greatest d_lo.

1. *Peel.* If a value v that nobody peeked at has e_lo(v) <= m1 and d_hi(v) >= m2, it may be outermost: any linearization of the
   others can be clipped to the time between e_lo(v) and d_hi(v), for every e_hi is at least m1 and every d_lo at most m2. So v is
   put in first and taken last, and the rest is a component of its own.
2. *Split.* Otherwise, if a gap of the component is uncovered, values with d_lo up to the gap come wholly before it and the
   others wholly after it (cut lemma).
3. *Peel a value that was peeked at* (peeked.py), if its peeks find the rest of the component empty.
4. Otherwise the component is not linearizable. The first value is in by m1 and the last is in until m2. Nothing is empty in
   between, for all gaps are covered; then one value at the bottom is there from m1 to m2, and could have been peeled. (m1 + 1 is
   no less than m2 only when the value of m1 can be peeled.) The core: the values of m1 and m2, and a chain of covers between
   them. No value of the core can be peeled, and no gap is uncovered, so it is stuck by the same argument.

A component is a range of the values in order of d_lo, because splits cut by d_lo. Only gaps in which some d_lo begins need be
looked at: the last d_lo before an uncovered gap is uncovered as well.

**Crashed pops.** Values that were completely put in and that no completed pop names may have been taken by crashed pops. If the
others alone fail, the history is not linearizable.

- *Not enough.* Let u be pushed in gap g. A value v that covers g is below u, so u is popped by d_hi(v); u is also popped by the hi
  of each empty that is called after e_hi(u). So u is taken by V(u), the lesser of the empties' least hi and of the greatest, over
  the gaps g of its push, of the least d_hi of what covers g. If these deadlines cannot be matched with the calls of the crashed
  pops, both in ascending order, the history is not linearizable.
- *Enough.* Take one linearization of the others and insert each remaining push where the pop of the value around it comes latest;
  outside all values, where the next empty comes latest. Just before that pop or empty it is popped. If there are crashed pops
  enough, and the whole order still keeps every interval, it is a linearization; if not, nothing is decided. (No polynomial
  algorithm is known to us: where a push is nested changes which pops are needed.)
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.collection import INSERTION_FAILS, PEEKED_NEVER_TAKEN, Said, Values, gather, said
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.linearizability.monitors.peeked import Peeked
from checkers.linearizability.monitors.placing import matched, merged
from checkers.linearizability.monitors.trees import NEVER, Least, Peel, cover_of_ends, latest
from checkers.models.model import Model


def decide(entries: Entries, model: Model) -> Decision:
    """The pure monitor of LifoStack."""
    spoken = said(entries, model, "push", "pop")
    return spoken if isinstance(spoken, Decision) else decide_said(spoken, entries)


def decide_said(spoken: Said, entries: Entries) -> Decision:
    """The same, of entries in numbers."""
    values = gather(spoken, entries)
    return values if isinstance(values, Decision) else _Lifo(values).decide()


class _Lifo:
    """One history. by_d_lo: the values whose takes are known, in order of d_lo; components are ranges of it."""

    def __init__(self, values: Values) -> None:
        self.values = values
        alive = values.alive()
        has_crashed = bool(values.unknown_takes)
        self.left = [v for v in alive if values.take[v] < 0 and has_crashed]
        taken = (v for v in alive if values.take[v] >= 0 or not has_crashed)
        self.by_d_lo = sorted(taken, key=lambda v: (values.d_lo[v], v))
        self.order: list[int] = []

    def decide(self) -> Decision:
        values = self.values
        chosen: list[tuple[int, int]] = []
        covered = values.is_covered(self.by_d_lo)
        free = values.gaps + 1
        first_free = [free] * (values.gaps + 1)
        for g in range(values.gaps - 1, -1, -1):
            first_free[g] = free = free if covered[g] else g
        for i in values.empties:
            g = first_free[values.lo[i]]
            if g > values.hi[i]:
                chain = values.chain(values.lo[i], values.hi[i], self.by_d_lo)
                return invalid([i, *(each for v in chain for each in values.whole(v))])
            chosen.append((g, i))
        chosen.sort(key=lambda each: each[0])
        if core := self.nest(chosen):
            return invalid(core)
        if self.left and (core := self.too_few()):
            return invalid(core)
        if any(values.peeks[u] for u in self.left):
            return undecided(PEEKED_NEVER_TAKEN)
        if self.left and not self.insert():
            return undecided(INSERTION_FAILS)
        return valid(self.linearization())

    def nest(self, chosen: Sequence[tuple[int, int]]) -> list[int]:
        """Fill order with the puts, takes and empties; a core where a component is stuck."""
        values, by_d_lo = self.values, self.by_d_lo
        d_lo = [values.d_lo[v] for v in by_d_lo]
        e_hi = [values.e_hi[v] for v in by_d_lo]
        d_hi = [values.gaps if values.take[v] < 0 else values.hi[values.take[v]] for v in by_d_lo]
        e_lo = [values.e_lo[v] for v in by_d_lo]
        peeked = Peeked(values, by_d_lo) if any(values.peeks[v] for v in by_d_lo) else None
        peel = Peel(e_lo if peeked is None else peeked.hidden(e_lo), e_hi, d_hi)
        cover = cover_of_ends(d_lo, e_hi)
        # What is still to be done, the next at the end: a component (first, last), or an entry ~i to be appended.
        todo: list[tuple[int, int]] = []
        begin = 0
        for g, i in chosen:
            end = begin
            while end < len(d_lo) and d_lo[end] <= g:
                end += 1
            todo += [(begin, end - 1), (~i, 0)]
            begin = end
        todo.append((begin, len(d_lo) - 1))
        todo.reverse()
        while todo:
            first, last = todo.pop()
            if first < 0:
                self.order.append(~first)
                continue
            while True:
                first, last = peel.first_from(first), peel.last_until(last)
                if first > last:
                    break
                m1, m2 = peel.least_e_hi(first, last), d_lo[last]
                if (k := peel.find(first, last, m1, m2)) >= 0:
                    self.order.append(values.put[by_d_lo[k]])
                    if (take := values.take[by_d_lo[k]]) >= 0:
                        todo.append((~take, 0))
                    peel.remove(k)
                    cover.remove(k)
                    if peeked is not None:
                        peeked.remove(k)
                elif (k := cover.first_free(first, last - 1)) >= 0:
                    todo.append((k + 1, last))
                    last = k
                elif peeked is not None and (k := peeked.find(peel, first, last, m1, m2)) >= 0:
                    self.order.append(values.put[by_d_lo[k]])
                    if (take := values.take[by_d_lo[k]]) >= 0:
                        todo.append((~take, 0))
                    todo += reversed(peeked.parts(peel, k, first, last))
                    peel.remove(k)
                    cover.remove(k)
                    break
                else:
                    component = [by_d_lo[k] for k in range(first, last + 1) if not peel.is_removed(k)]
                    return self.stuck(component, m1, m2, peeked)
        return []

    def stuck(self, component: list[int], m1: int, m2: int, peeked: Peeked | None) -> list[int]:
        """The core of a component that can be neither peeled nor split."""
        values = self.values
        needed = [v for v in component if values.e_hi[v] == m1 or values.d_lo[v] == m2]
        needed += values.chain(m1 + 1, m2 - 1, component)
        core = peeked.why_not(needed, component, m1, m2) if peeked is not None else []
        return core + [i for v in needed for i in values.whole(v)]

    def too_few(self) -> list[int]:
        """A core where more values must be taken in time by crashed pops than were called; empty: there is none."""
        values = self.values
        least = Least(values.gaps)
        for i in values.empties:
            least.put(values.lo[i], values.hi[i], i)
        top, owner = self.tops()
        highest = latest(top)
        due: list[tuple[int, int, int]] = []  # Deadline, value, the empty that gives it or -1.
        for u in self.left:
            covered_until = top[highest(values.e_lo[u], values.e_hi[u])]
            deadline, empty = least.above(values.e_hi[u])
            if min(deadline, covered_until) < NEVER:
                due.append((deadline, u, empty) if deadline < covered_until else (covered_until, u, -1))
        due.sort()
        calls = [values.lo[i] for i in values.unknown_takes]
        short = matched([deadline for deadline, _, _ in due], calls)
        if short is None:
            return []
        core = [i for i in values.unknown_takes if values.lo[i] <= due[short][0]]
        for _, u, empty in due[: short + 1]:
            core += values.whole(u)
            if empty >= 0:
                core.append(empty)
                continue
            g = values.e_lo[u]
            while g <= values.e_hi[u]:
                assert owner[g] >= 0, "a gap is not covered"
                assert values.d_lo[owner[g]] > g, "a gap is not covered"
                core += values.whole(owner[g])
                g = values.d_lo[owner[g]]
        return core

    def tops(self) -> tuple[list[int], list[int]]:
        """Gap -> the least d_hi of the values that cover it, and whose it is; NEVER and -1 where none does."""
        values = self.values
        begins = sorted(self.by_d_lo, key=lambda v: (values.e_hi[v], v))
        open_: list[tuple[int, int]] = []
        top, owner = [NEVER] * values.gaps, [-1] * values.gaps
        at = 0
        for g in range(values.gaps):
            while at < len(begins) and values.e_hi[begins[at]] < g:
                v = begins[at]
                heappush(open_, (values.hi[values.take[v]], v))
                at += 1
            while open_ and values.d_lo[open_[0][1]] <= g:
                heappop(open_)
            if open_:
                top[g], owner[g] = open_[0]
        return top, owner

    def insert(self) -> bool:
        """Put the remaining values into order, with crashed pops where they must be gone; False: it did not work."""
        values, order, lo, hi = self.values, self.order, self.values.lo, self.values.hi
        size = len(order)
        begins, ends = (
            [0] * (size + 1),
            [values.gaps] * (size + 1),
        )  # Slot k, before order[k]: its earliest and latest gap.
        for k, i in enumerate(order):
            begins[k + 1] = max(begins[k], lo[i])
        for k in range(size - 1, -1, -1):
            ends[k] = min(ends[k + 1], hi[order[k]])
        due = self.enclosing()
        best = latest(due)
        at: list[list[int]] = [[] for _ in range(size + 1)]
        needed = [0] * (size + 1)  # Pops that must come just before order[k].
        for u in self.left:
            first, last = _first_at_least(ends, values.e_lo[u]), _last_at_most(begins, values.e_hi[u])
            if first > last:
                return False
            slot = best(first, last)
            at[slot].append(u)
            needed[due[slot]] += due[slot] < size
        if sum(needed) > len(values.unknown_takes):
            return False
        found: list[int] = []
        used = 0
        for k in range(size + 1):
            found.extend(values.put[u] for u in sorted(at[k], key=lambda u: (values.e_lo[u], u)))
            found.extend(values.unknown_takes[used : used + needed[k]])
            used += needed[k]
            if k < size:
                found.append(order[k])
        self.order = found
        now = 0
        for i in found:
            now = max(now, lo[i])
            if now > hi[i]:
                return False
        return True

    def enclosing(self) -> list[int]:
        """Slot -> the place in order of the next peek at, or the take of, the innermost value around it, outside all of the next
        empty.

        The order's length where there is neither.
        """
        values, order = self.values, self.order
        is_put = [False] * len(values.lo)
        for v in self.by_d_lo:
            is_put[values.put[v]] = True
        is_empty = set(values.empties)
        is_peek = {i for v in self.by_d_lo for i in values.peeks[v]}
        due = [len(order)] * (len(order) + 1)
        around: list[int] = [len(order)]  # From the back: the takes of the values around, the outermost first.
        for k in range(len(order) - 1, -1, -1):
            if order[k] in is_empty:
                around[0] = k
            elif order[k] in is_peek:
                around[-1] = k
            elif is_put[order[k]]:
                around.pop()
            else:
                around.append(k)
            due[k] = around[-1]
        return due

    def linearization(self) -> list[int]:
        """The order, with what fits anywhere."""
        values = self.values
        placed, now = [], 0
        for i in self.order:
            now = max(now, values.lo[i])
            placed.append((now, i))
        idle = sorted((values.lo[i], i) for i in values.idle)
        return [i for _, i in merged(placed, idle)]


def _first_at_least(ascending: Sequence[int], bound: int) -> int:
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ascending[middle] < bound else (low, middle)
    return low


def _last_at_most(ascending: Sequence[int], bound: int) -> int:
    return _first_at_least(ascending, bound + 1) - 1
