"""Counters: a number that is added to."""

from __future__ import annotations

from typing import Any

from checkers.models.model import Model, Operation, State
from checkers.models.shape import is_integer, is_observed, no_argument


class Counter(Model):
    """A counter whose updates return nothing. Ops: `add` n (may be negative), `increment`, `decrement`, `read`.

    What an update's completion carries is ignored (Jepsen's repeat the argument). A refused read or update says
    nothing.
    """

    name = "counter"
    fs = frozenset({"add", "increment", "decrement", "read"})

    def __init__(self, initial: int = 0) -> None:
        self._initial = initial

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, int)
        if operation.f == "read":
            seen = operation.result
            # Where no op names 1, nothing has told it from 1.0 and true before.
            return (state,) if not is_observed(operation) or (seen == state and type(seen) is int) else ()
        return (state,) if operation.is_refused else (state + _amount(operation),)

    def check(self, operation: Operation) -> str | None:
        if operation.f == "add":
            return None if is_integer(operation.argument) else f"add takes a whole number, not {operation.argument!r}"
        return None if operation.f == "read" else no_argument(operation)

    def describe(self, state: State) -> str:
        return f"the counter stands at {state}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused or operation.f == "read" or _amount(operation) == 0


class ReturningCounter(Counter):
    """A counter whose updates return the value after them, as Redis' INCR does; otherwise as `counter`."""

    name = "counter-returning"

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        after = super().step(state, operation)
        if not is_observed(operation):
            return after
        return tuple(value for value in after if value == operation.result)

    def check(self, operation: Operation) -> str | None:
        if is_observed(operation) and operation.f != "read" and not is_integer(operation.result):
            return f"{operation.f} returns the new value, a whole number, not {operation.result!r}"
        return super().check(operation)


def _amount(operation: Operation) -> int:
    amount: Any = {"increment": 1, "decrement": -1}.get(operation.f, operation.argument)
    assert isinstance(amount, int)
    return amount
