"""Non-deterministic models: specifications that allow more than one answer. Examples for your own; see docs/models.md.

`step` returns every state that may follow. The checkers look for one choice that explains the whole history.
"""

from __future__ import annotations

from typing import Any

from checkers.models.containers import FifoQueue
from checkers.models.model import Operation, State
from checkers.models.register import Register
from checkers.models.shape import is_observed


class UnknownInitialRegister(Register):
    """A register that held an unknown value before the history began, such as one that an earlier run left behind.

    The first read fixes it. Ops: `read`, `write`. State: () while unknown, (value,) afterwards.
    """

    name = "register-unknown-initial"

    def __init__(self) -> None:
        super().__init__()

    def initial(self) -> State:
        return ()

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if operation.f == "write":
            return (state,) if operation.is_refused else ((operation.argument,),)
        if not is_observed(operation):
            return (state,)
        seen: State = (operation.result,)
        return (seen,) if state in ((), seen) else ()

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        return super().describe(state[0]) if state else "the register holds what it held before the history began"

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        return None

    def can_reach(self, state: State, operation: Operation) -> bool:
        return True

    def is_pure(self, operation: Operation) -> bool:
        """A read that ended `ok` is not: it may turn the unknown value into a known one."""
        return operation.is_refused or (operation.f == "read" and not is_observed(operation))


class LossyQueue(FifoQueue):
    """A FIFO queue that may lose what was put into it: at-most-once delivery, in order.

    An enqueue leads to two states: with the value, and without.
    """

    name = "lossy-queue"

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        after: tuple[Any, ...] = super().step(state, operation)
        if operation.f == "enqueue" and not operation.is_refused:
            return (*after, state)
        return after
