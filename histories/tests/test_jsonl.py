"""Our own files: what is written is read, what is cut is forgiven once, and everything else is refused by line."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

from histories import Op, h, jsonl
from histories.bench import measure
from histories.op import freeze
from histories.tests import strategies
from histories.wellformed import MalformedHistory

HEADER = b'{"themis-history":1}\n'
SMALL = h(
    'p0 invoke write x=1 | nemesis invoke kill ["n1"] | p0 ok write x=1 | nemesis info kill {"status": "installed"}'
)


def broken(path: Path) -> list[str]:
    with pytest.raises(MalformedHistory) as caught:
        jsonl.read(path)
    assert str(path) in str(caught.value)
    return [f"{problem.line} {problem.rule}" for problem in caught.value.problems]


@strategies.unhurried
@given(strategies.histories(keys=strategies.scalars))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, ops: list[Op]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "history.jsonl"
    jsonl.write(path, ops, {"seed": 7, "name": "é"})
    loaded = jsonl.read(path)
    assert list(loaded.history) == ops
    assert (loaded.metadata, loaded.truncated, loaded.format) == ({"seed": 7, "name": "é"}, False, "jsonl")


def test_one_by_one_and_all_at_once_write_the_same_bytes(tmp_path: Path) -> None:
    with jsonl.Writer(tmp_path / "a") as writer:
        for op in SMALL:
            writer.append(op)
        assert writer.count == len(SMALL)
    jsonl.write(tmp_path / "b", SMALL)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_op_is_in_the_file_before_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with jsonl.Writer(path) as writer:
        assert path.read_bytes() == HEADER
        for count, op in enumerate(SMALL, 1):
            writer.append(op)
            assert len(jsonl.read(path).history) == count
    assert not list(tmp_path.glob("*.new"))


def test_values_that_are_not_quite_json_are_written_in_a_fixed_order(tmp_path: Path) -> None:
    class Result(msgspec.Struct):
        status: str
        did: Any

    values: list[Any] = [{"b", "a"}, {3, "x", None}, {1: "one"}, Result("installed", {2, 1}), "\ud800", {"a": (1, {2})}]
    path = tmp_path / "history.jsonl"
    jsonl.write(path, [Op(i, i, "invoke", i, "f", None, value) for i, value in enumerate(values)])
    assert [op.value for op in jsonl.read(path).history] == [
        ["a", "b"],
        ["x", 3, None],
        {"1": "one"},
        {"status": "installed", "did": [1, 2]},
        "\\ud800",
        {"a": [1, [2]]},
    ]


def test_a_value_that_no_format_has_is_the_programmers_error(tmp_path: Path) -> None:
    with jsonl.Writer(tmp_path / "history.jsonl") as writer, pytest.raises(TypeError):
        writer.append(Op(0, 0, "invoke", 0, "f", None, object()))


def test_a_cut_anywhere_loses_only_the_line_that_it_cuts(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, SMALL)
    data = path.read_bytes()
    for size in range(len(HEADER), len(data) + 1):
        path.write_bytes(data[:size])
        loaded = jsonl.read(path)
        whole = data[:size].split(b"\n")[1:]
        is_complete = whole[-1] == b"" or (whole[-1].endswith(b"}") and data[size : size + 1] == b"\n")
        assert loaded.truncated is not is_complete
        assert list(loaded.history) == list(SMALL)[: len(whole) - (whole[-1] == b"" or not is_complete)]


OP = b'{"index":%d,"time":0,"type":"%s","process":%d,"f":"read"}\n'
MALFORMED = {
    "empty file": (b"", ["1 header"]),
    "no header": (OP % (0, b"invoke", 0), ["1 header"]),
    "header cut": (b'{"themis-hist', ["1 header"]),
    "a later version": (b'{"themis-history":2}\n', ["1 version"]),
    "not JSON": (HEADER + b"hello\n", ["2 syntax"]),
    "not JSON, not ended": (HEADER + b"hello", ["2 syntax"]),
    "an empty line": (HEADER + b"\n" + OP % (0, b"invoke", 0), ["2 syntax"]),
    "a cut line in the middle": (HEADER + b'{"index":0,"ti\n' + OP % (1, b"invoke", 0), ["2 syntax"]),
    "not an object": (HEADER + b"[1]\n", ["2 syntax"]),
    "no process": (HEADER + b'{"index":0,"time":0,"type":"invoke","f":"read"}\n', ["2 syntax"]),
    "an unknown field": (HEADER + b'{"index":0,"time":0,"type":"ok","process":0,"f":"r","x":1}\n', ["2 syntax"]),
    "an unknown field, not ended": (
        HEADER + b'{"index":0,"time":0,"type":"ok","process":0,"f":"r","x":1}',
        ["2 syntax"],
    ),
    "a string as time": (HEADER + b'{"index":0,"time":"0","type":"invoke","process":0,"f":"read"}\n', ["2 syntax"]),
    "not UTF-8": (HEADER + b'{"index":0,"time":0,"type":"invoke","process":0,"f":"\xff"}\n', ["2 syntax"]),
    "nested too deeply": (HEADER + b'{"index":0,"value":' + b"[" * 100_000 + b"\n", ["2 syntax"]),
    "unknown type": (HEADER + OP % (0, b"done", 0), ["2 type"]),
    "negative process": (HEADER + OP % (0, b"invoke", -1), ["2 process"]),
    "named process": (HEADER + b'{"index":0,"time":0,"type":"invoke","process":"n1","f":"read"}\n', ["2 process"]),
    "process true": (HEADER + b'{"index":0,"time":0,"type":"invoke","process":true,"f":"read"}\n', ["2 process"]),
    "no invocation": (HEADER + OP % (0, b"ok", 0), ["2 no-invocation"]),
    "everything is reported": (
        HEADER + OP % (0, b"ok", 0) + b"oops\n" + OP % (2, b"invoke", 1) + OP % (2, b"invoke", 1) + b'{"index":',
        ["2 no-invocation", "3 syntax", "5 index", "5 two-open"],
    ),
}


@pytest.mark.parametrize(("data", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_refuses_by_line_and_rule(tmp_path: Path, data: bytes, expected: list[str]) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(data)
    assert broken(path) == expected


@pytest.mark.parametrize("chunk_bytes", [1, 7, 100])
def test_lines_that_cross_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(jsonl, "_CHUNK_BYTES", chunk_bytes)
    path = tmp_path / "history.jsonl"
    jsonl.write(path, SMALL)
    assert jsonl.read(path).history == SMALL
    path.write_bytes(
        path.read_bytes() + b"x\n" + OP.replace(b'0,"type', b'9999999,"type') % (5, b"ok", 9) + b'{"index":'
    )
    assert broken(path) == ["6 syntax", "7 no-invocation"]


def test_one_stated_depth_is_read_and_beyond_it_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    op = b'{"type":"invoke","process":%d,"f":"write","value":%s}\n'
    brackets_in_strings = b'"' + b"[{" * 300 + b'"'

    def nested(depth: int) -> bytes:
        return b'[{"a":' * (depth // 2) + b"[" * (depth % 2) + b"1" + b"]" * (depth % 2) + b"}]" * (depth // 2)

    within = [nested(199), b"[" + b"[]," * 300 + b"1]", brackets_in_strings, b"[" + brackets_in_strings + b"]"]
    path.write_bytes(HEADER + b"".join(op % (i, value) for i, value in enumerate(within)))
    history = jsonl.read(path).history
    assert len(history) == len(within)
    assert len({freeze(each.value) for each in history}) == len(within)
    jsonl.write(path, history)
    assert jsonl.read(path).history == history
    for depth in (200, 900, 5_000):
        path.write_bytes(HEADER + op % (0, b"1") + op % (1, nested(depth)) + op % (2, b"1") + op % (3, nested(depth)))
        with pytest.raises(MalformedHistory) as caught:
            jsonl.read(path)
        assert [(each.line, each.detail.partition(":")[0]) for each in caught.value.problems] == [
            (3, "nested more than 200 deep"),
            (5, "nested more than 200 deep"),
        ]
    path.write_bytes(b'{"themis-history":1,"x":' + nested(5_000) + b"}\n")
    assert broken(path) == ["1 header"]


def test_a_line_or_gzip_data_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LINE_BYTES_MAX", 10 * 2**20)
    path = tmp_path / "history.jsonl"
    path.write_bytes(gzip.compress(HEADER + OP % (0, b"invoke", 0) + b"\0" * 100 * 2**20))
    with pytest.raises(MalformedHistory, match="line 3: syntax: a line of more than 10 MiB"):
        jsonl.read(path)


def test_what_a_message_quotes_is_short_and_acts_on_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    evil = "\x1b[31m\u202e" + "x" * 100_000
    text = msgspec.json.encode(evil).decode()
    for line in (
        evil,
        f'{{"type":{text},"process":0,"f":"r"}}',
        f'{{"type":"ok","process":{text},"f":"r"}}',
        f'{{"type":"ok","process":0,"f":{text}}}',
        f'{{"type":"ok","process":0,"f":"r",{text}:1}}',
        f'{{"type":"invoke","process":0,"f":"r","key":{text}}}\n{{"type":"ok","process":0,"f":"r"}}',
    ):
        path.write_bytes(HEADER + line.encode() + b"\n")
        with pytest.raises(MalformedHistory) as caught:
            jsonl.read(path)
        for each in caught.value.problems:
            assert each.detail.isprintable()
            assert len(each.detail) <= 500


_WRITE_FOR_EVER = """
import itertools, sys
from histories import Op, jsonl
with jsonl.Writer(sys.argv[1], {"seed": 1}) as writer:
    for i in itertools.count():
        writer.append(Op(2 * i, i, "invoke", 0, "write", "k", i))
        writer.append(Op(2 * i + 1, i, "ok", 0, "write", "k", i))
        if i == 2000:
            print("warm", flush=True)
