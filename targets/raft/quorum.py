"""All arithmetic of majorities. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def majority(members_count: int) -> int:
    """The least number of members such that any two groups of that size share a member."""
    return members_count // 2 + 1


def reached_by_majority(marks: Iterable[int]) -> int:
    """The highest mark that a majority of the members, one mark each, has reached or passed."""
    ascending = sorted(marks)
    return ascending[(len(ascending) - 1) // 2]
