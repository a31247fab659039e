"""Values of flags."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from harness import notation
from harness.cli import options
from harness.errors import HARNESS, INVALID, UNKNOWN, USAGE, VALID, UsageError, exit_code, module_of_file, unknown_name
from harness.spec import typed_options
from harness.tests.command import assert_refused, themis


def test_node_names_are_a_count_or_a_list() -> None:
    assert notation.node_names("3") == ("n1", "n2", "n3")
    assert notation.node_names("alpha, beta") == ("alpha", "beta")
    assert notation.node_names("10.0.0.1") == ("10.0.0.1",)


@pytest.mark.parametrize("text", ["0", "100", "", " , ", "2.5", "3.", ".5"])
def test_nodes_that_make_no_cluster_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--nodes"):
        notation.node_names(text)


@pytest.mark.parametrize(("text", "expected"), [("10", 10), ("3n", 15), ("1 n", 5)])
def test_concurrency_is_a_number_or_so_many_a_node(text: str, expected: int) -> None:
    assert notation.concurrency(text, 5) == expected


@pytest.mark.parametrize("text", ["0", "0n", "n", "-2", "2.5", "many", "3m"])
def test_nonsense_concurrency_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--concurrency"):
        notation.concurrency(text, 5)


@pytest.mark.parametrize(("text", "expected"), [("1..3", [1, 2, 3]), (" 7 .. 8 ", [7, 8]), ("4..4", [4])])
def test_a_seed_range_has_both_ends(text: str, expected: list[int]) -> None:
    assert list(notation.seed_range(text)) == expected


@pytest.mark.parametrize("text", ["3..1", "", "a..b", "1..", "..", "1...4", "-1..4"])
def test_an_empty_reversed_or_unreadable_seed_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        notation.seed_range(text)


def test_a_lone_seed_is_refused_with_both_things_that_it_may_mean() -> None:
    with pytest.raises(UsageError, match=r"1\.\.5 sweeps that many seeds, 5\.\.5 only seed 5"):
        notation.seed_range("5")


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5_400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)])
def test_an_age_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    assert notation.age_s("--older-than", text) == seconds


def test_pairs_keep_numbers_as_text_for_the_options_own_type() -> None:
    assert options.pairs("-o", ["a=1", "b=true", "c=[1,2]", "d=x=y"]) == {"a": "1", "b": True, "c": [1, 2], "d": "x=y"}


def test_a_pair_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        options.pairs("-o", ["reads"])


def test_of_a_pair_that_is_given_twice_the_last_one_counts() -> None:
    assert options.pairs("-o", ["reads=log", " reads=lease"]) == {"reads": "lease"}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reads: str = "log"
    limit: int = 3
    share: float = 0.5
    durable: bool = True
    order: Literal["fifo", "lifo"] = "fifo"


def test_a_misspelt_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown raft option 'read'; did you mean 'reads'"):
        typed_options("raft", {"read": "log"}, Options)


@pytest.mark.parametrize(
    ("name", "value", "due"),
    [
        ("limit", "many", "a whole number"),
        ("limit", "2.5", "a whole number"),
        ("share", "half", "a number"),
        ("durable", "7", "true or false"),
    ],
)
def test_an_option_of_the_wrong_type_is_named_with_what_it_may_be(name: str, value: str, due: str) -> None:
    with pytest.raises(UsageError, match=f"raft options: {name} is '{value}'; it must be {due}$"):
        typed_options("raft", {name: value}, Options)


def test_the_text_of_a_number_is_a_number() -> None:
    assert typed_options("raft", {"limit": "4", "share": "1", "durable": "false"}, Options) == Options(
        limit=4, share=1.0, durable=False
    )


@pytest.mark.parametrize("value", ["filo", "", True])
def test_a_word_that_is_none_of_an_options_is_answered_with_them(value: object) -> None:
    with pytest.raises(UsageError, match=f"options: order is {value!r}; it must be one of fifo, lifo"):
        typed_options("raft", {"limit": "4", "order": value}, Options)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("shelf.target:TARGET", ""),
        ("mine.py:never_back", "; name the module, not its file: mine:never_back, in the folder that holds it"),
        ("./shelf:T", "; name the module, not its file: shelf:T, in the folder that holds it"),
        (
            "/tmp/a/inventory.py:Inventory",
            "; name the module, not its file: inventory:Inventory, in the folder that holds it",
        ),
    ],
)
def test_a_file_in_the_place_of_a_module_is_answered_with_the_module(path: str, hint: str) -> None:
    assert module_of_file(path) == hint


def test_an_unknown_name_without_a_near_one_lists_what_is_known() -> None:
    assert str(unknown_name("target", "zzz", ["raft", "paxos"])) == "unknown target 'zzz'; known: paxos, raft"
    assert str(unknown_name("target", "rafd", ["raft"], own="module:Name")).endswith("'raft'?; your own is module:Name")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([VALID, VALID], VALID),
        ([VALID, UNKNOWN], UNKNOWN),
        ([UNKNOWN, HARNESS, VALID], HARNESS),
        ([HARNESS, INVALID, UNKNOWN, USAGE], INVALID),
        ([], UNKNOWN),
    ],
)
def test_over_several_runs_a_violation_dominates_all(codes: list[int], expected: int) -> None:
    assert exit_code(codes) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("bench-bugs", "--shrink", "nan"),
        ("bench-bugs", "--shrink", "-1"),
        ("bench-bugs", "--lift", "0"),
        ("cluster", "up", "--seed", "-1"),
    ],
)
def test_a_number_that_means_nothing_is_refused(words: tuple[str, ...]) -> None:
    assert_refused(themis(*words), words[-2])
