"""The values of a stack that somebody peeked at: which of them can be outermost in a component (lifo.py).

**Peeks are empties.** A peek at v is explained when v is on top: nothing that was put in after v is inside. Let v be outermost
in a component S, put in first and taken last. Then every other value of S comes above v, so its peeks are explained exactly
when S without v is empty at some moment in each of their intervals: when a gap of each interval is uncovered in S without v (cut
lemma), whatever happens elsewhere. The chosen gaps cut S without v into components.

**Which one does not matter.** Let v and w be possible roots (e_lo <= m1, d_hi >= m2), S linearizable with w outermost, and let
every peek at v have a gap that S without v leaves uncovered. Take the linearization without v, and cut it at all these gaps (cut
lemma): it is empty at each of them. Clip it to the time between e_lo(v) and d_hi(v), which every e_hi >= m1 and d_lo <= m2 allow,
and put v around it. Its peeks fit. Peeks at other values are not disturbed: at the moment of such a peek nothing above that value
changes. For the same reason a value that nobody peeked at can be peeled at once, and so can any value of this kind whose peeks
fit. If none can, and no gap is uncovered, nothing can be at the bottom from m1 to m2, so S is not linearizable.

**Gaps outside S.** Gaps up to the least e_hi of S without v, and from its greatest d_lo on, are uncovered by it, whatever other
components do there. Between these two, all that covers is of S without v: other components lie before a gap up to the first or
behind one from the second on, and values around S are no longer counted.

**Cost.** What fits in S fits in every part of S, because a part covers less. So each peek is found to fit once, and one look more
is needed each time that a candidate fails: O((n + f) log n) for f failures, at most one for each open value and each peel.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from checkers.linearizability.monitors.collection import Values
from checkers.linearizability.monitors.trees import NEVER, Peel, cover_of_gaps

HIDDEN = NEVER - 1
"""The e_lo of a value that a Peel holds and never finds."""


class Peeked:
    """Values by place, in order of d_lo, as in the Peel of the stack.

    passed[v]: how many of its peeks are known to fit.
    """

    def __init__(self, values: Values, by_d_lo: Sequence[int]) -> None:
        self.values, self.by_d_lo = values, by_d_lo
        self.d_lo = [values.d_lo[v] for v in by_d_lo]
        self.d_hi = [values.gaps if values.take[v] < 0 else values.hi[values.take[v]] for v in by_d_lo]
        self.passed = [0] * values.count
        e_hi = [values.e_hi[v] for v in by_d_lo]
        self.cover = cover_of_gaps(values.gaps, self.d_lo, e_hi)
        e_lo = [values.e_lo[v] if values.peeks[v] else NEVER for v in by_d_lo]
        self.roots = Peel(
            e_lo, e_hi, [-1 if each == NEVER else d_hi for each, d_hi in zip(e_lo, self.d_hi, strict=True)]
        )

    def hidden(self, e_lo: Sequence[int]) -> list[int]:
        """The same, without those that were peeked at."""
        return [HIDDEN if self.values.peeks[v] else each for v, each in zip(self.by_d_lo, e_lo, strict=True)]

    def remove(self, k: int) -> None:
        """The value at place k, which nobody peeked at, is gone."""
        self.cover.remove(k)

    def find(self, peel: Peel, first: int, last: int, m1: int, m2: int) -> int:
        """The first place of a value that can be outermost, which no longer covers anything then; -1: none."""
        k = self.roots.find(first, last, m1, m2)
        while k >= 0:
            self.cover.remove(k)
            if self._fit(peel, k, first, last):
                self.roots.remove(k)
                return k
            self.cover.put_back(k)
            k = self.roots.find(k + 1, last, m1, m2)
        return -1

    def parts(self, peel: Peel, k: int, first: int, last: int) -> list[tuple[int, int]]:
        """What comes inside the value at place k that was just found: components and, as (~position, 0), its peeks."""
        values, m1 = self.values, self._least_e_hi(peel, k, first, last)
        chosen: list[tuple[int, int]] = []
        for i in values.peeks[self.by_d_lo[k]]:
            begin, end = self._interval(k, i)
            chosen.append((begin if begin <= m1 else self.cover.first_free(begin, end), i))
        found: list[tuple[int, int]] = []
        for g, i in sorted(chosen):
            after = max(first, min(bisect_right(self.d_lo, g), last + 1))
            found += [(first, after - 1), (~i, 0)]
            first = after
        return [*found, (first, last)]

    def why_not(self, needed: list[int], component: Sequence[int], m1: int, m2: int) -> list[int]:
        """For each value needed that could be outermost but for its peeks, one peek that does not fit; what covers it is needed too
        and put into the list.
        """
        values, core = self.values, list[int]()
        seen: set[int] = set()
        for v in needed:  # It grows.
            d_hi = values.gaps if values.take[v] < 0 else values.hi[values.take[v]]
            if v in seen or not values.peeks[v] or values.e_lo[v] > m1 or d_hi < m2:
                continue
            seen.add(v)
            i = values.peeks[v][self.passed[v]]
            core.append(i)
            others = [each for each in component if each != v]
            needed += values.chain(max(values.lo[i], values.e_lo[v]), min(values.hi[i], d_hi), others)
        return core

    def _fit(self, peel: Peel, k: int, first: int, last: int) -> bool:
        """Whether all peeks at the value at place k, which is not counted as covering, find the rest of the component empty."""
        v = self.by_d_lo[k]
        peeks = self.values.peeks[v]
        m1 = self._least_e_hi(peel, k, first, last)
        other_last = last if k != last else peel.last_until(k - 1)
        m2 = self.d_lo[other_last] if other_last >= first else -1
        while self.passed[v] < len(peeks):
            begin, end = self._interval(k, peeks[self.passed[v]])
            if begin > m1 and end < m2 and self.cover.first_free(begin, end) < 0:
                return False
            self.passed[v] += 1
        return True

    def _interval(self, k: int, peek: int) -> tuple[int, int]:
        """The first and last gap of a peek at the value at place k."""
        values = self.values
        return max(values.lo[peek], values.e_lo[self.by_d_lo[k]]), min(values.hi[peek], self.d_hi[k])

    def _least_e_hi(self, peel: Peel, k: int, first: int, last: int) -> int:
        return min(peel.least_e_hi(first, k - 1), peel.least_e_hi(k + 1, last))
