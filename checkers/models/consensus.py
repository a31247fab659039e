"""A decision: the first value that is proposed is decided, and stays decided (a write-once register; Herlihy 1991, "consensus").

`propose` has argument v, and its result is what is decided, v or what somebody else proposed before; `learn` has argument None, and
its result is what is decided (None: nothing yet). A history is legal exactly when all answers agree (agreement), the decision was
proposed before anyone learned it (validity), and nobody learns "nothing" once it is decided.
"""

from __future__ import annotations

from typing import Any

from checkers.models.model import Model, Operation, State
from checkers.models.shape import is_observed


class Consensus(Model):
    """Ops: `propose`, `learn`. State: what is decided, None before."""

    name = "consensus"
    fs = frozenset({"propose", "learn"})

    def __init__(self, initial: Any = None) -> None:
        """initial: what is decided at first; None: nothing."""
        self._initial = initial

    def initial(self) -> State:
        state: State = self._initial
        return state

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if operation.is_refused:
            return (state,)
        after = state
        if operation.f == "propose" and state is None:
            after = operation.argument
        return (after,) if not is_observed(operation) or operation.result == after else ()

    def check(self, operation: Operation) -> str | None:
        if operation.f == "propose" and operation.argument is None:
            return "propose takes a value; None stands for 'nothing is decided'"
        return None

    def describe(self, state: State) -> str:
        return "nothing is decided" if state is None else f"the decision is {state!r}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused or operation.f == "learn"
