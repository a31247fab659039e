"""Bodies are validated, and an error names the field."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from targets.tests.echo import TARGET, Note, Ping, Pong
from targets.wire import INTEGER_MAX, BadBody, Codec, Wire


class Item(msgspec.Struct, frozen=True):
    term: Annotated[int, msgspec.Meta(ge=0)]
    command: Any = None


class Body(msgspec.Struct, frozen=True):
    leader: str
    items: tuple[Item, ...] = ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Input data was truncated"),
        (b"[1", "Expected `object`"),
        (b"\xff", "malformed"),
        (b"{}", "missing required field `leader`"),
        (b'{"leader": 3}', "leader: Expected `str`, got `int`"),
        (b'{"leader": "n1", "items": [{"term": 1}, {"term": "x"}]}', "items[1].term: Expected `int`, got `str`"),
        (b'{"leader": "n1", "items": [{"term": -1}]}', "items[0].term: Expected `int` >= 0"),
        (b'{"leader": "n1", "items": [{}]}', "items[0]: Object missing required field `term`"),
        (b'{"leader": "n1", "items": [{"term": 1e999}]}', "items[0].term: Number out of range"),
        (b'{"leader": "n1", "items": [{"term": %d}]}' % (INTEGER_MAX + 1), "items[0].term: integer out of range"),
        (b'{"leader": "n1", "items": [{"term": 1, "command": {"a": %d}}]}' % 2**70, "items[0].command.a: integer"),
        (b'{"leader": "n1", "items": [{"term": 1, "command": ' + b"[" * 100_000, "nested more than 128 deep"),
    ],
)
def test_a_bad_body_is_refused_with_its_field(body: bytes, words: str) -> None:
    with pytest.raises(BadBody) as caught:
        Codec(Body).decode(body)
    assert words in str(caught.value)


def test_long_digits_in_strings_and_large_integers_in_range_pass() -> None:
    codec = Codec(Body)
    assert codec.decode(b'{"leader": "1234567890123456789012345"}').leader == "1234567890123456789012345"
    assert codec.decode(b'{"leader": "", "items": [{"term": %d}]}' % INTEGER_MAX).items[0].term == INTEGER_MAX


def test_routes_are_found_by_path_and_by_type() -> None:
    wire = Wire(TARGET.formats("kv").routes)
    assert wire.path_of == {Ping: "/echo/ping", Note: "/echo/note"}
    assert wire.requests["/echo/ping"].decode(b'{"number": 1}') == Ping(1)
    response = wire.responses["/echo/ping"]
    assert response is not None
    assert response.decode(b'{"number": 1, "records": 2}') == Pong(1, 2)
    assert wire.responses["/echo/note"] is None
