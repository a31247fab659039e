"""Many keys in one object: key-value map, multi-register, and lists by key; for histories that cannot be split by key.

Each state is the frozenset of (key, value) pairs that differ from absent. A history whose operations touch one key each
is checked much faster split by key (locality: Herlihy and Wing 1990, §3.1).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from checkers.models.model import Model, Operation, State
from checkers.models.register import KeyValue
from checkers.models.shape import is_observed, is_pair, pairs
from histories.op import FrozenMap

_ONE_KEY = KeyValue()


class KeyValueMap(Model):
    """A key-value store whose keys are in the arguments; otherwise as `kv`.

    Ops: `get` (or `read`) k, `put` (or `write`) [k, v], `append` [k, text], `delete` k, `cas` [k, old, new].
    """

    name = "kv-map"
    fs = KeyValue.fs

    def __init__(self, initial: Any = ()) -> None:
        """initial: the map at first. Raises ValueError."""
        self._initial = _held(initial, "the map")

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, frozenset)
        key, single = _split(operation)
        held = dict(state).get(key)
        return tuple(_replaced(state, key, held, new) for new in _ONE_KEY.step(held, single))

    def check(self, operation: Operation) -> str | None:
        wanted, length = {
            "put": ("[key, value]", 2),
            "write": ("[key, value]", 2),
            "append": ("[key, text]", 2),
            "cas": ("[key, old, new]", 3),
        }.get(operation.f, ("a key", None))
        argument = operation.argument
        is_tuple = isinstance(argument, tuple)
        if (length is None and argument is None) or (length is not None and not (is_tuple and len(argument) == length)):
            return f"{operation.f} takes {wanted}, not {argument!r}"
        return _ONE_KEY.check(_split(operation)[1])

    def describe(self, state: State) -> str:
        assert isinstance(state, frozenset)
        return f"the map is {_pairs(state)}" if state else "the map is empty"

    def is_pure(self, operation: Operation) -> bool:
        return _ONE_KEY.is_pure(_split(operation)[1])

    def component(self, operation: Operation) -> Hashable:
        key: Hashable = _split(operation)[0]
        return key

    def touches(self, operation: Operation) -> frozenset[Hashable]:
        return frozenset({self.component(operation)})

    def of_one(self, name: Hashable) -> Model:
        """The key's own store."""
        begins = self.initial()
        assert isinstance(begins, frozenset)
        return KeyValue(dict(begins).get(name))

    def within(self, operation: Operation) -> Operation:
        return _split(operation)[1]


