"""A long history as columns of integers: about 30 bytes an event, where an Op takes 150.

An `Op` is made when somebody looks at it. Values, keys, errors and names stand once in a table, as far as they repeat: columns hold
their numbers. Numbers of two values may be equal only when no model can tell the values apart (1, 1.0 and True differ).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast, overload

from histories.op import NEMESIS, Op, OpType, Process

TYPES: tuple[OpType, ...] = ("invoke", "ok", "fail", "info")
INVOKE = 0
"""The place of "invoke" in TYPES."""
BY_NEMESIS = -1
"""The number of the nemesis in the column of processes."""
NAMES_MAX = 1 << 18
VALUES_MAX = 1 << 16
"""So many distinct names (f, key, node) and other values are looked up; with more of them there is little to gain."""

_TYPE_NUMBER: dict[str, int] = {name: number for number, name in enumerate(TYPES)}
_PLAIN = frozenset((int, str, bool, type(None)))
"""Not float: 0.0 and -0.0 are equal."""


class OpColumns(Sequence[Op]):
    """Ops in their order; grows by `extend`, and is never changed otherwise.

    things: whatever the columns f, key, value, error and node (int32[n]) hold the number of; None has number 0. indices: int64[n],
    or None while every op's index is its position. time: int64[n]. type: int8[n], a place in TYPES. process: int64[n], for the
    nemesis BY_NEMESIS.
    """

    __slots__ = (
        "_names",
        "_values",
        "error",
        "f",
        "indices",
        "key",
        "node",
        "process",
        "things",
        "time",
        "type",
        "value",
    )

    def __init__(self, ops: Iterable[Op] = ()) -> None:
        self.things: list[Any] = [None]
        self.indices: array[int] | None = None
        self.time, self.process = array("q"), array("q")
        self.type = array("b")
        self.f, self.key, self.value, self.error, self.node = (array("i") for _ in range(5))
        self._names: dict[Any, int] = {}
        self._values: dict[Any, int] = {}
        self.extend(ops)

    def extend(self, ops: Iterable[Op]) -> None:
        """These ops come behind the others. Raises OverflowError for a time or process beyond 64 bits; part of the ops may then
        have been taken."""
        ops = ops if isinstance(ops, list | tuple) else list(ops)
        first, number, names, values = len(self.time), self._number, self._names, self._values
        if self.indices is None and any(op.index != position for position, op in enumerate(ops, first)):
            self.indices = array("q", range(first))
        if self.indices is not None:
            self.indices.extend([op.index for op in ops])
        self.type.extend([_TYPE_NUMBER[op.type] for op in ops])
        self.process.extend([BY_NEMESIS if op.process == NEMESIS else op.process for op in ops])
        self.f.extend([number(op.f, names) for op in ops])
        self.key.extend([0 if op.key is None else number(op.key, names) for op in ops])
        self.value.extend([0 if op.value is None else number(op.value, values) for op in ops])
        self.error.extend([0 if op.error is None else number(op.error, values) for op in ops])
        self.node.extend([0 if op.node is None else number(op.node, names) for op in ops])
        self.time.extend([op.time for op in ops])  # Last: its length is the number of ops.

    def _number(self, thing: Any, known: dict[Any, int]) -> int:
        """The number of an equal thing of the same types, where it is known; else a new one."""
        kind = thing.__class__
        if kind in _PLAIN:
            name: Any = (kind, thing)
        elif kind is list and all(item.__class__ in _PLAIN for item in thing):
            name = (kind, *thing, *map(type, thing))
        else:
            name = None
        if name is not None and (found := known.get(name)) is not None:
            return found
        number = len(self.things)
        self.things.append(thing)
        if name is not None and len(known) < (NAMES_MAX if known is self._names else VALUES_MAX):
            known[name] = number
        return number

    def picked(self, positions: Sequence[int]) -> OpColumns:
        """The ops at these positions, in that order, on the same table of things."""
        found = OpColumns()
        found.things, found._names, found._values = self.things, self._names, self._values
        indices = self.indices
        found.indices = array("q", positions if indices is None else [indices[i] for i in positions])
        for name in ("time", "process", "type", "f", "key", "value", "error", "node"):
            column = getattr(self, name)
            setattr(found, name, array(column.typecode, [column[i] for i in positions]))
        return found

    def __len__(self) -> int:
        return len(self.time)

    @overload
    def __getitem__(self, position: int) -> Op: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Op, ...]: ...
    def __getitem__(self, position: int | slice) -> Op | tuple[Op, ...]:
        if isinstance(position, slice):
            return tuple(self[i] for i in range(*position.indices(len(self))))
        if position < 0:
            position += len(self)
        things = self.things
        process = self.process[position]
        return Op(
            position if self.indices is None else self.indices[position],
            self.time[position],
            TYPES[self.type[position]],
            NEMESIS if process == BY_NEMESIS else process,
            things[self.f[position]],
            things[self.key[position]],
            things[self.value[position]],
            things[self.error[position]],
            things[self.node[position]],
        )

    def __iter__(self) -> Iterator[Op]:
        things = self.things.__getitem__
        return map(
            Op,
            range(len(self)) if self.indices is None else self.indices,
            self.time,
            map(TYPES.__getitem__, self.type),
            cast(Iterable[Process], (NEMESIS if process == BY_NEMESIS else process for process in self.process)),
            map(things, self.f),
            map(things, self.key),
            map(things, self.value),
            map(things, self.error),
            map(things, self.node),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpColumns | tuple):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(len(self))
