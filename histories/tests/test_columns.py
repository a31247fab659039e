"""A long history as columns: the same ops, the same answers, and a file that is read so says the same as one that is not."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histories import History, Op, columns, jsonl
from histories.columns import OpColumns
from histories.tests.strategies import histories, json_values, unhurried
from histories.wellformed import MalformedHistory


@pytest.fixture
def every_file_is_long() -> Iterator[None]:
    with mock.patch.object(jsonl, "COMPACT_BYTES_MIN", 0):
        yield


@unhurried
@given(histories(keys=st.none() | json_values), st.integers(0, 5))
def test_ops_come_back_as_they_were(ops: list[Op], first: int) -> None:
    found = OpColumns(ops[:first])
    found.extend(ops[first:])
    assert list(found) == ops
    assert [found[i] for i in range(len(ops))] == ops
    assert found[1:3] == tuple(ops[1:3])
    assert [repr(op) for op in found] == [repr(op) for op in ops], "1, 1.0 and True are not the same"
    if ops:
        assert found[-1] == ops[-1]


@unhurried
@given(histories(keys=st.none() | json_values))
def test_a_history_answers_the_same(ops: list[Op]) -> None:
    plain, compact = History(ops), History(OpColumns(ops))
    assert compact == plain
    assert plain == compact
    assert dict(compact.completions) == dict(plain.completions)
    assert list(compact.pairs()) == list(plain.pairs())
    for part in ("clients", "nemesis"):
        assert list(getattr(compact, part)()) == list(getattr(plain, part)())
    assert list(compact.clients().completions) == list(plain.clients().completions)
    assert {key: list(part) for key, part in compact.by_key().items()} == {
        key: list(part) for key, part in plain.by_key().items()
    }


@pytest.mark.parametrize(
    "values",
    [[1, True, 1.0, "1"], [0.0, -0.0], [[1, 2], [1, True], [[1], 2], []], [None, [None], {"a": 1}, {"a": True}]],
)
def test_values_that_are_equal_in_python_only_stay_apart(values: list[Any]) -> None:
    ops = [Op(i, i, "invoke", i, "write", value, value) for i, value in enumerate(values)]
    assert [repr(op) for op in OpColumns(ops)] == [repr(op) for op in ops]
    assert math.copysign(1, OpColumns([Op(0, 0, "invoke", 0, "w", None, -0.0)])[0].value) == -1


def test_equal_values_stand_once_and_no_table_grows_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = [Op(i, i, "invoke", i, "cas", "k", [i % 3, 4], ["timeout"], "n1") for i in range(60)]
    assert len(OpColumns(ops).things) == 1 + 7  # None; f, key, error, node, and three values.
    monkeypatch.setattr(columns, "VALUES_MAX", 2)
    few = OpColumns(ops)
    assert list(few) == ops
    assert len(few._values) == 2


def test_completions_are_a_mapping() -> None:
    found = History(
        [Op(0, 0, "invoke", 0, "read"), Op(1, 1, "invoke", 1, "read"), Op(2, 2, "ok", 0, "read")]
    ).completions
    assert (len(found), list(found), found[0], found.get(0)) == (1, [0], 2, 2)
    assert (found.get(1), found.get(1, 7), found.get(99), found.get(-1), 1 in found) == (None, 7, None, None, False)
    with pytest.raises(KeyError):
        found[1]


INVOKE = b'{"index":0,"time":1,"type":"invoke","process":0,"f":"read"}\n'
LINES = {
    "whole": INVOKE + b'{"index":1,"time":2,"type":"ok","process":0,"f":"read"}\n',
    "the last line is cut": INVOKE + b'{"index":1,"ti',
    "no newline at the end": INVOKE[:-1],
    "nothing": b"",
    "no index and no time": b'{"type":"invoke","process":0,"f":"read"}\n{"type":"ok","process":0,"f":"read"}\n',
    "other indices": b'{"index":5,"time":1,"type":"invoke","process":0,"f":"read"}\n',
    "an empty line": INVOKE + b"\n",
    "no JSON": INVOKE + b"nonsense\n",
    "two open": INVOKE + INVOKE.replace(b'"index":0', b'"index":1'),
    "a negative process": b'{"index":0,"time":1,"type":"invoke","process":-1,"f":"read"}\n',
    "a process beyond 64 bits": b'{"index":0,"time":1,"type":"invoke","process":99999999999999999999,"f":"read"}\n',
    "a time beyond 64 bits": b'{"index":0,"time":99999999999999999999,"type":"invoke","process":0,"f":"read"}\n',
    "not UTF-8": b'{"index":0,"time":1,"type":"invoke","process":0,"f":"\xff"}\n',
    "too deep": INVOKE.replace(b'"read"', b'"read","value":' + b"[" * 300 + b"]" * 300),
    "a last line that is too deep": INVOKE + b'{"value":' + b"[" * 300,
}


def said_of(path: Path) -> object:
    """All that reading the file tells."""
    try:
        loaded = jsonl.read(path)
    except MalformedHistory as error:
        return error.problems
    return list(loaded.history), loaded.truncated, loaded.metadata, list(loaded.lines)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LINES)
def test_a_long_file_says_what_a_short_one_says(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "history"
    data = b'{"themis-history":1,"run":"x"}\n' + LINES[name]
    path.write_bytes(gzip.compress(data) if packed else data)
    expected = said_of(path)
    with mock.patch.object(jsonl, "COMPACT_BYTES_MIN", 0), mock.patch.object(jsonl, "_CHUNK_BYTES", 50):
        assert said_of(path) == expected


@pytest.mark.usefixtures("every_file_is_long")
def test_a_long_file_is_read_into_columns(tmp_path: Path) -> None:
    ops = [Op(i, i, ("invoke", "ok")[i % 2], 0, "read") for i in range(10)]
    jsonl.write(tmp_path / "history", ops)
    loaded = jsonl.read(tmp_path / "history")
    assert isinstance(loaded.history.ops, OpColumns)
    assert list(loaded.history) == ops
