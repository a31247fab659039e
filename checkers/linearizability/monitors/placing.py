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
