"""Sessions without times: AWDIT's text and DBCop's JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from histories import MalformedHistory, load
from histories.files import detect
from histories.loaded import Format

TEXT = "w x 1\nw 7 -2\n----\nr x 1\n==\n\nr x null\n"
JSON = """{"params": {"id": 0}, "data": [
 [{"events": [{"write": true, "variable": 0, "value": 1, "success": true}], "success": true},
  {"events": [{"write": true, "key": 0, "version": 2}], "success": false}],
 [{"events": [{"write": false, "variable": 0, "value": null}]}]]}"""


def test_a_session_is_a_process_and_its_transactions_come_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(TEXT)
    loaded = load(path)
    assert (loaded.format, loaded.has_real_time) == ("sessions", False)
    assert [(op.process, op.type, op.value) for op in loaded.history] == [
        (0, "invoke", [["w", "x", 1], ["w", 7, -2]]),
        (0, "ok", [["w", "x", 1], ["w", 7, -2]]),
        (0, "invoke", [["r", "x", None]]),
        (0, "ok", [["r", "x", 1]]),
        (1, "invoke", [["r", "x", None]]),
        (1, "ok", [["r", "x", "null"]]),
    ]
    assert list(loaded.lines) == [1, 1, 4, 4, 7, 7]


@pytest.mark.parametrize("text", [JSON, JSON.partition('"data": ')[2].removesuffix("}")])
def test_dbcop(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history"
    path.write_text(text)
    loaded = load(path)
    assert (loaded.format, loaded.has_real_time) == ("dbcop", False)
    ends = [(op.process, op.type, op.value) for op in loaded.history if op.type != "invoke"]
    assert ends == [(0, "ok", [["w", 0, 1]]), (0, "fail", [["w", 0, 2]]), (1, "ok", [["r", 0, None]])]


def test_text_may_have_comments_and_capital_letters(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(
        "# two clients\r\n\r\n  - - -\r\nW 1 1\r\n// read it\r\n-----\r\nR 1 1\r\n=\r\nr 1 18446744073709551615"
    )
    assert detect(path) == "sessions"
    ends = [(op.process, op.value) for op in load(path).history if op.type == "ok"]
    assert ends == [(0, [["w", 1, 1]]), (0, [["r", 1, 1]]), (1, [["r", 1, "18446744073709551615"]])]


TAGGED = """[[{"events": [{"Write": {"variable": "x", "version": 1}}], "committed": true},
  {"events": [], "committed": true}, {"events": [{"Write": {"variable": "y", "version": 1}}], "committed": false}],
 [{"events": [{"Read": {"variable": "x", "version": 1}}, {"Read": {"variable": "y", "version": null}}], "committed": true}]]"""
COMPACT = """{"params": {}, "data": [[{"events": [["w", "x", 1]], "committed": true},
  {"events": [], "committed": true}, {"events": [["w", "y", 1]], "committed": false}],
 [{"events": [["r", "x", 1], ["r", "y", null]], "committed": true}]]}"""


@pytest.mark.parametrize("text", [TAGGED, COMPACT])
def test_dbcop_as_it_is_written_since_2025(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history"
    path.write_text(text)
    loaded = load(path)
    assert loaded.format == "dbcop"
    ends = [(op.process, op.type, op.value) for op in loaded.history if op.type != "invoke"]
    assert ends == [
        (0, "ok", [["w", "x", 1]]),
        (0, "ok", []),
        (0, "fail", [["w", "y", 1]]),
        (1, "ok", [["r", "x", 1], ["r", "y", None]]),
    ]


def test_what_did_not_happen_in_a_dbcop_transaction_that_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "history"
    of_write, of_read = (
        '{"write": true, "variable": 0, "value": %d, "success": %s}',
        '{"write": false, "variable": 0, "value": 0, %s}',
    )
    events = ", ".join((of_write % (1, "true"), of_write % (2, "false"), of_read % '"success": false'))
    path.write_text(f'[[{{"events": [{events}], "success": true}}]]')
    ends = [(op.type, op.value) for op in load(path).history if op.type != "invoke"]
    assert ends == [("fail", [["w", 0, 2]]), ("ok", [["w", 0, 1]])]


def test_zero_is_what_was_there_at_first_in_dbcop_where_nobody_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('[[{"events": [["r", 0, 0], ["r", 1, 0], ["r", 2, false]]}, {"events": [["w", 1, 0]]}]]')
    reads = next(op.value for op in load(path).history if op.type == "ok")
    assert reads == [["r", 0, None], ["r", 1, 0], ["r", 2, False]]


@pytest.mark.parametrize(
    ("format", "text", "said"),
    [
        ("sessions", "", "no transaction in it"),
        ("sessions", "---\n===\n", "no transaction in it"),
        ("sessions", "r x 1\nx 1\n", "line 2: syntax: 'x 1' is not"),
        ("sessions", "r x 1 2\n", "line 1"),
        ("dbcop", "{", "no JSON"),
        ("dbcop", "{}", "a list of sessions"),
        ("dbcop", "[]", "no transaction in it"),
        ("dbcop", "[7]", "session 0: 7 is not a list"),
        ("dbcop", "[[7]]", "session 0, transaction 0"),
        ("dbcop", '[[{"events": [7]}]]', "an event with write"),
        ("dbcop", '[[{"events": [{"write": true, "variable": 1, "value": null}]}]]', "an event with write"),
        ("dbcop", '[[{"events": [{"write": 1, "variable": 1, "value": 2}]}]]', "an event with write"),
        ("dbcop", '[[{"events": [["x", 1, 2]]}]]', "an event with write"),
        ("dbcop", '[[{"events": [{"Read": 7}]}]]', "an event with write"),
        ("dbcop", '[[{"events": [{"Write": {"variable": 1}}]}]]', "an event with write"),
        ("dbcop", "[" * 300 + "]" * 300, "nested"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, format: Format, text: str, said: str) -> None:
    path = tmp_path / "history"
    path.write_text(text)
    with pytest.raises(MalformedHistory) as error:
        load(path, format)
    assert said in str(error.value)


def test_what_only_looks_similar_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('{"themis-history": 1, "note": {"events": [{"write": 1}]}}\n')
    assert detect(path) == "jsonl"