"""


@pytest.mark.real
def test_a_killed_writer_leaves_a_history_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", _WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer.stdout:
        assert writer.stdout.readline() == b"warm\n"
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    loaded = jsonl.read(path)
    assert len(loaded.history) >= 4002
    assert loaded.metadata == {"seed": 1}
    assert [op.value for op in loaded.history] == [i // 2 for i in range(len(loaded.history))]


@pytest.mark.real
def test_the_benchmark_measures_what_it_says() -> None:
    result = measure(2_000)
    assert result["lines"] == 4_000
    assert result["read_seconds"] > 0
    assert result["write_ops_per_s"] > 0
    assert result["read_peak_bytes"] > 1_000_000


def read_lines(path: Path, *lines: str) -> Sequence[Op]:
    path.write_bytes(HEADER + "".join(f"{line}\n" for line in lines).encode())
    return jsonl.read(path).history.ops


def test_an_index_that_is_left_out_is_the_place_in_the_file(tmp_path: Path) -> None:
    ops = read_lines(
        tmp_path / "a",
        '{"time":5,"type":"invoke","process":0,"f":"read"}',
        '{"index":1,"time":6,"type":"ok","process":0,"f":"read","value":2}',
        '{"time":7,"type":"invoke","process":0,"f":"read"}',
    )
    assert [(op.index, op.time, op.value) for op in ops] == [(0, 5, None), (1, 6, 2), (2, 7, None)]


def test_times_that_are_left_out_are_those_before_them(tmp_path: Path) -> None:
    line = '{"type":"invoke","process":%d,"f":"read"%s}'
    ops = read_lines(tmp_path / "a", *(line % (i, more) for i, more in enumerate(("", ',"time":9', "", ',"time":12'))))
    assert [op.time for op in ops] == [0, 9, 9, 12]
    ops = read_lines(tmp_path / "b", *(line % (i, "") for i in range(3)))
    assert [op.time for op in ops] == [0, 1_000_000, 2_000_000]


def test_what_is_given_must_still_be_right(tmp_path: Path) -> None:
    path = tmp_path / "a"
    line = b'{"type":"invoke","process":%d,"f":"read"%s}\n'
    path.write_bytes(
        HEADER
        + line % (0, b',"time":5')
        + line % (1, b',"time":3')
        + line % (2, b',"index":7')
        + line % (3, b',"time":-1')
        + b"oops\n"
    )
    assert broken(path) == ["3 time", "4 index", "5 index", "5 time", "6 syntax"]


def test_the_last_line_of_any_recorder_may_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = '{"type":"invoke","process":0,"f":"reäd"}\n'.encode()
    for size in range(1, len(whole) - 1):
        path.write_bytes(HEADER + whole + whole[:size])
        loaded = jsonl.read(path)
        assert (len(loaded.history), loaded.truncated) == (1, True)
