"""A history as the searches see it: one entry per operation, with the two events between which it took effect.

Entries are stored as columns of integers, and equal operations once, because a history may have a million of them; an
`Entry` is made when somebody looks at it. Event ranks are positions in the history: its order is the order of events,
so intervals are closed at both ends wherever the history's reader put the calls of one instant before its returns.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, overload

import msgspec

from checkers.linearizability import native
from checkers.models.model import Operation
from histories.columns import BY_NEMESIS, INVOKE, TYPES, OpColumns
from histories.history import History
from histories.op import NEMESIS, Op, Process, freeze
from histories.wellformed import MalformedHistory, Problem

WILDCARD_FS = frozenset({"read", "get"})
"""What `nil_reads` applies to."""


class Entry(msgspec.Struct, frozen=True):
    """One operation and its interval.

    call, ret: event ranks (positions in the history it was encoded from); ret is -1 for a crashed operation, which may
        take effect at any time after its call, or never.
    invoke_index, complete_index: the `index` of its ops; complete_index is None when nothing was ever heard of it.
    """

    operation: Operation
    call: int
    ret: int
    invoke_index: int
    complete_index: int | None
    process: Process

    @property
    def is_crashed(self) -> bool:
        """Whether nobody knows if it took effect."""
        return self.ret < 0


class Entries(Sequence[Entry]):
    """The operations of one object, in order of their calls. Immutable.

    operations: the distinct operations; other keys of the same history may share the list.
    op: int32[n], index into operations. call: int32[n], ascending. end: int32[n], the position of the completion when
    it counts as a return, -1 when there is none, -2 - p when the completion at position p is an `info`.
    returns: int32[m], the completed entries in order of their returns.
    is_plain: the values, but for what `contains` answered, are known to be integers, texts, None, and lists of these: no two of
    different types are equal.
    """

    __slots__ = ("call", "end", "is_plain", "op", "operations", "ops", "returns")

    def __init__(
        self,
        ops: Sequence[Op],
        operations: Sequence[Operation],
        op: array[int],
        call: array[int],
        end: array[int],
        returns: array[int],
        is_plain: bool = False,
    ) -> None:
        self.ops = ops
        self.operations = operations
        self.op = op
        self.call = call
        self.end = end
        self.returns = returns
        self.is_plain = is_plain

    def __len__(self) -> int:
        return len(self.op)

    @overload
    def __getitem__(self, position: int) -> Entry: ...
    @overload
    def __getitem__(self, position: slice) -> list[Entry]: ...
    def __getitem__(self, position: int | slice) -> Entry | list[Entry]:
        if isinstance(position, slice):
            return [self._entry(i) for i in range(*position.indices(len(self)))]
        return self._entry(range(len(self))[position])

    def __iter__(self) -> Iterator[Entry]:
        return map(self._entry, range(len(self)))

    def invoke_index(self, i: int) -> int:
        """The `index` of the invocation of the entry at a position."""
        return self.ops[self.call[i]].index

    def _entry(self, i: int) -> Entry:
        call, end = self.call[i], self.end[i]
        invoked = self.ops[call]
        completion = end if end >= 0 else -2 - end
        return Entry(
            self.operations[self.op[i]],
            call,
            max(end, -1),
            invoked.index,
            self.ops[completion].index if completion >= 0 else None,
            invoked.process,
        )


def part(entries: Entries, positions: Sequence[int]) -> Entries:
    """The entries at these positions, which ascend, with the distinct operations of those alone."""
    numbers: dict[int, int] = {}
    op = array("i", [numbers.setdefault(entries.op[position], len(numbers)) for position in positions])
    operations = [entries.operations[number] for number in numbers]
    call = array("i", [entries.call[position] for position in positions])
    end = array("i", [entries.end[position] for position in positions])
    returns = array("i", sorted((i for i in range(len(end)) if end[i] >= 0), key=end.__getitem__))
    return Entries(entries.ops, operations, op, call, end, returns)


def columns(entries: Sequence[Entry]) -> Entries:
    """The same entries as columns: themselves when they already are. Their order must be that of their calls.

    Entries built by hand, or a part of another history's, need no history behind them.
    """
    if isinstance(entries, Entries):
        return entries
    known: dict[Hashable, int] = {}
    operations: list[Operation] = []
    op, call, end = array("i"), array("i"), array("i")
    for entry in entries:
        identity = _identity(entry.operation)
        if identity not in known:
            known[identity] = len(operations)
            operations.append(entry.operation)
        op.append(known[identity])
        call.append(entry.call)
        end.append(entry.ret if entry.ret >= 0 else -1)
    if any(later <= earlier for earlier, later in pairwise(call)):
        raise ValueError("entries must be in ascending order of their calls")
    returns = array("i", sorted((i for i in range(len(end)) if end[i] >= 0), key=end.__getitem__))
    return Entries((), operations, op, call, end, returns)


def entries(history: History, *, refused: bool = False, nil_reads: bool = False) -> Entries:
    """Every client operation of a history of one object, whatever keys its ops carry.

    refused: an operation that failed is an observation (a failed cas saw another value), as Porcupine takes it;
        otherwise it is left out, as Knossos does.
    nil_reads: an `ok` read that returned nothing (None) is compatible with every state, as in Knossos's data.

    Raises MalformedHistory when a process has two operations open or completes what it did not invoke.
    """
    parts = _encode(history, by_key=False, refused=refused, nil_reads=nil_reads)
    return parts.get(None) or Entries(history.ops, [], array("i"), array("i"), array("i"), array("i"))


def entries_by_key(history: History, *, refused: bool = False, nil_reads: bool = False) -> dict[Any, Entries]:
    """Key (hashable) -> its operations, in order of first appearance; options and errors as `entries`."""
    return _encode(history, by_key=True, refused=refused, nil_reads=nil_reads)


def _encode(history: History, *, by_key: bool, refused: bool, nil_reads: bool) -> dict[Any, Entries]:
    with _collector_paused():
        return _encoded(history, by_key=by_key, refused=refused, nil_reads=nil_reads)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage is looked for meanwhile: encoding makes tuples and no cycles, and each look goes through the whole history."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _encoded(history: History, *, by_key: bool, refused: bool, nil_reads: bool) -> dict[Any, Entries]:
    if native.encoder is not None and not native.is_pure_forced():
        encoded: dict[Any, Entries] | None = native.encoder.encode(
            history.ops, by_key, refused, nil_reads, Entries, _malformed, _types, WILDCARD_FS
        )
        if encoded is not None:
            return encoded
    if isinstance(history.ops, OpColumns):
        return encode_columns(history.ops, by_key=by_key, refused=refused, nil_reads=nil_reads)
    return encode_pure(history.ops, by_key=by_key, refused=refused, nil_reads=nil_reads)


def encode_pure(ops: Sequence[Op], *, by_key: bool, refused: bool, nil_reads: bool) -> dict[Any, Entries]:
    """The pure twin of the native encoder, and its specification."""
    events = ((None if op.process == NEMESIS else op.process, op.type == "invoke") for op in ops)
    calls, ends = _intervals(events, lambda position: ops[position].f)
    known: dict[Hashable, int] = {}
    operations: list[Operation] = []
    parts: dict[Any, tuple[array[int], array[int], array[int]]] = {}
    for call, end in zip(calls, ends, strict=True):
        invoked = ops[call]
        key = freeze(invoked.key) if by_key else None
        type_ = ops[end].type if end >= 0 else "info"
        if type_ == "fail" and not refused:
            parts.setdefault(key, (array("i"), array("i"), array("i")))
            continue
        result = ops[end].value if type_ != "info" else None
        is_known = type_ != "info" and not (nil_reads and type_ == "ok" and result is None and invoked.f in WILDCARD_FS)
        operation = Operation(invoked.f, freeze(invoked.value), freeze(result), is_known, type_ == "fail")
        identity = _identity(operation)
        number = known.setdefault(identity, len(operations))
        if number == len(operations):
            operations.append(operation)
        op_column, call_column, end_column = parts.setdefault(key, (array("i"), array("i"), array("i")))
        op_column.append(number)
        call_column.append(call)
        end_column.append(end if type_ != "info" else -1 if end < 0 else -2 - end)
    encoded: dict[Any, Entries] = {}
    for key, (op_column, call_column, end_column) in parts.items():
        completed = (i for i in range(len(end_column)) if end_column[i] >= 0)
        returns = array("i", sorted(completed, key=end_column.__getitem__))
        encoded[key] = Entries(ops, operations, op_column, call_column, end_column, returns)
    return encoded


def encode_columns(ops: OpColumns, *, by_key: bool, refused: bool, nil_reads: bool) -> dict[Any, Entries]:
    """As `encode_pure`, without making an op: a long history's columns already have numbers for values."""
    events = (
        (None if process == BY_NEMESIS else process, type_ == INVOKE)
        for process, type_ in zip(ops.process, ops.type, strict=True)
    )
    calls, ends = _intervals(events, lambda position: ops.things[ops.f[position]])
    things, types, fs, keys, values = ops.things, ops.type, ops.f, ops.key, ops.value
    wildcards = {number for number in set(fs) if things[number] in WILDCARD_FS} if nil_reads else set()
    operations: list[Operation] = []
    numbers: dict[tuple[int, int, int, bool, bool], int] = {}
    identities: dict[Hashable, int] = {}
    parts: list[tuple[array[int], array[int], array[int]]] = []
    part_of_key: dict[int, int] = {}
    parts_by_key: dict[Any, int] = {}
    ok, fail, info = (TYPES.index(name) for name in ("ok", "fail", "info"))
    for call, end in zip(calls, ends, strict=True):
        key_number = keys[call] if by_key else 0
        part = part_of_key.get(key_number)
        if part is None:
            key = freeze(things[key_number])
            part = part_of_key[key_number] = parts_by_key.setdefault(key, len(parts))
            if part == len(parts):
                parts.append((array("i"), array("i"), array("i")))
        kind = types[end] if end >= 0 else info
        is_refused = kind == fail
        if is_refused and not refused:
            continue
        f = fs[call]
        result = 0 if kind == info else values[end]
        is_known = kind != info and not (kind == ok and f in wildcards and things[result] is None)
        name = (f, values[call], result, is_known, is_refused)
        number = numbers.get(name)
        if number is None:
            argument, answer = freeze(things[values[call]]), freeze(things[result])
            operation = Operation(things[f], argument, answer, is_known, is_refused)
            number = numbers[name] = identities.setdefault(_identity(operation), len(operations))
            if number == len(operations):
                operations.append(operation)
        op_column, call_column, end_column = parts[part]
        op_column.append(number)
        call_column.append(call)
        end_column.append(end if kind != info else -1 if end < 0 else -2 - end)
    encoded: dict[Any, Entries] = {}
    for key, part in parts_by_key.items():
        op_column, call_column, end_column = parts[part]
        completed = (i for i in range(len(end_column)) if end_column[i] >= 0)
        returns = array("i", sorted(completed, key=end_column.__getitem__))
        encoded[key] = Entries(ops, operations, op_column, call_column, end_column, returns)
    return encoded


