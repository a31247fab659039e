"""Collections: set, FIFO queue, LIFO stack, priority queue, list.

What takes from an empty queue returns None: an observation that it was empty. A refused take (`fail`) is that same
observation where the checker takes refusals as such. An operation of unknown result takes whatever was next.
A read or peek that was invoked with the value that its client expected is still what its completion says.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Sequence
from typing import Any

from checkers.models.compact import BitSet, ChainedList, ChainedStack, CountedQueue, PackedQueue
from checkers.models.compact_form import Compact
from checkers.models.model import Model, Operation, State
from checkers.models.shape import is_integer, is_observed, items, list_result, no_argument


class SetModel(Model):
    """A set.

    Ops: `add` v, `remove` v, `contains` v (result: true or false), `read` (result: the elements, in any order).

    Adding what is in it and removing what is not are legal and change nothing. Refused operations say nothing.
    """

    name = "set"
    fs = frozenset({"add", "remove", "contains", "read"})

    def __init__(self, initial: Any = ()) -> None:
        """initial: the elements, a list. Raises ValueError."""
        given = items(initial, "the set")
        self._initial = frozenset(given)
        if len(self._initial) < len(set(map(repr, given))):
            raise ValueError(
                f"initial: two elements of {initial!r} differ in their types alone, and no set here holds both"
            )

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, frozenset)
        if operation.is_refused:
            return (state,)
        match operation.f:
            case "add":
                return (state | {operation.argument},)
            case "remove":
                return (state - {operation.argument},)
            case "contains":
                return (state,) if not operation.is_known or operation.result == (operation.argument in state) else ()
            case _:
                return (state,) if not operation.is_known or _is_same_set(operation.result, state) else ()

    def check(self, operation: Operation) -> str | None:
        match operation.f:
            case "read":
                return list_result(operation)
            case "contains" if is_observed(operation) and not isinstance(operation.result, bool):
                return f"contains returns true or false, not {operation.result!r}"
            case _:
                return None

    def describe(self, state: State) -> str:
        assert isinstance(state, frozenset)
        return f"the set holds {_listed(sorted(state, key=repr))}" if state else "the set is empty"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused or operation.f in ("contains", "read")

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        return BitSet(self._initial, operations) if type(self) is SetModel else None


class _Sequence(Model):
    """What queues and stacks share: a tuple whose first element is the next to be taken."""

    put = "enqueue"
    take = "dequeue"
    noun = "queue"

    def __init__(self, initial: Any = ()) -> None:
        """initial: what is in it at first, a list, the next to be taken in front. Raises ValueError."""
        state: tuple[Any, ...] = ()
        given = items(initial, f"the {self.noun}")
        for value in reversed(given) if self.take == "pop" else given:
            if complaint := self.check(Operation(self.put, value)):
                raise ValueError(f"initial: {complaint}")
            state = self.with_value(state, value)
        self._initial = state

    def initial(self) -> State:
        return self._initial

    def with_value(self, state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        """The state after `value` was put in."""
        return (*state, value)

    def without_next(self, state: tuple[Any, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        """Each value that may be taken from this state, which is not empty, with the state after it."""
        return [(state[0], state[1:])]

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, tuple)
        if operation.f == self.put:
            return (state,) if operation.is_refused else (self.with_value(state, operation.argument),)
        if operation.is_refused or (operation.is_known and operation.result is None):
            return () if state else (state,)
        taken = self.without_next(state) if state else []
        if operation.f == "peek":
            is_possible = not operation.is_known or any(value == operation.result for value, _ in taken)
            return (state,) if is_possible else ()
        return tuple(rest for value, rest in taken if not operation.is_known or value == operation.result)

    def check(self, operation: Operation) -> str | None:
        if operation.f != self.put:
            return None if operation.f == "peek" else no_argument(operation)
        return f"{self.put} takes a value, not None" if operation.argument is None else None

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        return f"the {self.noun} holds {_listed(state)} (next first)" if state else f"the {self.noun} is empty"

    def is_pure(self, operation: Operation) -> bool:
        if operation.is_refused or operation.f == "peek":
            return True
        return operation.f == self.take and operation.is_known and operation.result is None

    def component(self, operation: Operation) -> Hashable:
        """The value: the others keep their order without it. What found nothing, or is unknown, belongs to none, and nor
        does a value that was in it at first, because it stays in the way of the others when its take is left out.
        """
        value: Hashable = operation.argument if operation.f == self.put else operation.result
        if value in self._initial:
            return None
        return value if is_observed(operation) or operation.f == self.put else None


class FifoQueue(_Sequence):
    """First in, first out.

    Ops: `enqueue` v, `dequeue`, `peek` (result of both: the oldest value, None: the queue was empty).
    """

    name = "fifo-queue"
    fs = frozenset({"enqueue", "dequeue", "peek"})

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        return PackedQueue(self._initial, operations) if type(self) is FifoQueue else None


class LifoStack(_Sequence):
    """Last in, first out.

    Ops: `push` v, `pop`, `peek` (result of both: the newest value, None: the stack was empty).
    """

    name = "lifo-stack"
    fs = frozenset({"push", "pop", "peek"})
    put = "push"
    take = "pop"
    noun = "stack"

    def with_value(self, state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return (value, *state)

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        return ChainedStack(self._initial, operations) if type(self) is LifoStack else None


class PriorityQueue(_Sequence):
    """The smallest priority first.

    Ops: `enqueue` v, `dequeue`, `peek` (result of both: a value of the smallest priority in it).

    v is a whole number, its own priority, or [priority, item]. Among equal priorities any may come first.
    """

    name = "priority-queue"
    fs = frozenset({"enqueue", "dequeue", "peek"})
    noun = "priority queue"

    def with_value(self, state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        values = list(state)
        insort(values, value, key=lambda item: (_priority(item), repr(item)))
        return tuple(values)

    def without_next(self, state: tuple[Any, ...]) -> list[tuple[Any, tuple[Any, ...]]]:
        first = [value for value in dict.fromkeys(state) if _priority(value) == _priority(state[0])]
        return [(value, _without(state, value)) for value in first]

    def check(self, operation: Operation) -> str | None:
        value = operation.argument
        if operation.f != self.put:
            return super().check(operation)
        if is_integer(value) or (isinstance(value, tuple) and len(value) == 2 and is_integer(value[0])):
            return None
        return f"enqueue takes a whole number or [priority, item], not {value!r}"

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        return CountedQueue(self._initial, operations) if type(self) is PriorityQueue else None


class ListAppend(Model):
    """A list that only grows at its end. Ops: `append` v, `read` (result: the whole list; None: the empty one).

    Refused operations say nothing.
    """

    name = "list-append"
    fs = frozenset({"append", "read"})

    def __init__(self, initial: Any = ()) -> None:
        """initial: the list at first. Raises ValueError."""
        self._initial = items(initial, "the list")

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, tuple)
        if operation.f == "append":
            return (state,) if operation.is_refused else ((*state, operation.argument),)
        return (state,) if not is_observed(operation) or (operation.result or ()) == state else ()

    def check(self, operation: Operation) -> str | None:
        return None if operation.f != "read" or operation.result is None else list_result(operation)

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        return f"the list is {_listed(state)}" if state else "the list is empty"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused or operation.f == "read"

    def can_reach(self, state: State, operation: Operation) -> bool:
        """The list only grows at its end."""
        if operation.f != "read" or not is_observed(operation):
            return True
        assert isinstance(state, tuple)
        seen: tuple[Any, ...] = operation.result or ()
        return len(state) <= len(seen) and seen[: len(state)] == state

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        return ChainedList(self._initial, operations) if type(self) is ListAppend else None


def _priority(value: Any) -> int:
    priority: int = value[0] if isinstance(value, tuple) else value
    return priority


def _without(state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    at = state.index(value)
    return state[:at] + state[at + 1 :]


def _is_same_set(result: Any, state: frozenset[Any]) -> bool:
    """Whether a read, a list or a set, names each element exactly once."""
    return len(result) == len(state) and frozenset(result) == state


def _listed(values: Any) -> str:
    """The values in words; the middle of a long list is left out."""
    if len(values) <= 20:
        return ", ".join(map(repr, values))
    return ", ".join([*map(repr, values[:10]), f"... {len(values) - 20} more ...", *map(repr, values[-10:])])
