"""Jepsen's and Knossos's histories: what is made of their ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histories import Loaded, MalformedHistory, Op, h, jepsen
from histories.tests import strategies


def read(path: Path, text: str, independent: bool | None = None) -> Loaded:
    path.write_text(text)
    return jepsen.read(path, independent=independent)


def shown(loaded: Loaded) -> list[str]:
    return [f"{op.process} {op.type} {op.f} {op.key} {op.value}" for op in loaded.history]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.edn"


MAPS = (
    "{:type :invoke, :f :read, :value nil, :process 0, :time 10, :index 0}",
    "{:type :ok, :f :read, :value 3, :process 0, :time 20, :index 1}",
)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(MAPS),
        f"[{' '.join(MAPS)}]",
        f"({MAPS[0]}\n ; Value is 3\n {MAPS[1]}\n)\n",
        f"[#_ {{:no :op}} {MAPS[0]}, {MAPS[1]} #_ 1]",
        "".join(f"#jepsen.history.Op{text}\n" for text in MAPS),
        f"[\n #jepsen.history.Op {MAPS[0]}\n #knossos.op.Op{MAPS[1]}]",
    ],
)
def test_maps_one_a_line_or_in_a_vector_or_a_list(path: Path, text: str) -> None:
    loaded = read(path, text)
    assert list(loaded.history) == [
        Op(0, 10, "invoke", 0, "read"),
        Op(1, 20, "ok", 0, "read", None, 3),
    ]
    assert (loaded.format, loaded.truncated, loaded.nil_reads_are_wildcards) == ("edn", False, True)


def test_without_index_and_time_an_op_takes_a_millisecond(path: Path) -> None:
    loaded = read(path, "{:process 4 :type :invoke :f :read}{:process 4 :type :ok :f :read :value 1}")
    assert [(op.index, op.time) for op in loaded.history] == [(0, 0), (1, 1_000_000)]


def test_times_that_go_back_are_raised_and_indices_with_gaps_are_counted_anew(path: Path) -> None:
    text = "\n".join(
        f"{{:process {process}, :type :invoke, :f :read, :time {time}, :index {index}}}"
        for process, time, index in [(0, -5, 3), (1, 9, 7), (2, 8, 8), (3, 9, 20)]
    )
    assert [(op.index, op.time) for op in read(path, text).history] == [(0, 0), (1, 9), (2, 9), (3, 9)]


def test_the_order_of_the_file_decides_at_equal_times(path: Path) -> None:
    text = """{:process 0, :type :invoke, :f :write, :value 1, :time 5}
{:process 0, :type :ok, :f :write, :value 1, :time 5}
{:process 1, :type :invoke, :f :read, :value nil, :time 5}"""
    assert [op.process for op in read(path, text).history] == [0, 0, 1]


def test_the_nemesis_says_info_twice(path: Path) -> None:
    text = """
{:process :nemesis, :type :info, :f :start, :value nil}
{:process 0, :type :invoke, :f :read, :value nil}
{:process :nemesis, :type :info, :f :start, :value [:isolated {"n1" #{"n2" "n3"}}]}
{:process :nemesis, :type :info, :f :stop, :value nil}
{:process :nemesis, :type :info, :f :stop, :value "healed", :error :late}
"""
    assert shown(read(path, text)) == [
        "nemesis invoke start None None",
        "0 invoke read None None",
        "nemesis info start None ['isolated', {'n1': ['n2', 'n3']}]",
        "nemesis invoke stop None None",
        "nemesis info stop None healed",
    ]


def test_a_nemesis_op_that_nothing_ends_is_ended_at_once(path: Path) -> None:
    text = "\n".join(f"{{:process :nemesis, :type :info, :f :{f}}}" for f in ("start", "stop", "stop", "start"))
    assert [f"{op.type} {op.f}" for op in read(path, text).history] == [
        "invoke start",
        "info start",
        "invoke stop",
        "info stop",
        "invoke start",
    ]


INDEPENDENT = """{:process 0, :type :invoke, :f :read, :value [7 nil]}
{:process 1, :type :invoke, :f :cas, :value [8 [1 2]]}
{:process 0, :type :ok, :f :read, :value [7 3]}
{:process :nemesis, :type :info, :f :start, :value nil}
{:process 1, :type :info, :f :cas, :value [8 [1 2]], :error :timeout}
"""


@pytest.mark.parametrize("independent", [True, None])
def test_independent_keys(path: Path, independent: bool | None) -> None:
    assert shown(read(path, INDEPENDENT, independent)) == [
        "0 invoke read 7 None",
        "1 invoke cas 8 [1, 2]",
        "0 ok read 7 3",
        "nemesis invoke start None None",
        "1 info cas 8 [1, 2]",
    ]


def test_independent_keys_are_left_alone_when_told_so(path: Path) -> None:
    assert shown(read(path, INDEPENDENT, False))[0] == "0 invoke read None [7, None]"


def test_a_completion_without_a_pair_keeps_its_key(path: Path) -> None:
    text = INDEPENDENT.replace(":info, :f :cas, :value [8 [1 2]]", ":info, :f :cas, :value nil")
    assert shown(read(path, text, True))[-1] == "1 info cas 8 None"


@pytest.mark.parametrize(
    "values",
    [("nil", "[1 2]", "[3 4]"), ("[1 2]", "[1 2]", "[3 4]"), ("[[:r 1 nil] [:r 2 nil]]", "[[:r 1 nil] [:r 2 nil]]")],
)
def test_pairs_that_are_no_keys_are_not_taken_for_them(path: Path, values: tuple[str, ...]) -> None:
    text = "".join(
        f"{{:process {process}, :type :invoke, :f :cas, :value {value}}}" for process, value in enumerate(values)
    )
    assert {op.key for op in read(path, text).history} == {None}


def test_values_become_json_like(path: Path) -> None:
    text = r'{:process 0, :type :invoke, :f :txn, :value [[:r 1 nil] (a \b) #{2 1} {1 :x, :k 1/2} 1.5M #inst "t"]}'
    assert read(path, text).history[0].value == [
        ["r", 1, None],
        ["a", "b"],
        [1, 2],
        {"1": "x", "k": 0.5},
        1.5,
        "t",
    ]


def test_keys_of_a_map_that_would_be_one_keep_their_notation(path: Path) -> None:
    text = '{:process 0, :type :invoke, :f :write, :value {1 10, "1" 20, :k 30}}'
    assert read(path, text).history[0].value == {"1": 10, '"1"': 20, ":k": 30}


BROKEN: dict[str, tuple[str, list[str]]] = {
    "nothing": ("; empty\n", ["1 syntax"]),
    "no map": ("\n[1]", ["2 syntax"]),
    "no type": ("{:process 0 :f :read}", ["1 type"]),
    "unknown type": ("{:process 0 :type :done :f :read}", ["1 type"]),
    "no process": ("{:type :ok :f :read}", ["1 process"]),
    "unknown process": ("{:process :chaos :type :ok :f :read}", ["1 process"]),
    "no f": ("{:process 0 :type :invoke :f nil}", ["1 syntax"]),
    "a time in words": ("{:process 0 :type :invoke :f :read :time :now}", ["1 time"]),
    "no EDN": ("{:process 0 :type :invoke :f :read}\n\n{:process 0] ", ["3 syntax"]),
    "a bad value": (f"{MAPS[0]}\n{MAPS[1].replace('3', '[1 007]')}\n", ["2 syntax"]),
    "something behind it": (f"[{MAPS[0]}]\n{MAPS[1]}", ["2 syntax"]),
    "indices that fall": (
        "{:process 0 :type :invoke :f :r :index 5}\n{:process 1 :type :invoke :f :r :index 5}",
        ["2 index"],
    ),
    "everything is reported": (
        "{:process 0 :type :ok :f :read}\n7\n{:process 1 :type :invoke :f :read}\n{:process 1 :type :ok :f :write}",
        ["1 no-invocation", "2 syntax", "4 f"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_by_line_and_rule(path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(MalformedHistory) as caught:
        read(path, text)
    assert [f"{problem.line} {problem.rule}" for problem in caught.value.problems] == expected


def test_bytes_that_are_no_text_are_refused_with_their_line(path: Path) -> None:
    path.write_bytes(f"{MAPS[0]}\n".encode() + b'{:f "\xff"}')
    with pytest.raises(MalformedHistory) as caught:
        jepsen.read(path)
    assert [(problem.line, problem.rule) for problem in caught.value.problems] == [(2, "syntax")]


@pytest.mark.parametrize("wrapper", ["", "["])
def test_a_cut_anywhere_in_the_last_map_is_forgiven(path: Path, wrapper: str) -> None:
    whole = f"{wrapper}{MAPS[0]}\n"
    for size in range(1, len(MAPS[1])):
        loaded = read(path, whole + MAPS[1][:size])
        assert (len(loaded.history), loaded.truncated) == (1, True)


@strategies.unhurried
@given(strategies.histories(keys=st.none() | st.integers(0, 3)))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, ops: list[Op]) -> None:
    # A fault op that nothing ended reads as the same, and keys only from pairs: those are Jepsen's ways, not losses.
    has_keys = any(op.key is not None for op in ops)
    if has_keys:
        ops = [op for op in ops if op.key is not None or not op.is_client]
        ops = [
            Op(i, op.time, op.type, op.process, op.f, op.key, op.value, op.error, op.node) for i, op in enumerate(ops)
        ]
    path = tmp_path_factory.mktemp("edn") / "history.edn"
    jepsen.write(path, ops)
    if not ops:
        with pytest.raises(MalformedHistory):
            jepsen.read(path)
        return
    assert list(jepsen.read(path, independent=has_keys).history) == ops


def test_writes_micro_operations_as_elle_wants_them(path: Path) -> None:
    jepsen.write(path, h('p0 invoke txn [["append", "x", 1], ["r", "y", nil]] | nemesis invoke kill ["n1"]'))
    assert path.read_text().splitlines() == [
        '{:index 0, :time 0, :type :invoke, :process 0, :f :txn, :value [[:append "x" 1] [:r "y" nil]]}',
        '{:index 1, :time 1000000, :type :info, :process :nemesis, :f :kill, :value ["n1"]}',
    ]
