"""Tables of small histories of registers: the anomaly that each shows, under each assumption."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import Validity, Verdict
from checkers.transactions import Inference, UnfitTransactions, Wanted, transactions
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType

NONE, WFR = Inference(), Inference(wfr_keys=True)
ABSENT = Inference(absent_at_first=True)
SEQUENTIAL, LINEARIZABLE = Inference(sequential_keys=True), Inference(linearizable_keys=True)


def step(text: str) -> list[Any]:
    """x:1 writes 1 to x; x=1 read it; x= read that there was nothing."""
    return ["w", text[0], int(text[2:])] if text[1] == ":" else ["r", text[0], int(text[2:]) if text[2:] else None]


def history(*lines: tuple[int, OpType | str, str]) -> History:
    """(process, how it ended, steps), one after another; "open": the next ones begin before it ends."""
    ops: list[Op] = []
    late: list[tuple[int, list[list[Any]]]] = []

    def add(type: OpType, process: int, steps: list[list[Any]]) -> None:
        value = [[f, key, None if f == "r" and type != "ok" else each] for f, key, each in steps]
        ops.append(Op(len(ops), len(ops), type, process, "txn", None, value))

    for process, ended, text in lines:
        steps = [step(word) for word in text.split()]
        add("invoke", process, steps)
        match ended:
            case "open":
                late.append((process, steps))
            case "ok" | "fail" | "info":
                add(ended, process, steps)
    for process, steps in late:
        add("ok", process, steps)
    return History(ops)


def at_once(*texts: str) -> History:
    return history(*((i, "open", text) for i, text in enumerate(texts)))


def found(verdict: Verdict) -> set[str]:
    return set(verdict.stats["anomalies"])


CASES: list[tuple[str, History, Inference, set[str]]] = [
    ("each saw the other", at_once("x:1 y=1", "y:1 x=1"), NONE, {"G1c"}),
    ("half of a transaction", at_once("x:1 y:1", "x=1 y="), NONE, {"G-single-item"}),
    ("long fork", at_once("x:1", "y:1", "x=1 y=", "x= y=1"), NONE, {"G-nonadjacent-item"}),
    ("write skew", at_once("x= y:1", "y= x:1"), NONE, {"G2-item"}),
    ("two updates of the initial state", at_once("x= x:1", "x= x:2"), NONE, {"G2-item", "lost-update"}),
    ("two updates of one value", at_once("x:1", "x=1 x:2", "x=1 x:3"), NONE, {"lost-update"}),
    ("two updates of one value, ordered", at_once("x:1", "x=1 x:2", "x=1 x:3"), WFR, {"G2-item", "lost-update"}),
    ("a read of what failed", history((0, "fail", "x:1"), (1, "ok", "x=1")), NONE, {"G1a"}),
    ("a read of what was replaced", at_once("x:1 x:2", "x=1"), NONE, {"G1b"}),
    ("two values within", at_once("x:1", "x:2", "x=1 x=2"), NONE, {"internal"}),
    ("its own write is missing", at_once("x:1 x="), NONE, {"internal"}),
    ("one unknown value may be the initial one", at_once("x=5", "x:1", "x=1"), NONE, set()),
    ("none may, where all begin absent", at_once("x=5", "x:1", "x=1"), ABSENT, {"thin-air-read"}),
    ("two cannot both be", at_once("x=5", "x=6"), NONE, {"thin-air-read"}),
    ("nor one beside nothing", at_once("x=5", "x="), NONE, {"thin-air-read"}),
    ("stale, and nothing says so", history((0, "ok", "x:1"), (0, "ok", "x:2"), (1, "ok", "x=1")), NONE, set()),
    ("stale", history((0, "ok", "x:1"), (0, "ok", "x:2"), (1, "ok", "x=1")), LINEARIZABLE, {"cyclic-versions"}),
    ("stale nothing", history((0, "ok", "x:1"), (1, "ok", "x=")), NONE, {"G-single-item-realtime"}),
    (
        "back in a session",
        history((0, "ok", "x:1"), (0, "ok", "x:2"), (0, "ok", "x=1")),
        SEQUENTIAL,
        {"cyclic-versions"},
    ),
    ("sessions differ", history((0, "ok", "x:1"), (1, "ok", "x:2"), (0, "ok", "x=1")), SEQUENTIAL, set()),
    (
        "writes in two orders",
        history(
            (0, "open", "x:1 y:2"),
            (1, "open", "x:2 y:1"),
            (2, "ok", "x=1"),
            (2, "ok", "x=2"),
            (3, "ok", "y=1"),
            (3, "ok", "y=2"),
        ),
        SEQUENTIAL,
        {"G0", "G-single-item"},
    ),
    ("half of what wrote before it read", at_once("y:1", "y=1 x:1 y:2", "x=1 y=1"), WFR, {"G-single-item"}),
    ("what is unknown and was seen", history((0, "info", "x:1 y:1"), (1, "ok", "x=1 y=")), NONE, {"G-single-item"}),
    ("what is unknown and was not", history((0, "info", "x:1"), (1, "ok", "x="), (1, "ok", "x=")), NONE, set()),
]


@pytest.mark.parametrize(
    ("found_in", "inference", "names"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_anomalies(found_in: History, inference: Inference, names: set[str]) -> None:
    verdict = transactions(found_in, "rw-register", Wanted(inference=inference))
    assert found(verdict) == names
    assert (verdict.validity is Validity.INVALID) == bool(names)


def test_the_assumption_behind_a_verdict_is_named() -> None:
    verdict = transactions(at_once("y:1", "y=1 x:1 y:2", "x=1 y=1"), "rw-register", Wanted(inference=WFR))
    assert verdict.stats["assumptions"] == ["wfr-keys"]
    assert "by wfr-keys" in verdict.reason
    assert "assuming wfr-keys" in verdict.reason


def test_what_needs_no_broken_assumption_comes_first() -> None:
    stale = history((0, "ok", "x:1"), (0, "ok", "x=1 x:2"), (1, "ok", "x=1"))
    both = Inference(wfr_keys=True, linearizable_keys=True)
    lines = transactions(stale, "rw-register", Wanted(inference=both)).reason.splitlines()
    assert lines[0].endswith("found G-single-item-realtime, cyclic-versions")
    assert lines[1].startswith("G-single-item-realtime: ")
    assert lines[2:] == [
        "ruled out: strong-snapshot-isolation, and what is stronger (assuming wfr-keys)",
        "also read-uncommitted, and what is stronger, unless linearizable-keys is wrong here",
        "still possible: strong-read-committed, strong-session-serializable, and what is weaker",
    ]


@pytest.mark.parametrize(
    ("inference", "ruled_out", "wrong"),
    [
        (LINEARIZABLE, "strict-serializable", "linearizable-keys is"),
        (SEQUENTIAL, "strong-session-serializable", "sequential-keys is"),
        (
            Inference(sequential_keys=True, linearizable_keys=True),
            "strong-session-serializable",
            "linearizable-keys and sequential-keys are",
        ),
    ],
)
def test_a_broken_assumption_rules_out_for_sure_what_it_must_hold_under(
    inference: Inference, ruled_out: str, wrong: str
) -> None:
    stale = history((0, "ok", "x:1"), (0, "ok", "x:2"), (0, "ok", "x=1"))
    lines = transactions(stale, "rw-register", Wanted(inference=inference)).reason.splitlines()
    assert f"ruled out: {ruled_out}, and what is stronger" in lines
    assert f"also read-uncommitted, and what is stronger, unless {wrong} wrong here" in lines


@pytest.mark.parametrize("texts", [("x:1", "x:1"), ("x:1 x:1",), ("x:1 x:2 x:1",)])
def test_a_value_that_is_written_twice_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(UnfitTransactions, match="duplicate-write"):
        transactions(at_once(*texts), "rw-register")


def test_each_key_of_the_history_is_an_object_of_its_own() -> None:
    write, read = '[["w","x",1]]', '[["r","x",null]]'
    ops = [f"p0 invoke txn {{}}={step} | p0 ok txn {{}}={step}" for step in (write, read)]
    with pytest.raises(UnfitTransactions, match="each key is an object of its own"):
        transactions(h(" | ".join(op.format(key, key) for op, key in zip(ops, "ab", strict=True))), "rw-register")
    assert transactions(h(" | ".join(op.format("a", "a") for op in ops)), "rw-register").validity is Validity.INVALID


def test_values_may_be_any_json() -> None:
    steps = [["w", ["k"], {"a": [1]}], ["r", ["k"], {"a": [1]}]]
    ops = [Op(0, 0, "invoke", 0, "txn", None, steps), Op(1, 1, "ok", 0, "txn", None, steps)]
    assert found(transactions(History(ops), "rw-register")) == set()
