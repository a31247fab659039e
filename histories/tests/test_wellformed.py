"""Which ops are a history, and what is said of those that are none."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from histories import History, MalformedHistory, Op, Problem, h, problems
from histories.tests import strategies
from histories.wellformed import RULES, require

BROKEN = {
    "completion without an invocation": ("p0 ok read 1", ["0 no-invocation"]),
    "completed twice": ("p0 invoke read | p0 ok read 1 | p0 ok read 1", ["2 no-invocation"]),
    "two open": ("p0 invoke read | p0 invoke write 1", ["1 two-open"]),
    "another f": ("p0 invoke read | p0 ok write 1", ["1 f"]),
    "another key": ("p0 invoke read x= | p0 ok read y=1", ["1 key"]),
    "another f and key": ("p0 invoke read x= | p0 ok write y=1", ["1 f", "1 key"]),
    "back after info": ("p0 invoke read | p0 info read | p0 invoke read", ["2 after-info"]),
    "back after info, twice": (
        "p0 invoke read | p0 info read | p0 invoke read | p0 info read | p0 invoke read",
        ["2 after-info", "4 after-info"],
    ),
    "the nemesis ends ok": ("nemesis invoke kill | nemesis ok kill", ["1 nemesis-end"]),
    "the nemesis does two things": ("nemesis invoke kill | nemesis invoke heal", ["1 two-open"]),
    "everything is reported": (
        "p0 ok read | p1 invoke read | p1 invoke read | p1 ok write | nemesis invoke kill | nemesis fail kill",
        ["0 no-invocation", "2 two-open", "3 f", "5 nemesis-end"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_reports_every_broken_rule(text: str, expected: list[str]) -> None:
    found = problems(h(text, check=False))
    assert [f"{problem.position} {problem.rule}" for problem in found] == expected


def op(index: object = 0, time: object = 0, type: object = "invoke", process: object = 0) -> Op:
    return Op(index, time, type, process, "read")  # type: ignore[arg-type]


FIELDS = {
    "index starts late": ([op(index=1)], ["index 1 where 0 was due"]),
    "index has a gap": ([op(), op(2, process=1), op(3, process=2)], ["index 2 where 1 was due"]),
    "index twice": ([op(), op(0, process=1), op(1, process=2)], ["index 0 where 1 was due"]),
    "index is no number": ([op(index="0"), op(5, process=1)], ["index '0' where 0 was due"]),
    "time goes back": ([op(time=7), op(1, 6, process=1)], ["time 6 ns comes after 7 ns"]),
    "time before the run": ([op(time=-1)], ["time -1 ns lies before the run began"]),
    "time is no number": ([op(time=None)], ["None is not a time in ns"]),
    "unknown type": ([op(type="done")], ["'done' is not a type: invoke, ok, fail or info"]),
    "negative process": ([op(process=-1)], ["-1 is not a process: an integer from 0 up, or 'nemesis'"]),
    "named process": ([op(process="n1")], ["'n1' is not a process: an integer from 0 up, or 'nemesis'"]),
    "process true": ([op(process=True)], ["True is not a process: an integer from 0 up, or 'nemesis'"]),
}


@pytest.mark.parametrize(("ops", "details"), FIELDS.values(), ids=FIELDS.keys())
def test_reports_bad_fields(ops: list[Op], details: list[str]) -> None:
    assert [problem.detail for problem in problems(ops)] == details


@strategies.unhurried
@given(strategies.histories())
def test_what_a_run_records_is_well_formed(ops: list[Op]) -> None:
    assert problems(ops) == []


def test_a_process_may_return_after_fail_and_its_successor_after_info() -> None:
    require(h("p0 invoke cas [1,2] | p0 fail cas | p0 invoke read | p0 info read | p5 invoke read"))


def test_an_empty_history_is_well_formed() -> None:
    assert problems(History(())) == []


def test_an_unreadable_line_is_reported_and_its_index_not_missed() -> None:
    unread = Problem(1, "syntax", "not JSON", 3)
    assert problems([op(), unread, op(2, process=1)], lines=2) == [unread]


def test_lines_are_named() -> None:
    assert problems([op(), op(1)], lines=10)[0].line == 11
    assert problems([op(), op(1)], lines=[3, 9])[0].line == 9


def test_the_message_names_file_line_and_rule_and_counts_what_it_leaves_out() -> None:
    ops = [op(index, type="ok", process=index) for index in range(25)]
    with pytest.raises(MalformedHistory) as caught:
        require(ops, "store/history.jsonl", lines=2)
    message = str(caught.value).splitlines()
    assert message[0] == "store/history.jsonl is not a well-formed history: 25 broken rules"
    assert message[1] == (
        "  store/history.jsonl: line 2: no-invocation: process 0 completes read (ok), but has no operation open"
    )
    assert message[-1] == "  ... and 5 more"
    assert len(message) == 22
    assert len(caught.value.problems) == 25


def test_the_error_crosses_a_process_border() -> None:
    error = MalformedHistory([Problem(0, "f", "detail", 2)], "a.jsonl")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.problems, str(copy)) == (error.path, error.problems, str(error))


OF_FILES = ("syntax", "gzip", "header", "version")


def test_every_rule_that_is_reported_is_explained() -> None:
    cases = [h(text, check=False).ops for text, _ in BROKEN.values()] + [tuple(ops) for ops, _ in FIELDS.values()]
    assert {problem.rule for ops in cases for problem in problems(ops)} | set(OF_FILES) == set(RULES)
