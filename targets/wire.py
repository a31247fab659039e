"""Encodes and decodes bodies on the wire: JSON by the types of a target's routes, validated before anything acts on them.

A body that does not fit its type raises `BadBody`, whose text names the field; `decode` raises nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from histories.json_text import MESSAGE_DEPTH_MAX, decoded
from targets.target import Route

INTEGER_MAX = 2**62
"""The largest integer taken from the wire: a term or index can still be added to and written as 64 bits."""

_LONG_NUMBER = re.compile(rb"\d{19}")
_AT = re.compile(r"^(?P<what>.*?) - at `(?:key` in `)?\$(?P<path>[^`]*)`$", re.DOTALL)

encode = msgspec.json.Encoder().encode

S = TypeVar("S", bound=msgspec.Struct)


class BadBody(ValueError):
    """The body does not fit its type; the text names the field and what is wrong with it."""


class Codec(Generic[S]):
    """Decodes bodies of one type: a Struct, a generic Struct with its parameters, or a union of tagged Structs."""

    def __init__(self, type: type[S], depth_max: int = MESSAGE_DEPTH_MAX) -> None:
        self.type = type
        self._depth_max = depth_max
        self._decode = msgspec.json.Decoder(type).decode

    def decode(self, body: bytes) -> S:
        """The value that `body` holds. Raises BadBody."""
        try:
            value = decoded(self._decode, body, self._depth_max)
        except msgspec.DecodeError as error:
            raise BadBody(explain(error)) from None
        if _LONG_NUMBER.search(body):
            try:
                raw = json.loads(body)
            except ValueError:  # An integer of thousands of digits, in a field that the type does not have.
                raise BadBody("a number of too many digits") from None
            _check_integers(raw, "")
        return value


class Wire:
    """A target's peer routes, looked up by path and by message type."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = {route.path: route for route in routes}
        self.requests: dict[str, Codec[Any]] = {route.path: Codec(route.request) for route in routes}
        self.responses: dict[str, Codec[Any] | None] = {
            route.path: None if route.response is None else Codec(route.response) for route in routes
        }
        self.path_of = {plain(route.request): route.path for route in routes}
        assert len(self.path_of) == len(routes) == len(self.routes), "each path and each request type is routed once"


def plain(type: Any) -> Any:
    """The class of a Struct type that may be a generic one with its parameters."""
    return get_origin(type) or type


def classes_of(type: Any) -> tuple[type, ...]:
    """The classes of a Struct type or a union of them."""
    members = get_args(type) if get_origin(type) in (Union, UnionType) else (type,)
    return tuple(plain(member) for member in members)


def explain(error: msgspec.DecodeError) -> str:
    """What msgspec found, with the field first: "entries[0].term: Expected `int`, got `str`"."""
    found = _AT.match(str(error))
    if found is None:
        return str(error)
    path = found["path"].removeprefix(".").replace("[...]", "[]")
    return f"{path}: {found['what']}" if path else found["what"]


def _check_integers(value: Any, path: str) -> None:
    """Raises BadBody for an integer that is too large to be added to and written again."""
    match value:
        case bool():
            return
        case int() if abs(value) > INTEGER_MAX:
            raise BadBody(f"{path.removeprefix('.')}: integer out of range, at most {INTEGER_MAX}")
        case dict():
            for key, item in value.items():
                _check_integers(item, f"{path}.{key}")
        case list():
            for index, item in enumerate(value):
                _check_integers(item, f"{path}[{index}]")
        case _:
            return
