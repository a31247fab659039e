"""Shapes of transactions that the other tests do not draw, each with the verdict that the definition of the level gives."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.transactions import Inference, UnfitTransactions, Wanted, transactions
from checkers.verdict import Validity
from histories.history import History
from histories.op import Op

A, R, W = "append", "r", "w"
Steps = list[list[Any]]
VALID, INVALID = Validity.VALID, Validity.INVALID
EXACTLY = Inference(linearizable_keys=True, wfr_keys=True, absent_at_first=True)


def asked(steps: Steps) -> Steps:
    return [[f, key, None if f == R else value] for f, key, value in steps]


def one_by_one(*txns: tuple[int, Steps]) -> History:
    """(process, steps), each after the one before it."""
    ops: list[Op] = []
    for process, steps in txns:
        for type, value in (("invoke", asked(steps)), ("ok", steps)):
            ops.append(Op(len(ops), 1000 * len(ops), type, process, "txn", None, value))  # type: ignore[arg-type]
    return History(ops)


def at_once(*txns: Steps, failed: Steps | None = None) -> History:
    """All at one time, each by a process of its own; `failed` fails."""
    each = [*((steps, "ok") for steps in txns), *([(failed, "fail")] if failed else [])]
    begun = [("invoke", process, asked(steps)) for process, (steps, _) in enumerate(each)]
    ended = [(end, process, steps) for process, (steps, end) in enumerate(each)]
    return History(Op(i, 1000 * i, type, p, "txn", None, value) for i, (type, p, value) in enumerate(begun + ended))  # type: ignore[arg-type]


CROSSED = ([[A, "x", 1], [A, "y", 1]], [[A, "x", 2], [A, "y", 2]])


@pytest.mark.parametrize(
    ("history", "model", "expected"),
    [
        pytest.param(
            one_by_one((0, [[A, "x", 1]]), (0, [[A, "x", 2]]), (1, [[R, "x", [1, 2, 1]]])),
            "strict-serializable",
            INVALID,
            id="an append was carried out twice",
        ),
        pytest.param(
            one_by_one(
                (0, [[A, "x", 1]]),
                (0, [[A, "x", 2]]),
                (1, [[R, "x", [2, 1]]]),
                (0, [[A, "x", 3]]),
                (1, [[R, "x", [1, 2, 3]]]),
            ),
            "strict-serializable",
            INVALID,
            id="two reads of two orders",
        ),
        pytest.param(
            at_once(*CROSSED, [[R, "x", [1, 9, 2]], [R, "y", [2, 1]]], failed=[[A, "x", 9]]),
            "read-uncommitted",
            INVALID,
            id="a dirty write with a failed element in between",
        ),
        pytest.param(
            at_once(*CROSSED, [[R, "x", [1, 9, 2]], [R, "y", [2, 1]]]),
            "read-uncommitted",
            INVALID,
            id="a dirty write with an element of nobody in between",
        ),
        pytest.param(
            at_once(*CROSSED, [[R, "x", [1, 9, 2]], [R, "y", [1, 2]]], failed=[[A, "x", 9]]),
            "read-uncommitted",
            VALID,
            id="a failed element that was seen is no dirty write",
        ),
        pytest.param(
            at_once([[R, "y", []], [A, "z", 1], [A, "x", 1]], [[R, "z", []], [A, "y", 2], [A, "x", 2]]),
            "snapshot-isolation",
            INVALID,
            id="write skew of two who wrote one key that nobody read",
        ),
        pytest.param(
            at_once([[R, "y", []], [A, "z", 1], [A, "x", 1]], [[R, "z", []], [A, "y", 2], [A, "w", 2]]),
            "snapshot-isolation",
            VALID,
            id="write skew of two who wrote no key in common",
        ),
        pytest.param(
            at_once([[A, "x", 1], [A, "y", 1]], [[R, "x", [1]], [R, "y", []]]),
            "parallel-snapshot-isolation",
            INVALID,
            id="a fractured read",
        ),
        pytest.param(
            at_once([[R, "x", []], [A, "x", 1]], [[R, "x", []], [R, "x", [1]], [A, "x", 2]], [[R, "x", [1, 2]]]),
            "cursor-stability",
            VALID,
            id="an update of what was read last",
        ),
        pytest.param(
            at_once([[R, "x", []], [A, "x", 1]], [[R, "x", []], [A, "x", 2]], [[R, "x", [1, 2]]]),
            "cursor-stability",
            INVALID,
            id="a lost update",
        ),
        pytest.param(
            at_once([[A, "x", 1], [R, "x", []]], [[R, "x", [1]]]),
            "repeatable-read",
            INVALID,
            id="an own append not seen",
        ),
    ],
)
def test_lists(history: History, model: str, expected: Validity) -> None:
    found = transactions(history, "list-append", Wanted((model,)))
    assert found.validity is expected, found.reason


@pytest.mark.parametrize("model", ["strong-read-committed", "strong-snapshot-isolation", "strong-read-uncommitted"])
def test_what_a_model_of_processes_forbids_is_found_beside_one_of_real_time(model: str) -> None:
    stale = one_by_one((0, [[A, "x", 1]]), (0, [[R, "x", []]]), (1, [[R, "x", [1]]]))
    alone, both = (("strong-session-serializable",), ("strong-session-serializable", model))
    assert transactions(stale, "list-append", Wanted(alone)).validity is INVALID
    assert transactions(stale, "list-append", Wanted(both)).validity is INVALID


FUZZY = at_once([[W, "x", 1]], [[R, "x", None], [R, "x", 1]], [[R, "x", 1]])
OWN = at_once([[W, "x", 1], [R, "x", 2]], [[W, "x", 2]], [[R, "x", 2]])
INITIAL = at_once([[W, "x", 1], [W, "y", 1]], [[R, "x", 1], [R, "y", 0]], [[R, "x", 0]])
AGAIN = at_once([[R, "x", None], [W, "x", 1]], [[R, "x", None], [R, "x", 1], [W, "x", 2]], [[R, "x", 2]])


@pytest.mark.parametrize(
    ("history", "model", "inference", "expected"),
    [
        pytest.param(FUZZY, "repeatable-read", Inference(), INVALID, id="fuzzy, repeatable-read"),
        pytest.param(FUZZY, "consistent-view", Inference(), INVALID, id="fuzzy, consistent-view"),
        pytest.param(FUZZY, "forward-consistent-view", Inference(), INVALID, id="fuzzy, forward-consistent-view"),
        pytest.param(FUZZY, "read-committed", Inference(), VALID, id="fuzzy, read-committed"),
        pytest.param(OWN, "repeatable-read", Inference(), INVALID, id="an own write not seen"),
        pytest.param(
            one_by_one((0, [[R, "x", 1], [W, "x", 1]]), (1, [[R, "x", 1]])),
            "serializable",
            EXACTLY,
            INVALID,
            id="future read",
        ),
        pytest.param(
            one_by_one((0, [[W, "x", 1]]), (1, [[R, "x", 1], [W, "x", 2], [R, "x", 2]])),
            "serializable",
            EXACTLY,
            VALID,
            id="read, written and read again",
        ),
        pytest.param(
            one_by_one((0, [[W, "x", 1]]), (1, [[R, "x", 1]]), (2, [[R, "x", 0]])),
            "strict-serializable",
            Inference(),
            INVALID,
            id="the initial value after a write was seen",
        ),
        pytest.param(
            one_by_one((2, [[R, "x", 0]]), (0, [[W, "x", 1]]), (1, [[R, "x", 1]])),
            "strict-serializable",
            Inference(),
            VALID,
            id="the initial value before any write",
        ),
        pytest.param(INITIAL, "serializable", Inference(), INVALID, id="a fractured read of the initial value"),
        pytest.param(AGAIN, "cursor-stability", Inference(), VALID, id="an update of what was read last"),
    ],
)
def test_registers(history: History, model: str, inference: Inference, expected: Validity) -> None:
    found = transactions(history, "rw-register", Wanted((model,), (), inference))
    assert found.validity is expected, found.reason


def test_keys_that_hold_equal_values_of_two_types_are_refused() -> None:
    with pytest.raises(UnfitTransactions):
        transactions(one_by_one((0, [[A, [1], 1]]), (0, [[R, [1], [1]], [R, [True], []]])), "list-append", Wanted())