def _intervals(
    events: Iterable[tuple[Process | None, bool]], f_of: Callable[[int], object]
) -> tuple[array[int], array[int]]:
    """Positions of the clients' invocations, in order, and of their completions (-1: none).

    events: of each op its process, None for the nemesis, and whether it is an invocation. f_of: the f at a position.
    """
    calls, ends = array("i"), array("i")
    open_: dict[Process, int] = {}
    for position, (process, is_call) in enumerate(events):
        if process is None:
            continue
        if is_call:
            if process in open_:
                detail = f"process {process} invoked {f_of(position)} with an operation open"
                raise _malformed(position, "two-open", detail)
            open_[process] = len(calls)
            calls.append(position)
            ends.append(-1)
        else:
            opened = open_.pop(process, None)
            if opened is None:
                raise _malformed(
                    position, "no-invocation", f"process {process} completed {f_of(position)}, not invoked"
                )
            ends[opened] = position
    return calls, ends


def _malformed(position: int, rule: str, detail: str) -> MalformedHistory:
    return MalformedHistory([Problem(position, rule, detail)])


def _identity(operation: Operation) -> Hashable:
    """Equal for operations that no model can tell apart: 1, 1.0 and True are equal in Python and different here."""
    return (operation, _types(operation.argument), _types(operation.result))


def _types(value: Any) -> object:
    """The shape of a value's types: what equality does not see."""
    if isinstance(value, tuple):
        return tuple(map(_types, value))
    if isinstance(value, frozenset):
        return tuple(sorted(map(repr, value)))
    return type(value)
