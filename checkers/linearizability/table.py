"""A model as a table of integers: states and operations interned, transitions filled when first needed.

Where the operations of a history lead to few states (registers, locks), the whole table is made at once. It is then
shared by all keys and threads, no search calls into Python, and more is known: which operations never change any state,
and which operations are the same in all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from operator import contains
from typing import Any, overload

from checkers.models.compact_form import Compact
from checkers.models.model import Model, Operation, State, speaks_for

STEPS_MIN, STEPS_MAX = 1 << 6, 1 << 16
"""Calls of `step` that a complete table may always cost, and ever cost."""


def steps_for(count: int) -> int:
    """The calls of `step` that a complete table may cost a history of so many operations."""
    return max(STEPS_MIN, min(4 * count, STEPS_MAX))


class Table:
    """Transitions between interned states.

    states: by number, the initial one first, in the model's own form, made when somebody looks. is_pure[o]: the operation
    never changes a state. group[o]: equal for operations with the same effect in every state. is_complete: every transition
    is known; nothing changes any more.
    Raises, on construction and when it is asked, whatever the model raises.
    """

    def __init__(self, model: Model, operations: Sequence[Operation], steps_max: int = STEPS_MIN) -> None:
        self.model = model
        self.operations = operations
        self._compact: Compact | None = model.compact(operations) if speaks_for(model, "compact") else None
        self._states: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, tuple[int, ...]] = {}
        self._reached: dict[int, bool] = {}
        self._intern(model.initial() if self._compact is None else self._compact.initial())
        self.is_complete = self._complete(steps_max)
        self.is_pure = [model.is_pure(operation) for operation in operations]
        self.group = list(range(len(operations)))
        if self.is_complete:
            self._compare_columns()

    def following(self, state: int, op: int) -> tuple[int, ...]:
        """The states that may follow; asks the model the first time."""
        cell = state * len(self.operations) + op
        known = self._known.get(cell)
        if known is None:
            known = self._known[cell] = self.step(state, op)
        return known

    def step(self, state: int, op: int) -> tuple[int, ...]:
        """The same, asking the model each time: for a core that remembers the answer itself."""
        held = self._states[state]
        after = self.model.step(held, self.operations[op]) if self._compact is None else self._compact.step(held, op)
        if type(after) is tuple and len(after) == 1:
            return (self._intern(after[0]),)
        return tuple(dict.fromkeys(map(self._intern, after)))

    @property
    def states(self) -> Sequence[State]:
        """The states by number."""
        return self._states if self._compact is None else _Plain(self._states, self._compact)

    @property
    def is_guiding(self) -> bool:
        """Whether the model tells dead ends, and they are worth asking for: a complete table is searched fast enough."""
        return not self.is_complete and speaks_for(self.model, "can_reach")

    def can_reach(self, state: int, op: int) -> bool:
        """Whether the pure operation may become possible; asks the model the first time."""
        cell = state * len(self.operations) + op
        known = self._reached.get(cell)
        if known is None:
            known = self._reached[cell] = self.ask_reach(state, op)
        return known

    def ask_reach(self, state: int, op: int) -> bool:
        """The same, asking the model each time."""
        held = self._states[state]
        if self._compact is not None:
            return self._compact.can_reach(held, op)
        return bool(self.model.can_reach(held, self.operations[op]))

    def landings(self) -> list[int]:
        """By operation, the state that it leads to wherever it is possible; -1 where it depends."""
        if self._compact is not None or not speaks_for(self.model, "leads_to"):
            return [-1] * len(self.operations)
        named = map(self.model.leads_to, self.operations)
        return [-1 if states is None else self._intern(states[0]) for states in named]

    def known(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """State, operation and the states that may follow, of every transition asked for so far."""
        for cell, following in self._known.items():
            yield *divmod(cell, len(self.operations)), following

    def never(self) -> frozenset[int]:
        """The operations that are impossible in every state, as far as that is known: in a complete table."""
        if not self.is_complete:
            return frozenset()
        possible = {op for _, op, following in self.known() if following}
        return frozenset(range(len(self.operations))) - possible

    def _intern(self, state: Hashable) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _complete(self, steps_max: int) -> bool:
        """Whether all rows could be filled within the budget. A model may refuse what no history would ask of it."""
        reached = 0
        while reached < len(self._states):
            if len(self._states) * len(self.operations) > steps_max:
                return False
            row = reached * len(self.operations)
            try:
                for op in range(len(self.operations)):
                    self._known[row + op] = self.step(reached, op)
            except Exception:  # noqa: BLE001 - the search meets it again where it matters, and reports it
                return False
            reached += 1
        return True

    def _compare_columns(self) -> None:
        first: dict[tuple[tuple[int, ...], ...], int] = {}
        width, known = len(self.operations), self._known
        stays = [((), (state,)) for state in range(len(self._states))]
        for op in range(width):
            column = tuple([known[cell] for cell in range(op, len(stays) * width, width)])
            self.group[op] = first.setdefault(column, op)
            if not self.is_pure[op] and all(map(contains, stays, column)):
                self.is_pure[op] = True


class _Plain(Sequence[State]):
    """Compact states as the model has them."""

    def __init__(self, states: list[Any], compact: Compact) -> None:
        self._states, self._compact = states, compact

    def __len__(self) -> int:
        return len(self._states)

    @overload
    def __getitem__(self, number: int) -> State: ...
    @overload
    def __getitem__(self, number: slice) -> list[State]: ...
    def __getitem__(self, number: int | slice) -> State | list[State]:
        if isinstance(number, slice):
            return [self._compact.plain(state) for state in self._states[number]]
        return self._compact.plain(self._states[number])
