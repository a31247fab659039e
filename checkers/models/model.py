"""A model is a sequential specification: which results an object may give when its operations happen one after another.

Writing your own takes one class with `name`, `fs`, `initial` and `step`; `--model package.module:Name` loads it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Protocol, runtime_checkable

import msgspec

State = Hashable


class Operation(msgspec.Struct, frozen=True):
    """One operation as a model sees it; everything is hashable (lists became tuples).

    argument: the invocation's value. result: the completion's value; None when `is_known` is false.
    is_known: the operation ended `ok` and its result constrains it. False for an `info`: it may happen at any later time or never.
    is_refused: the operation ended `fail` and the checker was asked to take that as an observation (a failed cas).
    """

    f: str
    argument: Any = None
    result: Any = None
    is_known: bool = True
    is_refused: bool = False


@runtime_checkable
class Model(Protocol):
    """A sequential specification. Pure: `step` must give the same answer for equal arguments, and change nothing."""

    name: str
    fs: frozenset[str]
    """The operations it knows; a history with another is refused."""

    def initial(self) -> State:
        """The state before the first operation."""
        ...

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        """The states that may follow, none when the operation cannot happen here as it did; deterministic models give at most one."""
        ...

    def check(self, operation: Operation) -> str | None:
        """What is wrong with the shape of the operation's values, in words, or None."""
        ...

    def describe(self, state: State) -> str:
        """The state in words, for a person who reads why a history failed."""
        ...
