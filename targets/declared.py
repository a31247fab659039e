"""Refuses an object that is not what its contract, a Protocol, declares: one rule, for targets and for workloads.

What the object has is compared with the types that the contract's attributes are annotated with, and the `Rule`s beside these. A
user's mistake is then told when the object is loaded: by the attribute's name, with what was found and what is wanted.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from histories.printing import line, quoted


class Rule(NamedTuple):
    """What an attribute must be beside its type. words: such as "must not be empty"."""

    words: str
    holds: Callable[[Any], bool]


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _is_struct_type(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, msgspec.Struct)


NOT_EMPTY = Rule("must not be empty", bool)
PATTERN = Rule("must be a regular expression", _is_pattern)
STRUCT_TYPE = Rule("must be a subclass of msgspec.Struct", _is_struct_type)


class _Misfit(NamedTuple):
    """The part that does not fit. path: of it, from the attribute on, such as `bugs['a']`. wanted: a type, or a Rule."""

    path: str
    found: object
    wanted: Any

    @property
    def words(self) -> str:
        """`bugs['a'] is 3 (int); it must be targets.target.Bug`."""
        kind = "" if self.found is None else f" ({type(self.found).__name__})"
        must = self.wanted.words if isinstance(self.wanted, Rule) else f"must be {_type_words(self.wanted)}"
        is_string = isinstance(self.found, str) and get_origin(self.wanted) in _ROWS
        hint = f"; a tuple of one string is ({quoted(self.found, 40)},)" if is_string else ""
        return f"{self.path} is {quoted(self.found)}{kind}; it {must}{hint}"


def lacking(found: object, contract: type) -> list[str]:
    """The names of the members of the contract that the object has not, sorted. Raises ValueError where one of them raises."""
    return sorted(name for name in (*_attributes(contract), *_methods(contract)) if not _has(found, name))


def _has(found: object, name: str) -> bool:
    try:
        return hasattr(found, name)
    except Exception as error:  # What a user's property raises can be anything.
        raise ValueError(f"{name} raises {type(error).__name__}: {line(error)}") from error


def require(found: object, contract: type, optional: Mapping[str, Any] | None = None) -> None:
    """Raises ValueError, which names the first member of the contract that is missing or is not as it declares.

    optional: the types of attributes that the object may have beside them.
    """
    if missing := lacking(found, contract):
        where = f"{contract.__name__} ({contract.__module__})"
        raise ValueError(f"it is no {where}, for it lacks {', '.join(missing)}")
    if isinstance(found, type):
        raise ValueError(f"it is the class {found.__name__}; an object of it is wanted, such as {found.__name__}()")
    wanted = _attributes(contract) | {name: type_ for name, type_ in (optional or {}).items() if hasattr(found, name)}
    for name, type_ in wanted.items():
        if misfit := _misfit(name, getattr(found, name), type_):
            raise ValueError(misfit.words)
    for name in _methods(contract):
        if not callable(method := getattr(found, name)):
            raise ValueError(f"{name} is {quoted(method)} ({type(method).__name__}); it must be a method")


@cache
def _attributes(contract: type) -> dict[str, Any]:
    """The contract's attributes and properties, with their types."""
    found: dict[str, Any] = get_type_hints(contract, include_extras=True)
    for base in contract.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, property) and not name.startswith("_"):
                found.setdefault(name, get_type_hints(member.fget, include_extras=True).get("return", Any))
    return {name: type_ for name, type_ in found.items() if not name.startswith("_")}


@cache
def _methods(contract: type) -> tuple[str, ...]:
    return tuple(
        name
        for base in contract.__mro__
        for name, member in vars(base).items()
        if isinstance(member, types.FunctionType) and not name.startswith("_")
    )


_ROWS = (Sequence, tuple)


def _misfit(path: str, found: Any, wanted: Any) -> _Misfit | None:
    """The first part of what was found that does not fit; None: all of it fits."""
    if get_origin(wanted) is Annotated:
        type_, *rules = get_args(wanted)
        broken = (_Misfit(path, found, rule) for rule in rules if not rule.holds(found))
        return _misfit(path, found, type_) or next(broken, None)
    if wanted is not Any and not _is_of(found, wanted):
        return _Misfit(path, found, wanted)
    return next((misfit for part in _parts(path, found, wanted) if (misfit := _misfit(*part))), None)


def _is_of(found: object, wanted: Any) -> bool:
    """Whether it is of this type, its parts aside."""
    kind = get_origin(wanted) or wanted
    if kind is type:
        return isinstance(found, type) and issubclass(found, get_args(wanted)[0])
    if kind is frozenset:
        return isinstance(found, AbstractSet)
    if kind in (int, float):
        return isinstance(found, int | kind) and not isinstance(found, bool)
    if kind in _ROWS:
        return isinstance(found, kind) and not isinstance(found, str | bytes)
    return not isinstance(kind, type) or isinstance(found, kind)


def _parts(path: str, found: Any, wanted: Any) -> Iterator[tuple[str, object, Any]]:
    """What is inside, each with its path and the type that it must be of."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if origin is Mapping:
        for key, each in found.items():
            yield f"the key of {path}[{quoted(key, 40)}]", key, inside[0]
            yield f"{path}[{quoted(key, 40)}]", each, inside[1]
    elif origin in _ROWS:
        yield from ((f"{path}[{number}]", each, inside[0]) for number, each in enumerate(found))
    elif origin is frozenset:
        yield from ((f"an element of {path}", each, inside[0]) for each in found)
    elif _is_struct_type(wanted):
        for name, type_ in get_type_hints(wanted, include_extras=True).items():
            yield f"{path}.{name}", getattr(found, name), type_


def _type_words(wanted: Any) -> str:
    """The type as Python writes it: `Mapping[str, targets.target.Bug]`."""
    if get_origin(wanted) is Annotated:
        return _type_words(get_args(wanted)[0])
    if (origin := get_origin(wanted)) is not None:
        return f"{origin.__name__}[{', '.join(map(_type_words, get_args(wanted)))}]"
    if wanted is Any or not isinstance(wanted, type):
        return "..." if wanted is ... else str(wanted).removeprefix("typing.")
    is_known = wanted.__module__ in ("builtins", "collections.abc")
    return wanted.__qualname__ if is_known else f"{wanted.__module__}.{wanted.__qualname__}"
