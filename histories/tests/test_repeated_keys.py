"""An object with a key twice is refused, with its line, in every format and by every way of reading."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from histories import jsonl, load
from histories.builder import h
from histories.loaded import Format
from histories.op import Op
from histories.repeated_keys import lines_with_repeated_keys, repeated_key
from histories.wellformed import MalformedHistory

HEADER = '{"themis-history":1}\n'
INVOKED = '{"index":0,"time":0,"type":"invoke","process":0,"f":"read","key":"x"}\n'
ENDS = {
    "type": '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":1,"type":"fail"}',
    "value": '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":1,"value":2}',
    "value before": '{"value":2,"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":null}',
    "in a value": '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":[{"a":1,"a":2}]}',
    "escaped": '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":1,"\\u0074ype":"fail"}',
    "blank": '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":1,"type" :"fail"}',
    "untimed": '{"type":"ok","process":0,"f":"read","key":"x","value":1,"f":"write"}',
}
SOUND = (
    '{"index":1,"time":1,"type":"ok","process":0,"f":"read","key":"x","value":{"type":"a","f":{"f":"g\\":1"}},"error":null}',
    '{"index":1,"time":1,"type":"ok","process":0,"f":"read" , "key":"x","value":[{"a":1},{"a":2}]}',
)


def read(place: Path, text: str, format: Format | None = None) -> None:
    path = place / "history"
    path.write_text(text)
    load(path, format) if format else load(path)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("is_long", [False, True])
def test_a_line_with_a_key_twice_is_malformed(
    name: str, is_long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_long:
        monkeypatch.setattr(jsonl, "COMPACT_BYTES_MIN", 0)
    with pytest.raises(MalformedHistory) as caught:
        read(tmp_path, HEADER + INVOKED + ENDS[name] + "\n")
    assert "line 3" in str(caught.value)
    assert "twice" in str(caught.value)


@pytest.mark.parametrize("end", SOUND)
def test_the_same_key_in_different_objects_is_not(end: str, tmp_path: Path) -> None:
    read(tmp_path, HEADER + INVOKED + end + "\n")


def test_so_are_the_header_and_the_other_formats(tmp_path: Path) -> None:
    for text, format in (
        ('{"themis-history":1,"seed":1,"seed":2}\n' + INVOKED, "jsonl"),
        ('[{"type":"invoke","process":0,"f":"read","value":null,"f":"write"}]', "json"),
        ('{"data": [], "data": [[{"events": [], "success": true}]]}', "dbcop"),
        ("{:type :invoke, :process 0, :f :read, :f :write, :value nil}", "edn"),
    ):
        with pytest.raises(MalformedHistory, match="twice"):
            read(tmp_path, text, format)  # type: ignore[arg-type]


def test_lines_that_are_as_we_write_them_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    history = h(
        "p0 invoke write x=1 | p1 invoke read x= | p0 ok write x=1 | p1 ok read x=[1, 2]"
        " | nemesis invoke kill nil | nemesis info kill nil"
    )
    text = msgspec.json.Encoder().encode_lines(list(history))
    ops = msgspec.json.Decoder(Op).decode_lines(text)
    monkeypatch.setattr("histories.repeated_keys.repeated_key", lambda _: pytest.fail("looked at"))
    assert list(lines_with_repeated_keys(text, ops)) == []


def test_what_is_no_json_has_none() -> None:
    assert repeated_key(b"{") is None
    assert repeated_key(b"\xff") is None
    assert repeated_key(b'{"a":' + b"9" * 9000 + b"}") is None
    assert repeated_key("[" * 5000) is None
