"""States of the shipped collections that are cheap to step, hash and compare, for one history's operations.

A model's own states are tuples and sets, easy to write and to read, and copied and hashed whole at each step. The search asks for
another form of them (`Model.compact`) and keeps each as a number. Two forms are enough:

- *A chain* for what changes at one end, the stack and the growing list: a state is its last element and the chain before it. A
  chain remembers what was put behind it, so equal sequences are the same object: stepping, hashing and comparing take the
  same time for any size.
- *One integer* for what changes elsewhere: a bit for each value that a set may hold, a field of bits for each place of a queue or
  for how often each value is in a priority queue. Copying and hashing are linear in its bits, some hundred times fewer machine
  words than objects in the model's own state.

Values are the same when they are equal in Python, as in the models' own states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from checkers.models.model import Operation


class Chain:
    """A sequence: `last` behind `rest`. Equal sequences that grew from one empty chain are one object."""

    __slots__ = ("_grown", "last", "rest", "size")

    def __init__(self, last: Any = None, rest: Chain | None = None) -> None:
        self.last = last
        self.rest = rest
        self.size: int = 0 if rest is None else rest.size + 1
        self._grown: dict[Any, Chain] = {}

    def with_last(self, value: Any) -> Chain:
        """The sequence with the value behind it."""
        found = self._grown.get(value)
        if found is None:
            found = self._grown[value] = Chain(value, self)
        return found

    def items(self) -> tuple[Any, ...]:
        """The elements, the first one first."""
        found: list[Any] = []
        at = self
        while at.rest is not None:
            found.append(at.last)
            at = at.rest
        return tuple(reversed(found))


def _chain(values: Iterable[Any], empty: Chain) -> Chain:
    for value in values:
        empty = empty.with_last(value)
    return empty


def _takes_nothing(operation: Operation) -> bool:
    return operation.is_refused or (operation.is_known and operation.result is None)


class ChainedStack:
    """The states of LifoStack: chains whose last element is the next to be taken."""

    def __init__(self, initial: tuple[Any, ...], operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._initial = _chain(reversed(initial), Chain())

    def initial(self) -> Chain:
        return self._initial

    def step(self, state: Chain, op: int) -> tuple[Chain, ...]:
        operation = self._operations[op]
        if operation.f == "push":
            return (state,) if operation.is_refused else (state.with_last(operation.argument),)
        if _takes_nothing(operation):
            return (state,) if state.rest is None else ()
        is_peek = operation.f == "peek"
        if state.rest is None:
            return (state,) if is_peek and not operation.is_known else ()
        if operation.is_known and state.last != operation.result:
            return ()
        return (state if is_peek else state.rest,)

    def can_reach(self, state: Chain, op: int) -> bool:
        return True

    def plain(self, state: Chain) -> tuple[Any, ...]:
        return state.items()[::-1]


class ChainedList:
    """The states of ListAppend. What a read shows is a chain as well, so a prefix is found by its size."""

    def __init__(self, initial: tuple[Any, ...], operations: Sequence[Operation]) -> None:
        self._operations = operations
        empty = Chain()
        self._initial = _chain(initial, empty)
        self._shown: list[list[Chain] | None] = []
        """By operation, for a read whose result counts: the prefixes of what it shows, by size."""

        for operation in operations:
            prefixes = None
            if operation.f == "read" and operation.is_known and not operation.is_refused:
                prefixes = [empty]
                for value in operation.result or ():
                    prefixes.append(prefixes[-1].with_last(value))
            self._shown.append(prefixes)

    def initial(self) -> Chain:
        return self._initial

    def step(self, state: Chain, op: int) -> tuple[Chain, ...]:
        operation = self._operations[op]
        if operation.f == "append":
            return (state,) if operation.is_refused else (state.with_last(operation.argument),)
        shown = self._shown[op]
        return (state,) if shown is None or shown[-1] is state else ()

    def can_reach(self, state: Chain, op: int) -> bool:
        shown = self._shown[op]
        return shown is None or (state.size < len(shown) and shown[state.size] is state)

    def plain(self, state: Chain) -> tuple[Any, ...]:
        return state.items()


class BitSet:
    """The states of SetModel: integers with a bit for each value that is named anywhere."""

    def __init__(self, initial: frozenset[Any], operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._bits: dict[Any, int] = {}
        self._initial = self._mask(initial)
        self._masks: list[int] = []
        """By operation: the bit of its value, or the bits of what it read; -1 for what no set is."""

        for operation in operations:
            if operation.f != "read":
                self._masks.append(self._mask((operation.argument,)))
            elif operation.is_refused or not operation.is_known:
                self._masks.append(0)
            else:
                mask = self._mask(operation.result)
                self._masks.append(mask if len(operation.result) == mask.bit_count() else -1)
        self._values = list(self._bits)

    def initial(self) -> int:
        return self._initial

    def step(self, state: int, op: int) -> tuple[int, ...]:
        operation, mask = self._operations[op], self._masks[op]
        if operation.is_refused:
            return (state,)
        match operation.f:
            case "add":
                return (state | mask,)
            case "remove":
                return (state & ~mask,)
            case "contains":
                is_in = state & mask != 0
                return (state,) if not operation.is_known or operation.result == is_in else ()
            case _:
                return (state,) if not operation.is_known or state == mask else ()

    def can_reach(self, state: int, op: int) -> bool:
        return True

    def plain(self, state: int) -> frozenset[Any]:
        return frozenset(value for place, value in enumerate(self._values) if state >> place & 1)

    def _mask(self, values: Iterable[Any]) -> int:
        mask = 0
        for value in values:
            mask |= 1 << self._bits.setdefault(value, len(self._bits))
        return mask


class PackedQueue:
    """The states of FifoQueue: integers with a field for each place, the next to be taken in the lowest; a field is the number
    of a value, from 1 on.
    """

    def __init__(self, initial: tuple[Any, ...], operations: Sequence[Operation]) -> None:
        self._operations = operations
        numbers: dict[Any, int] = {}
        named = [operation.argument if operation.f == "enqueue" else operation.result for operation in operations]
        for value in (*initial, *named):
            numbers.setdefault(value, len(numbers) + 1)
        self._values = [None, *numbers]
        self._width = len(numbers).bit_length()
        self._field = (1 << self._width) - 1
        self._put = [numbers[value] for value in named]
        self._taken = [numbers[value] if value == value else -1 for value in named]  # A NaN is never what was taken.
        self._initial = 0
        for value in reversed(initial):
            self._initial = self._initial << self._width | numbers[value]

    def initial(self) -> int:
        return self._initial

    def step(self, state: int, op: int) -> tuple[int, ...]:
        operation = self._operations[op]
        if operation.f == "enqueue":
            if operation.is_refused:
                return (state,)
            place = -(-state.bit_length() // self._width)
            return (state | self._put[op] << place * self._width,)
        if _takes_nothing(operation):
            return () if state else (state,)
        is_peek = operation.f == "peek"
        if not state:
            return (state,) if is_peek and not operation.is_known else ()
        if operation.is_known and state & self._field != self._taken[op]:
            return ()
        return (state if is_peek else state >> self._width,)

    def can_reach(self, state: int, op: int) -> bool:
        return True

    def plain(self, state: int) -> tuple[Any, ...]:
        found = []
        while state:
            found.append(self._values[state & self._field])
            state >>= self._width
        return tuple(found)


class CountedQueue:
    """The states of PriorityQueue: integers with a field for each value that is put in, ordered by priority, that says how often it
    is in the queue. What is taken may be anything, of no priority as well.
    """

    _WIDTH = 32

    def __init__(self, initial: tuple[Any, ...], operations: Sequence[Operation]) -> None:
        self._operations = operations
        named = [operation.argument if operation.f == "enqueue" else operation.result for operation in operations]
        put_in = (operation.argument for operation in operations if operation.f == "enqueue")
        distinct = dict.fromkeys(value for value in (*initial, *put_in) if value is not None)
        self._is_never_in = [value is not None and value not in distinct for value in named]
        named = [value if value in distinct else None for value in named]
        self._values = sorted(distinct, key=lambda value: (_priority(value), repr(value)))
        first: dict[int, int] = {}
        shift: dict[Any, int] = {}
        for place, value in enumerate(self._values):
            shift[value] = place * self._WIDTH
            first.setdefault(_priority(value), place * self._WIDTH)
        self._one = [0 if value is None else 1 << shift[value] for value in named]
        self._shift = [0 if value is None else shift[value] for value in named]
        self._smaller = [0 if value is None else (1 << first[_priority(value)]) - 1 for value in named]
        self._initial = sum(1 << shift[value] for value in initial)

    def initial(self) -> int:
        return self._initial

    def step(self, state: int, op: int) -> tuple[int, ...]:
        operation = self._operations[op]
        if operation.f == "enqueue":
            return (state,) if operation.is_refused else (state + self._one[op],)
        if _takes_nothing(operation):
            return () if state else (state,)
        is_peek = operation.f == "peek"
        if not operation.is_known:
            return (state,) if is_peek else self._without_next(state)
        if self._is_never_in[op] or state & self._smaller[op] or not self._count(state, self._shift[op]):
            return ()
        return (state if is_peek else state - self._one[op],)

    def can_reach(self, state: int, op: int) -> bool:
        return True

    def plain(self, state: int) -> tuple[Any, ...]:
        found: list[Any] = []
        for place, value in enumerate(self._values):
            found += [value] * self._count(state, place * self._WIDTH)
        return tuple(found)

    def _count(self, state: int, shift: int) -> int:
        return state >> shift & ((1 << self._WIDTH) - 1)

    def _without_next(self, state: int) -> tuple[int, ...]:
        if not state:
            return ()
        first = ((state & -state).bit_length() - 1) // self._WIDTH
        found: list[int] = []
        for place in range(first, len(self._values)):
            if _priority(self._values[place]) != _priority(self._values[first]):
                break
            if self._count(state, place * self._WIDTH):
                found.append(state - (1 << place * self._WIDTH))
        return tuple(found)


def _priority(value: Any) -> int:
    priority: int = value[0] if isinstance(value, tuple) else value
    return priority
