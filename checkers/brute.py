"""Linearizability by its definition: try every order. The specification that the searches are tested against.

A history is linearizable when its operations can be put into one order that keeps real time (an operation that returned
before another was called comes first), that the model allows, and that has every completed operation once and each
crashed one at most once (Herlihy and Wing 1990, §2). Exponential: for up to about eight operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkers.models.model import Model, State

if TYPE_CHECKING:
    from checkers.linearizability.encode import Entry


def linearization(entries: Sequence[Entry], model: Model) -> list[int] | None:
    """Positions in `entries` in a legal order; None when there is none: the history is not linearizable."""

    def extend(state: State, order: list[int], left: frozenset[int]) -> list[int] | None:
        if all(entries[position].is_crashed for position in left):
            return order
        for position in sorted(left):
            if any(_is_before(entries[other], entries[position]) for other in left):
                continue
            for following in model.step(state, entries[position].operation):
                if (found := extend(following, [*order, position], left - {position})) is not None:
                    return found
        return None

    return extend(model.initial(), [], frozenset(range(len(entries))))


def _is_before(a: Entry, b: Entry) -> bool:
    """Whether `a` returned before `b` was called. Intervals are closed: meeting at one event is no order."""
    return not a.is_crashed and a.ret < b.call
