"""How placed operations become one order."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge

Placed = tuple[int, int]
"""The gap that an operation takes effect in, and its position in the entries."""


def merged(first: Sequence[Placed], second: Sequence[Placed]) -> list[Placed]:
    """Both, each in order of gaps, as one; inside a gap, the first's before the second's."""
    return list(merge(first, second, key=_gap))


def _gap(placed: Placed) -> int:
    return placed[0]


def matched(deadlines: Sequence[int], calls: Sequence[int]) -> int | None:
    """None when each deadline, in ascending order, has a call of its own that is not later; else the first without."""
    for i, deadline in enumerate(deadlines):
        if i >= len(calls) or calls[i] > deadline:
            return i
    return None
