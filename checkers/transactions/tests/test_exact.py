"""The exact check agrees with trying every order, both ways, without any assumption; and it tells what it could not decide."""

from __future__ import annotations

import sys
from itertools import islice
from random import Random
from typing import Any

import pytest

from checkers.evidence import Findings
from checkers.transactions.exact import EXACT_MODELS, exact
from checkers.transactions.exact.certificate import Unproven, have_no_order, replay
from checkers.transactions.tests.brute import histories, holding, holding_snapshots
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op


def compare(seed: int, count: int) -> tuple[int, int]:
    """(how often a model was refuted, how often only the search could). Fails at a wrong verdict."""
    refuted = searched = 0
    for number, history in enumerate(islice(histories(Random(seed), "rw-register"), count)):
        held = holding(history, "rw-register") | holding_snapshots(history)
        for model in EXACT_MODELS:
            verdict = exact(history, model)
            where = f"seed {seed}, history {number}, {model}: {verdict.reason}"
            if verdict.validity is Validity.UNKNOWN:
                assert verdict.reason.startswith("nothing was tested"), where
                assert model in held, where
                continue
            assert (verdict.validity is Validity.VALID) == (model in held), where
            refuted += verdict.validity is Validity.INVALID
            if "set" in verdict.stats:
                searched += 1
                assert verdict.stats["set_is_minimal"], where
                assert verdict.stats["set_confirmed"], where
    return refuted, searched


def test_it_agrees_with_every_order() -> None:
    refuted, searched = compare(1, 120)
    assert refuted > 30
    assert searched > 2


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_it_agrees_with_every_order_in_many() -> None:
    compare(2, 10_000)


def txn(process: int, steps: str) -> str:
    """`wx1 ry2 rz-`: writes and reads of keys of one letter."""
    told = []
    for step in steps.split():
        value = "null" if step[2:] == "-" else step[2:]
        told.append(f'["{step[0]}","{step[1]}",{value}]')
    text = f"[{','.join(told)}]"
    return f"p{process} invoke txn {text} | p{process} ok txn {text} | "


# T1 and T2 write x and y; whichever came first, one of the readers contradicts it. No read shows an order of two values.
CROSSED = txn(0, "wx1 wy1") + txn(1, "wx2 wy2") + txn(2, "rx1 ry2") + txn(3, "wz1")


def test_a_minimal_set_without_an_order_is_shown_and_confirmed() -> None:
    for model in EXACT_MODELS:
        verdict = exact(h(CROSSED), model)
        assert verdict.validity is Validity.INVALID
        assert verdict.stats["set"] == 3
        assert verdict.stats["set_is_minimal"]
        assert verdict.stats["set_confirmed"]
        (finding,) = verdict.evidence_of(Findings).findings
        assert [note.index for note in finding.ops] == [1, 3, 5]
        assert "no order of these 3 transactions explains what they read" in verdict.reason


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (txn(0, "rx- ry- wx1") + txn(1, "rx- ry- wy1"), {"snapshot-isolation", "strong-session-snapshot-isolation"}),
        (txn(0, "wx1") + txn(0, "wx2") + txn(1, "rx1"), {"serializable", "strong-session-serializable", "snapshot-isolation",
                                                         "strong-session-snapshot-isolation"}),
        (txn(0, "wx1") + txn(0, "wx2") + txn(0, "rx1"), {"serializable", "snapshot-isolation"}),
        (txn(0, "wx1") + txn(1, "wx2") + txn(0, "rx2"), set(EXACT_MODELS)),
    ],
)  # fmt: skip
def test_which_models_are_kept(text: str, kept: set[str]) -> None:
    # Of each, real time orders the writers, except where the model does not count it.
    assert {model for model in EXACT_MODELS if exact(h(text), model).validity is Validity.VALID} == kept


def test_without_a_solver_what_pruning_decides_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysat.solvers", None)
    assert exact(h(txn(0, "wx1") + txn(1, "rx1 wx2")), "serializable").validity is Validity.VALID
    undecided = exact(h(txn(0, "wx1") + txn(1, "wx2") + txn(2, "rx1")), "serializable")
    assert undecided.validity is Validity.UNKNOWN
    assert "pip install 'themis-consistency[exact]'" in undecided.reason


def test_beyond_the_budget_it_says_how_far_it_got() -> None:
    verdict = exact(h(CROSSED), "serializable", time_limit_s=1e-9)
    assert verdict.validity is Validity.UNKNOWN
    assert "pairs were left open" in verdict.reason


def big(count: int, processes: int, rng: Random) -> History:
    """Serial, with overlapping calls: transactions take effect at a moment between their call and their answer."""
    state: dict[Any, int] = {}
    ops: list[Op] = []
    running: dict[int, list[Any]] = {}
    for number in range(count):
        process = number % processes
        if process in running:
            ops.append(Op(len(ops), len(ops), "ok", process, "txn", None, running.pop(process)))
        steps = []
        for step in range(rng.randint(1, 3)):
            key = rng.randrange(max(2, count // 20))
            if rng.random() < 0.5:
                state[key] = number * 4 + step
                steps.append(["w", key, state[key]])
            else:
                steps.append(["r", key, state.get(key)])
        ops.append(
            Op(
                len(ops),
                len(ops),
                "invoke",
                process,
                "txn",
                None,
                [[f, k, v if f == "w" else None] for f, k, v in steps],
            )
        )
        running[process] = steps
    for process, steps in running.items():
        ops.append(Op(len(ops), len(ops), "ok", process, "txn", None, steps))
    return History(ops)


@pytest.mark.parametrize("model", ["serializable", "strong-snapshot-isolation"])
def test_a_history_of_some_hundred_transactions(model: str) -> None:
    verdict = exact(big(300, 6, Random(4)), model)
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.stats["pairs"] > 500


def test_a_wrong_order_is_no_certificate() -> None:
    history = h(txn(0, "wx1") + txn(1, "rx1"))
    right = [(0, False), (0, True), (2, False), (2, True)]
    replay(history, right, "-realtime", is_snapshot=False)
    for wrong in (right[2:] + right[:2], right[:2], [*right, *right], [(0, False), (2, False), (0, True), (2, True)]):
        with pytest.raises(Unproven):
            replay(history, wrong, "", is_snapshot=True)
    late = h(txn(0, "wx1") + txn(1, "wx2"))
    with pytest.raises(Unproven, match="had ended before"):
        replay(late, [(2, False), (2, True), (0, False), (0, True)], "-realtime", is_snapshot=False)
    assert have_no_order(late, (0, 2), "", is_snapshot=False, states_max=100) is False
    assert have_no_order(late, (0, 2), "", is_snapshot=False, states_max=1) is None
