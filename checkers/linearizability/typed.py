"""Values that Python takes for equal and clients do not: 1, 1.0 and true; and nan, which Python takes for unequal to itself.

The built-in models compare values and look no further. So where a history has such values side by side, all but one type of
them are wrapped, and then they are equal exactly when their types are. What a model of a user's own makes of them is its
own affair: its values stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from checkers.models.model import Model, Operation
from histories.columns import OpColumns
from histories.history import History
from histories.op import freeze

_PLAIN = frozenset({int, str, type(None)})
"""No two values of different types among these are equal."""

_RANK = {int: 0, bool: 1}
"""Which type keeps its values as they are, so that models can go on calculating with numbers."""


class Typed:
    """A value that is equal to values of its own type alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Typed) and type(self.value) is type(other.value) and repr(self.value) == repr(other.value)
        )

    def __hash__(self) -> int:
        return hash((type(self.value), repr(self.value)))

    def __repr__(self) -> str:
        return repr(self.value)


def told_apart(
    operations: Sequence[Operation], model: Model, *, is_plain: bool = False
) -> tuple[Sequence[Operation], Model]:
    """The operations, place by place, and the model, with values that no two types share; the very same where that holds already.

    is_plain: all their values are known to be integers, texts, None, and lists of these.
    """
    if not type(getattr(model, "inner", model)).__module__.startswith("checkers.models."):
        return operations, model
    seen: dict[Any, set[type]] = {}
    _collect(model.initial(), seen)
    if set[type]().union(*seen.values()) <= _PLAIN and (is_plain or _are_plain(operations)):
        return operations, model
    for operation in operations:
        _collect(operation.argument, seen)
    for operation in _valued(operations):
        _collect(operation.result, seen)
    kept: dict[Any, type] = {}
    for value, of_types in seen.items():
        if len(of_types) > 1 or value != value:
            kept[value] = min(of_types, key=lambda each: (_RANK.get(each, 2), each.__name__))
    if not kept:
        return operations, model
    return [_wrapped_operation(operation, kept) for operation in operations], _beginning_wrapped(model, kept)


def _beginning_wrapped(model: Model, kept: dict[Any, type]) -> Model:
    """The model with what its object held at first wrapped as well. Every built-in one that is given it keeps it in `_initial`."""
    if "_initial" not in vars(model):
        return model
    found = copy.copy(model)
    found.__dict__["_initial"] = _wrapped(found.__dict__["_initial"], kept)
    return found


def _are_plain(operations: Sequence[Operation]) -> bool:
    """Whether all values are plain, or lists of plain values: a quick look at the types alone."""
    values = [operation.argument for operation in operations]
    values += [operation.result for operation in _valued(operations)]
    types = set(map(type, values))
    if tuple in types:
        types.discard(tuple)
        types = types.union(*(set(map(type, value)) for value in values if type(value) is tuple))
    return types <= _PLAIN


def alike_keys(history: History) -> tuple[Any, Any] | None:
    """Two keys that Python takes for equal although their types differ, or one, twice, that it takes for unequal to itself (nan);
    None where there is no such key. Nobody can say which ops of such a history are about one object.
    """
    columns = history.ops if isinstance(history.ops, OpColumns) else None
    keys = [columns.things[number] for number in set(columns.key)] if columns else [op.key for op in history.ops]
    if set(map(type, keys)) <= _PLAIN:
        return None
    seen: dict[Any, tuple[Any, Any]] = {}
    for key in keys:
        frozen = freeze(key)
        if not _is_itself(frozen):
            return key, key
        form = _form(frozen)
        form_before, key_before = seen.setdefault(frozen, (form, key))
        if form_before != form:
            return key_before, key
    return None


def _is_itself(value: Any) -> bool:
    return all(map(_is_itself, value)) if isinstance(value, tuple | frozenset) else bool(value == value)


def _form(value: Any) -> Any:
    """The types in a value, place by place."""
    if isinstance(value, tuple):
        return type(value)(map(_form, value))
    return frozenset((item, _form(item)) for item in value) if isinstance(value, frozenset) else type(value)


def _valued(operations: Iterable[Operation]) -> Iterable[Operation]:
    """Those whose results are values of the object: `contains` answers yes or no."""
    return (operation for operation in operations if operation.f != "contains")


def _collect(value: Any, seen: dict[Any, set[type]]) -> None:
    """Add the bare values inside, and their types; those of a list are passed over at once where they are plain."""
    if isinstance(value, tuple | frozenset):
        if not set(map(type, value)) <= _PLAIN:
            for item in value:
                _collect(item, seen)
        else:
            for item in value:
                seen.setdefault(item, set()).add(type(item))
    else:
        seen.setdefault(value, set()).add(type(value))


def _wrapped_operation(operation: Operation, kept: dict[Any, type]) -> Operation:
    result = operation.result if operation.f == "contains" else _wrapped(operation.result, kept)
    argument = _wrapped(operation.argument, kept)
    return Operation(operation.f, argument, result, operation.is_known, operation.is_refused)


def _wrapped(value: Any, kept: dict[Any, type]) -> Any:
    if isinstance(value, tuple):
        return type(value)(_wrapped(item, kept) for item in value)
    if isinstance(value, frozenset):
        return frozenset(_wrapped(item, kept) for item in value)
    if value != value:
        return Typed(value)
    return Typed(value) if value in kept and kept[value] is not type(value) else value
