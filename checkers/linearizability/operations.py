"""The distinct operations of a history as columns of numbers: what native monitors read.

An `Operation` is made when somebody looks at it and kept from then on: a million of them cost more than deciding the history does.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, overload

from checkers.models.model import Operation

KNOWN: Final = 1
REFUSED: Final = 2
"""Bits of `flags`: of an Operation, is_known and is_refused."""

NOTHING, INTEGER, TEXT, SEQUENCE, ODD = 0, 1, 2, 12, 13
"""Kinds of values: None, an integer, a text, a list of these, anything else. A list of two is FIRST_PAIR + 3 * its first one's kind
+ its second one's."""

FIRST_PAIR: Final = 3


class Operations(Sequence[Operation]):
    """Distinct operations by number. Immutable.

    sort: int32[n], 4 * its index into fs + its flags. argument, result: int32[n], indexes into values, 0: None.
    values: of two numbers, unless one is ODD, values differ. Lists are not frozen yet.
    kind: int32[values]. first, second: what a pair consists of, as indexes into values; -1, or beyond their end, where it is none.
    examples: the first operation of each shape: of each sort, kind of argument and of result, and whether both are one value.
    """

    __slots__ = ("_made", "argument", "examples", "first", "fs", "kind", "result", "second", "sort", "values")

    def __init__(
        self,
        fs: list[str],
        values: list[Any],
        sort: array[int],
        argument: array[int],
        result: array[int],
        kind: array[int],
        pairs: tuple[array[int], array[int]],
        examples: array[int],
    ) -> None:
        """pairs: first, second."""
        self.fs = fs
        self.values = values
        self.sort = sort
        self.argument = argument
        self.result = result
        self.kind = kind
        self.first, self.second = pairs
        self.examples = examples
        self._made: list[Operation | None] | None = None

    def __len__(self) -> int:
        return len(self.sort)

    @overload
    def __getitem__(self, number: int) -> Operation: ...
    @overload
    def __getitem__(self, number: slice) -> list[Operation]: ...
    def __getitem__(self, number: int | slice) -> Operation | list[Operation]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        made = self._made
        if made is None:
            made = self._made = [None] * len(self)
        operation = made[number]
        if operation is None:
            f, flags = divmod(self.sort[number], 4)
            operation = made[number] = Operation(
                self.fs[f],
                self._value(self.argument[number]),
                self._value(self.result[number]),
                bool(flags & KNOWN),
                bool(flags & REFUSED),
            )
        return operation

    def __repr__(self) -> str:
        return repr(list(self))

    def _value(self, number: int) -> Any:
        value = self.values[number]
        if value.__class__ is list:
            value = self.values[number] = tuple(value)
        return value
