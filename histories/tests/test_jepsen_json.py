"""Jepsen's ops as JSON: an array or objects in a row; what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import MalformedHistory, load
from histories.loaded import Loaded

OPS = (
    '{"type": "invoke", "process": 0, "f": "txn", "value": [["append", "x", 1], ["r", "x", null]]}',
    '{"type": "ok", "process": 0, "f": "txn", "value": [["append", "x", 1], ["r", "x", [1]]], "exception": {"a": 1}}',
)


def read(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "history.json"
    path.write_text(text)
    return load(path, "json")


@pytest.mark.parametrize(
    "text", ["[\n" + ",\n".join(OPS) + "\n]\n", "\n" + "\n".join(OPS) + "\n", "\n".join(["", *OPS])]
)
def test_an_array_and_objects_in_a_row_are_the_same(tmp_path: Path, text: str) -> None:
    loaded = read(tmp_path, text)
    assert [op.type for op in loaded.history] == ["invoke", "ok"]
    assert loaded.history[1].value == [["append", "x", 1], ["r", "x", [1]]]
    assert list(loaded.lines) == [2, 3]
    assert not loaded.truncated


@pytest.mark.parametrize("cut", [1, 5, 40, len(OPS[1]) - 1])
def test_a_last_object_that_was_cut_is_left_out(tmp_path: Path, cut: int) -> None:
    loaded = read(tmp_path, f"[{OPS[0]},\n{OPS[1][:cut]}")
    assert loaded.truncated
    assert [op.type for op in loaded.history] == ["invoke"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "line 1: syntax: no op in it"),
        (
            '[{"index": 4, "type": "invoke", "process": 0, "f": "read"},\n'
            '{"index": 1, "type": "invoke", "process": 1, "f": "read"}]',
            "line 2: index: index 1 after 4",
        ),
        ("[7]", "line 1: syntax: an object was due, not 7"),
        ('[\n{"type": "begin", "process": 0, "f": "read"}]', "line 2: type"),
        ('[{"type": "invoke", "process": -1, "f": "read"}]', "process"),
        ('[{"type": "invoke", "process": 0}]', "no :f"),
        ('[{"type": "invoke", "process": 0, "f": "read", "time": "now"}]', "time"),
        ('[{"type": "invoke", "process": 0, "f": "read", "value": NaN}]', "NaN is no number"),
        ('[{"type": "invoke", "process": 0, "f": "read", "value": "\\ud800"}]', "surrogate"),
        (f"[{OPS[0]}] 7", "more behind the array"),
        (f"[{OPS[0]}, nonsense, {OPS[1]}]", "no JSON"),
        (f"[{OPS[1]}]", "no-invocation"),
        ("[" * 300 + "]" * 300, "nested more than 200 deep"),
        ('[{"type": "invoke", "process": 0, "f": "read", "value": ' + "9" * 5000 + "}]", "no JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(MalformedHistory) as error:
        read(tmp_path, text)
    assert said in str(error.value)


def test_the_nemesis_and_pairs_mean_what_they_mean_in_edn(tmp_path: Path) -> None:
    fault = '{"type": "info", "process": "nemesis", "f": "kill", "value": null}'
    asked = '{"type": "invoke", "process": 0, "f": "read", "value": [5, null]}'
    loaded = read(tmp_path, f"[{asked}, {fault}]")
    assert [(op.type, op.key) for op in loaded.history] == [("invoke", 5), ("invoke", None)]
