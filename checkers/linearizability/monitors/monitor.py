"""What a monitor is: an algorithm that decides one data type's histories in near-linear time, where its conditions hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from checkers.linearizability.encode import Entries
from checkers.models.model import Model
from checkers.verdict import Validity


class Decision(msgspec.Struct, frozen=True):
    """What a monitor found for one key.

    validity: UNKNOWN means that the monitor does not decide this history; `reason` says which condition fails.
    linearization: for VALID, positions in the entries in a legal order; completed operations all, crashed ones only where
        needed.
    core: for INVALID, positions of a sub-history that is not linearizable by itself, which proves that the whole one is
        not.
    """

    validity: Validity
    reason: str = ""
    linearization: Sequence[int] = ()
    core: Sequence[int] = ()


Monitor = Callable[[Entries, Model], Decision]
"""A pure function. It checks its own conditions: of any entries and a model of its class it gives no wrong verdict."""


Parts = Callable[[Entries, Model], list[list[int]]]
"""Positions of independent parts of one object's entries, all of them, each ascending. One part: nothing to tell apart."""


Copies = Callable[[Entries, Model, Monitor], Decision]
"""What the monitor says of a history in which values are put in more than once, when their copies are told apart."""


class Twins(msgspec.Struct, frozen=True):
    """A monitor twice. pure: the specification. native: the same answers, faster; None where it was not built.

    name: what the stats call it when it decides, such as "queue monitor". parts: how the entries that it does not decide as a whole
    fall into parts that are linearizable exactly when the whole is; None: they do not. copies: asked where the monitor does not
    decide; None: copies of a value cannot be told apart.
    """

    name: str
    pure: Monitor
    native: Monitor | None = None
    parts: Parts | None = None
    copies: Copies | None = None


def valid(linearization: Sequence[int]) -> Decision:
    """The entries are linearizable, in this order."""
    return Decision(Validity.VALID, linearization=linearization)


def invalid(core: Sequence[int]) -> Decision:
    """The entries at these positions are not linearizable, so the whole history is not. Order and repetition do not
    matter.
    """
    return Decision(Validity.INVALID, core=sorted(set(core)))


def undecided(reason: str) -> Decision:
    """The monitor does not decide: the condition in `reason` fails."""
    return Decision(Validity.UNKNOWN, reason=reason)