class MultiRegister(Model):
    """Several registers, read and written together, atomically.

    Ops: `read` (argument: the names, or pairs [name, None], or a map; result: pairs [name, value] or a map, in which a
    register that is left out is absent), `write` (pairs or a map), `txn` (a list of [f, name, value], f being r, read, w or
    write; in the result the reads hold what they returned, and see the writes before them in the same transaction). A
    refused operation says nothing.
    """

    name = "multi-register"
    fs = frozenset({"read", "write", "txn"})

    def __init__(self, initial: Any = ()) -> None:
        """initial: the registers that hold something at first, as a map. Raises ValueError."""
        self._initial = _held(initial, "the multi-register")

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, frozenset)
        if operation.is_refused:
            return (state,)
        held = dict(state)
        for f, name, value in _micro_ops(operation):
            if f in ("w", "write"):
                held[name] = value
            elif operation.is_known and held.get(name) != value:
                return ()
        return (frozenset((name, value) for name, value in held.items() if value is not None),)

    def check(self, operation: Operation) -> str | None:
        argument, result = operation.argument, operation.result
        if operation.f == "txn":
            for what, ops in (("takes", argument), ("returns", result if is_observed(operation) else ())):
                if not isinstance(ops, tuple) or not all(_is_micro_op(op) for op in ops):
                    return f"txn {what} a list of [r or w, name, value], not {ops!r}"
            if is_observed(operation) and list(map(_asked, argument)) != list(map(_asked, result)):
                return f"txn returned {result!r}, which are not the steps that it was asked for: {argument!r}"
            return None
        if operation.f == "write":
            return None if _are_pairs(argument) else f"write takes pairs [name, value] or a map, not {argument!r}"
        if is_observed(operation) and not _are_pairs(result):
            return f"read returns pairs [name, value] or a map, not {result!r}"
        if is_observed(operation) and (asked := _names(argument)) is not None:
            others = [name for name, _ in result if name not in asked]
            return (
                f"read of {', '.join(map(repr, asked))} returned {others[0]!r}, which it did not ask for"
                if others
                else None
            )
        return None

    def describe(self, state: State) -> str:
        assert isinstance(state, frozenset)
        return f"the registers hold {_pairs(state)}" if state else "no register was written"

    def without_nil_reads(self, operation: Operation) -> Operation:
        """The operation without what it read as absent, where that says nothing: as Knossos's multi-register."""
        if operation.is_refused or not operation.is_known or operation.f not in ("read", "txn"):
            return operation
        if operation.f == "read":
            return Operation("read", None, tuple(each for each in operation.result if each[1] is not None))
        told = tuple(each for each in operation.result if each[2] is not None or _writes(each))
        return Operation("txn", operation.argument, told)

    def is_pure(self, operation: Operation) -> bool:
        if operation.is_refused or operation.f == "read":
            return True
        return operation.f == "txn" and all(f in ("r", "read") for f, _, _ in operation.argument)

    def touches(self, operation: Operation) -> frozenset[Hashable]:
        if operation.is_refused:
            return frozenset()
        return frozenset(name for _, name, _ in _micro_ops(operation))


def _split(operation: Operation) -> tuple[Any, Operation]:
    """The key, and the same operation as one key's model sees it."""
    match operation.f:
        case "put" | "write" | "append":
            key, argument = operation.argument
        case "cas":
            key, *swap = operation.argument
            argument = tuple(swap)
        case _:
            key, argument = operation.argument, None
    return key, Operation(operation.f, argument, operation.result, operation.is_known, operation.is_refused)


def _held(initial: Any, what: str) -> frozenset[tuple[Any, Any]]:
    return frozenset((name, value) for name, value in pairs(initial, what) if value is not None)


def _replaced(state: frozenset[Any], key: Any, old: Any, new: Any) -> frozenset[Any]:
    kept = state - {(key, old)}
    return kept if new is None else kept | {(key, new)}


def _micro_ops(operation: Operation) -> Iterator[tuple[str, Any, Any]]:
    """The reads and writes of one operation, in order; the reads with their results where the operation is known."""
    if operation.f == "txn":
        yield from operation.result if operation.is_known else operation.argument
    elif operation.f == "write":
        yield from (("w", name, value) for name, value in operation.argument)
    elif operation.is_known:
        yield from (("r", name, value) for name, value in operation.result)
        told = {name for name, _ in operation.result}
        yield from (("r", name, None) for name in _names(operation.argument) or () if name not in told)


def _names(argument: Any) -> tuple[Any, ...] | None:
    """The registers that a read asks for; None: it does not say."""
    if not isinstance(argument, tuple):
        return None
    if isinstance(argument, FrozenMap) or all(is_pair(item) and item[1] is None for item in argument):
        return tuple(name for name, _ in argument)
    return argument


def _is_micro_op(op: object) -> bool:
    return isinstance(op, tuple) and len(op) == 3 and op[0] in ("r", "read", "w", "write")


def _writes(op: tuple[Any, ...]) -> bool:
    return op[0] in ("w", "write")


def _asked(op: tuple[Any, ...]) -> tuple[Any, ...]:
    """A step without what only its completion says."""
    return (True, op[1], op[2]) if _writes(op) else (False, op[1])


def _are_pairs(value: object) -> bool:
    return isinstance(value, tuple) and all(is_pair(item) for item in value)


def _pairs(state: frozenset[Any]) -> str:
    return ", ".join(f"{key!r}: {value!r}" for key, value in sorted(state, key=repr))
