"""The trees that the monitors ask. Places are 0 .. n - 1: values in order of d_lo for the stack, gaps elsewhere."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

NEVER = 1 << 30


class Peel:
    """The values that are left, with their bounds."""

    def __init__(self, e_lo: Sequence[int], e_hi: Sequence[int], d_hi: Sequence[int]) -> None:
        self.size = len(e_lo)
        self.width = 1
        while self.width < self.size:
            self.width *= 2
        rest = self.width - self.size
        self.e_lo = [NEVER] * self.width + list(e_lo) + [NEVER] * rest
        self.e_hi = [NEVER] * self.width + list(e_hi) + [NEVER] * rest
        self.d_hi = [-1] * self.width + list(d_hi) + [-1] * rest
        for node in range(self.width - 1, 0, -1):
            self._join(node)

    def _join(self, node: int) -> None:
        left, right = 2 * node, 2 * node + 1
        self.e_lo[node] = min(self.e_lo[left], self.e_lo[right])
        self.e_hi[node] = min(self.e_hi[left], self.e_hi[right])
        self.d_hi[node] = max(self.d_hi[left], self.d_hi[right])

    def is_removed(self, k: int) -> bool:
        """Whether the value at place k is gone."""
        return self.d_hi[self.width + k] < 0

    def remove(self, k: int) -> None:
        """Take the value at place k away."""
        node = self.width + k
        self.e_lo[node] = self.e_hi[node] = NEVER
        self.d_hi[node] = -1
        while node > 1:
            node //= 2
            self._join(node)

    def first_from(self, k: int) -> int:
        """The first place from k on that is left; size where none is."""
        found = self._find(1, 0, self.width, k, self.size - 1, NEVER - 1, 0)
        return self.size if found < 0 else found

    def last_until(self, k: int) -> int:
        """The last place up to k that is left; -1 where none is."""
        while k >= 0 and self.is_removed(k):
            node = self.width + k
            while node > 1 and (node % 2 == 0 or self.d_hi[node - 1] < 0):
                node //= 2
            if node == 1:
                return -1
            node -= 1
            while node < self.width:
                node = 2 * node + (self.d_hi[2 * node + 1] >= 0)
            k = node - self.width
        return k

    def least_e_hi(self, first: int, last: int) -> int:
        """The least e_hi at the places first .. last."""
        least = NEVER
        low, high = first + self.width, last + self.width + 1
        while low < high:
            if low % 2:
                least = min(least, self.e_hi[low])
                low += 1
            if high % 2:
                high -= 1
                least = min(least, self.e_hi[high])
            low //= 2
            high //= 2
        return least

    def find(self, first: int, last: int, m1: int, m2: int) -> int:
        """The first place in first .. last with e_lo <= m1 and d_hi >= m2; -1: none."""
        return self._find(1, 0, self.width, first, last, m1, m2)

    def _find(self, node: int, begin: int, size: int, first: int, last: int, m1: int, m2: int) -> int:
        if begin > last or begin + size <= first or self.e_lo[node] > m1 or self.d_hi[node] < m2:
            return -1
        if size == 1:
            return begin
        half = size // 2
        found = self._find(2 * node, begin, half, first, last, m1, m2)
        return found if found >= 0 else self._find(2 * node + 1, begin + half, half, first, last, m1, m2)


class Cover:
    """How many of the values that are left cover each of the places 0 .. size - 1.

    The value j covers the places begin[j] .. end[j] - 1.
    """

    def __init__(self, size: int, begin: Sequence[int], end: Sequence[int]) -> None:
        self.begin, self.end = begin, end
        self.width = 1
        while self.width < size:
            self.width *= 2
        change = [0] * (size + 1)
        for first, after in zip(begin, end, strict=True):
            if first < after:
                change[first] += 1
                change[after] -= 1
        self.least = [0] * (2 * self.width)  # Of the node's places, without what is added at the nodes above.
        self.added = [0] * (2 * self.width)
        depth = 0
        for k in range(size):
            depth += change[k]
            self.least[self.width + k] = depth
        for node in range(self.width - 1, 0, -1):
            self.least[node] = min(self.least[2 * node], self.least[2 * node + 1])

    def remove(self, j: int) -> None:
        """The value j no longer covers anything."""
        if self.begin[j] < self.end[j]:
            self._add(1, 0, self.width, self.begin[j], self.end[j] - 1, -1)

    def put_back(self, j: int) -> None:
        """The value j covers again what it did."""
        if self.begin[j] < self.end[j]:
            self._add(1, 0, self.width, self.begin[j], self.end[j] - 1, 1)

    def _add(self, node: int, begin: int, size: int, first: int, last: int, change: int) -> None:
        if begin > last or begin + size <= first:
            return
        if first <= begin and begin + size <= last + 1:
            self.least[node] += change
            self.added[node] += change
            return
        half = size // 2
        self._add(2 * node, begin, half, first, last, change)
        self._add(2 * node + 1, begin + half, half, first, last, change)
        self.least[node] = min(self.least[2 * node], self.least[2 * node + 1]) + self.added[node]

    def first_free(self, first: int, last: int) -> int:
        """The first place in first .. last whose gap nothing covers; -1: none."""
        return self._free(1, 0, self.width, first, last, 0)

    def _free(self, node: int, begin: int, size: int, first: int, last: int, above: int) -> int:
        if begin > last or begin + size <= first or self.least[node] + above > 0:
            return -1
        if size == 1:
            return begin
        half, above = size // 2, above + self.added[node]
        found = self._free(2 * node, begin, half, first, last, above)
        return found if found >= 0 else self._free(2 * node + 1, begin + half, half, first, last, above)


def cover_of_ends(d_lo: Sequence[int], e_hi: Sequence[int]) -> Cover:
    """The cover of the gaps d_lo[k], by place k: the value at place j covers those from the first d_lo above its e_hi to j - 1."""
    return Cover(len(d_lo), [bisect_right(d_lo, each) for each in e_hi], range(len(d_lo)))


def cover_of_gaps(gaps: int, d_lo: Sequence[int], e_hi: Sequence[int]) -> Cover:
    """The cover of all gaps: the value at place j covers those from e_hi[j] + 1 to d_lo[j] - 1."""
    return Cover(gaps, [each + 1 for each in e_hi], d_lo)


def latest(values: Sequence[int]) -> Callable[[int, int], int]:
    """A function from (first, last) to the place of the greatest value there, the last of equal ones."""
    width = 1
    while width < len(values):
        width *= 2
    best = [(-1, -1)] * width + [(value, k) for k, value in enumerate(values)] + [(-1, -1)] * (width - len(values))
    for node in range(width - 1, 0, -1):
        best[node] = max(best[2 * node], best[2 * node + 1])

    def at(first: int, last: int) -> int:
        found = (-1, -1)
        low, high = first + width, last + width + 1
        while low < high:
            if low % 2:
                found = max(found, best[low])
                low += 1
            if high % 2:
                high -= 1
                found = max(found, best[high])
            low //= 2
            high //= 2
        return found[1]

    return at


class Least:
    """Pairs (bound, entry) at gaps; the least of those above a gap, the first that was put among equal ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.best = [(NEVER, -1)] * (size + 1)  # A Fenwick tree, from the last gap down.

    def put(self, gap: int, bound: int, entry: int) -> None:
        """Put the pair at the gap."""
        at = self.size - gap
        while at <= self.size:
            if bound < self.best[at][0]:
                self.best[at] = (bound, entry)
            at += at & -at

    def above(self, gap: int) -> tuple[int, int]:
        """The least pair at the gaps above this one; (NEVER, -1): there is none."""
        found = (NEVER, -1)
        at = self.size - gap - 1
        while at > 0:
            if self.best[at][0] < found[0]:
                found = self.best[at]
            at -= at & -at
        return found
