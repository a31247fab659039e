"""The format is told from the file; what is none of them is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import Format, MalformedHistory, Op, h, jepsen, jsonl, load
from histories.files import detect

OURS = h("p0 invoke read | p0 ok read 1")
TEXTS: dict[Format, str] = {
    "jsonl": '{"themis-history":1,"seed":3}\n{"index":0,"time":0,"type":"invoke","process":0,"f":"read"}\n',
    "edn": "{:type :invoke, :f :read, :value nil, :process 0}\n",
    "json": '[{"type": "invoke", "f": "read", "value": null, "process": 0}]',
    "jepsen-log": "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n",
    "kv-log": '{:process 0, :type :invoke, :f :get, :key "0", :value nil}\n',
}


@pytest.mark.parametrize("format", TEXTS)
def test_tells_the_format(tmp_path: Path, format: Format) -> None:
    path = tmp_path / "history"
    path.write_text(TEXTS[format])
    assert detect(path) == format
    assert load(path).format == format
    assert load(path, format) == load(path)
    assert [op.type for op in load(path).history] == ["invoke"]


@pytest.mark.parametrize(
    "text",
    [
        "; a comment\n\n [ ; another\n {:type :invoke, :f :read, :process 0}]",
        "(#jepsen.history.Op {:type :invoke, :f :read, :process 0})",
        "#knossos.op.Op{:type :invoke, :f :read, :process 0}",
    ],
)
def test_tells_edn_in_its_wrappings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history"
    path.write_text(text)
    assert load(path).format == "edn"


def test_a_log_may_begin_with_anything(tmp_path: Path) -> None:
    path = tmp_path / "jepsen.log"
    path.write_text("INFO  jepsen.core - hello\n" * 100 + TEXTS["jepsen-log"])
    assert load(path).format == "jepsen-log"


def test_the_same_history_in_two_formats(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "a", OURS)
    jepsen.write(tmp_path / "b", OURS)
    assert load(tmp_path / "a").history == load(tmp_path / "b").history == OURS


def test_independent_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "history.edn"
    jepsen.write(path, [Op(0, 0, "invoke", 0, "write", None, [1, 2])])
    assert [load(path, independent=flag).history[0].key for flag in (None, True)] == [None, 1]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"\x7fELF\0\0\0", "binary data"),
        (bytes(range(128, 256)), "binary data"),
        (b"Dear diary,\n", "none of jsonl, edn, json, jepsen-log, kv-log, sessions, dbcop begins so: 'Dear diary,'"),
        (b";" * 60_000 + b"\nDear diary,\n", "begins so: ';;;;"),
        (b'{"index":0,"time":0,"type":"invoke","process":0,"f":"read"}\n', 'header: {"themis-history": 1} was due'),
        (b"[]", "no op in it"),
    ],
)
def test_what_is_no_history_is_refused_in_words(tmp_path: Path, data: bytes, part: str) -> None:
    path = tmp_path / "history"
    path.write_bytes(data)
    with pytest.raises(MalformedHistory) as caught:
        load(path)
    assert part in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_and_a_format_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.jsonl")
    with pytest.raises(ValueError, match="'xml': auto, jsonl"):
        load(tmp_path / "nothing.jsonl", "xml")  # type: ignore[arg-type]
