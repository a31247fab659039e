"""Values as dictionary keys, so that no two that a client could tell apart are one: 1, 1.0 and true are three."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from histories.op import FrozenMap, Op, freeze


def identity(value: Any) -> Hashable:
    """Equal for equal values of equal types. Lists, maps and sets have one as well."""
    if value.__class__ is int or value.__class__ is str:
        return value
    return _typed(freeze(value))


PLAIN = frozenset({int, str})


def identities(values: Sequence[Any]) -> Sequence[Hashable]:
    """The identity of each value."""
    if PLAIN.issuperset(map(type, values)):
        return values
    return [identity(value) for value in values]


def _typed(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return ("map" if isinstance(value, FrozenMap) else "list", *map(_typed, value))
    if isinstance(value, frozenset):
        return ("set", frozenset(map(_typed, value)))
    if value is None or value.__class__ is int or value.__class__ is str:
        return value
    return (type(value).__name__, repr(value))


class Misfit(ValueError):
    """The history holds an op that the checker does not know, or a value of another shape."""


def elements(completion: Op) -> list[Any]:
    """The elements that a read or a drain returned; None stands for none. Raises Misfit."""
    value = completion.value
    if value is not None and not isinstance(value, list | tuple | set | frozenset):
        raise Misfit(f"op {completion.index}: {completion.f} returns a list, not {value!r:.100}")
    return list(value or ())


SHOWN = 20


def listed(values: list[Any]) -> str:
    """The values in words; of a long list the first ones, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN:,} more"
