"""Tables of small histories of appends: the anomaly that each shows, and what it rules out."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from checkers import Validity, Verdict
from checkers.evidence import Findings
from checkers.transactions import UnfitTransactions, Wanted, cycles, transactions
from checkers.transactions.check import COMPONENTS_MAX
from checkers.transactions.models import ruled_out
from histories.history import History
from histories.op import Op, OpType


def step(text: str) -> list[Any]:
    """x+1 appends 1 to x; x=1,2 read [1, 2] in x; x= read that it was empty; x? reads, before anybody knows what."""
    key = text[0]
    if text[1] == "+":
        return ["append", key, int(text[2:])]
    if text[1:] == "?":
        return ["r", key, None]
    return ["r", key, [int(item) for item in text[2:].split(",") if item]]


def txns(*lines: str) -> History:
    """Each line is an event: process, type, steps; `p0: steps` is a whole transaction that ended ok before the next line."""
    ops: list[Op] = []

    def add(type: OpType, process: int, steps: list[list[Any]]) -> None:
        asked = [[f, key, None if f == "r" and type != "ok" else value] for f, key, value in steps]
        ops.append(Op(len(ops), len(ops), type, process, "txn", None, asked))

    for each in lines:
        who, *words = each.split()
        if who.endswith(":"):
            steps = [step(word) for word in words]
            add("invoke", int(who[1:-1]), steps)
            add("ok", int(who[1:-1]), steps)
        else:
            type, *rest = words
            found: OpType = next(known for known in get_args(OpType) if known == type)
            add(found, int(who[1:]), [step(word) for word in rest])
    return History(ops)


def at_once(*steps: str, kinds: str = "") -> History:
    """Transactions that all overlap; kinds: o, i or f of each, ok by default."""
    begun = [f"p{i} invoke {each}" for i, each in enumerate(steps)]
    names = {"o": "ok", "i": "info", "f": "fail"}
    ended = [f"p{i} {names[(kinds or 'o' * len(steps))[i]]} {each}" for i, each in enumerate(steps)]
    return txns(*begun, *ended)


def found(verdict: Verdict) -> set[str]:
    return set(verdict.stats["anomalies"])


CASES: list[tuple[str, History, set[str]]] = [
    ("two writers in two orders", at_once("x+1 y+1", "x+2 y+2", "x=1,2 y=2,1"), {"G0"}),
    ("each saw the other", at_once("x+1 y=1", "y+1 x=1"), {"G1c"}),
    ("half of a transaction", at_once("x+1 y+1", "x=1 y="), {"G-single-item"}),
    ("long fork", at_once("x+1", "y+1", "x=1 y=", "x= y=1"), {"G-nonadjacent-item"}),
    ("write skew", at_once("x= y+1", "y= x+1"), {"G2-item"}),
    ("two updates of one version", at_once("x= x+1", "x= x+2"), {"G2-item", "lost-update"}),
    ("a read of what failed", at_once("x+1", "x=1", kinds="fo"), {"G1a"}),
    ("built on what failed", at_once("x+1", "x+2", "x=1,2", kinds="foo"), {"G1a", "dirty-update"}),
    ("in the middle of a transaction", at_once("x+1 x+2", "x=1"), {"G1b", "G-single-item"}),
    ("its own append is missing", txns("p0: x+1 x="), {"internal"}),
    ("a list that shrank within", txns("p0: x+1", "p0: x=1 x="), {"internal", "G-single-item"}),
    ("read before it was appended", txns("p0: x=1 x+1"), {"future-read"}),
    ("twice in a list", at_once("x+1", "x=1,1"), {"duplicate-elements"}),
    ("two lists that cannot both be", at_once("x+1", "x+2", "x=1", "x=2"), {"incompatible-order"}),
    ("from nowhere", at_once("x+1", "x=1,7"), {"thin-air-read"}),
    ("stale", txns("p0: x+1", "p1: x="), {"G-single-item-realtime"}),
    (
        "two stale reads, neither of them by itself",
        txns("p0 invoke y+1 z+4", "p1 invoke z=4 x=", "p2: x+1", "p3: y=", "p0 ok y+1 z+4", "p1 ok z=4 x="),
        {"G-nonadjacent-item-realtime"},
    ),
    ("appended out of order", txns("p0: x+1", "p1: x+2", "p2: x=2,1"), {"G0-realtime"}),
    ("read from the future", txns("p0: x=1", "p1: x+1"), {"G1c-realtime"}),
    ("nothing", at_once("x+1", "x+2", "x=2,1"), set()),
    ("what is unknown and was never seen", txns("p0 invoke x+1", "p0 info x+1", "p1: x=", "p1: x="), set()),
    ("what is unknown and was seen", at_once("x+1 y+1", "x=1 y=", kinds="io"), {"G-single-item"}),
    ("what never ended and was seen", txns("p0 invoke x+1 y+1", "p1: x=1 y="), {"G-single-item"}),
]


@pytest.mark.parametrize(("history", "names"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_anomalies(history: History, names: set[str]) -> None:
    verdict = transactions(history, "list-append")
    assert found(verdict) == names
    assert (verdict.validity is Validity.INVALID) == bool(names)
    assert {*verdict.stats["not"], *verdict.stats["also_not"]} == ruled_out(names)
    if names:
        evidence = verdict.evidence_of(Findings)
        assert {each.words.split()[0].rstrip(":") for each in evidence.findings} == names


@pytest.mark.parametrize(
    ("model", "validity"),
    [("snapshot-isolation", Validity.VALID), ("repeatable-read", Validity.INVALID), ("PL-3", Validity.INVALID)],
)
def test_the_models_that_are_asked_for_decide(model: str, validity: Validity) -> None:
    skew = at_once("x= y+1", "y= x+1")
    assert transactions(skew, "list-append", Wanted((model,))).validity is validity


def test_an_anomaly_can_be_forbidden_by_name() -> None:
    skew = at_once("x= y+1", "y= x+1")
    assert transactions(skew, "list-append", Wanted((), ("G-single",))).validity is Validity.VALID
    assert transactions(skew, "list-append", Wanted((), ("G2",))).validity is Validity.INVALID


def test_process_order_counts_where_a_session_model_is_asked_for() -> None:
    stale = txns("p0: x+1", "p0: x=", "p1: x=1")
    assert transactions(stale, "list-append", Wanted(("serializable",))).validity is Validity.VALID
    verdict = transactions(stale, "list-append", Wanted(("strong-session-serializable",)))
    assert found(verdict) == {"G-single-item-process"}


IN_SESSIONS: list[tuple[str, History]] = [
    ("G0", txns("p0: x+1", "p0: x+2", "p1: x=2,1")),
    ("G1c", txns("p0: x=1", "p0: x+1")),
    ("G-single-item", txns("p0: x+1", "p0: x=", "p1: x=1")),
    ("G-nonadjacent-item", txns("p0: x+1", "p1: y+1", "p0: y=", "p1: x=")),
    (
        "G-nonadjacent-item",
        txns("p0 invoke x+1", "p1 invoke y+1", "p2: x=1", "p2: y=", "p3: y=1", "p3: x=", "p0 ok x+1", "p1 ok y+1"),
    ),
    ("G2-item", txns("p1 invoke z= y+1", "p0: z+1", "p0: y=", "p1 ok z= y+1")),
]
"""Each without an anomaly but by the order in which one process ran its transactions."""


@pytest.mark.parametrize(("name", "history"), IN_SESSIONS)
def test_each_class_of_cycles_over_the_order_of_processes_and_over_real_time(name: str, history: History) -> None:
    # In real time one of the two stale reads is enough.
    strictly = "G-single-item" if name == "G-nonadjacent-item" else name
    for model, names in (
        ("serializable", []),
        ("strong-session-serializable", [f"{name}-process"]),
        ("strict-serializable", [f"{strictly}-realtime"]),
    ):
        verdict = transactions(history, "list-append", Wanted((model,)))
        assert verdict.stats["reported"] == names
        assert (verdict.validity is Validity.INVALID) == bool(names)


def test_a_cycle_is_told_in_sentences_with_its_transactions() -> None:
    verdict = transactions(at_once("x= y+1", "y= x+1"), "list-append", Wanted(("serializable",)))
    (finding,) = verdict.evidence_of(Findings).findings
    assert "write skew" in finding.words
    assert "T1 comes before T2, because" in finding.words
    assert {edge.before for edge in finding.edges} == {note.index for note in finding.ops} == {2, 3}
    assert [row[3] for row in finding.tables[0].rows] == ["r 'x' [], append 'y' 1", "r 'y' [], append 'x' 1"]


def test_who_shows_an_order_is_part_of_the_evidence() -> None:
    verdict = transactions(at_once("x+1 y+1", "x+2 y+2", "x=1,2 y=2,1"), "list-append", Wanted(("serializable",)))
    (finding,) = verdict.evidence_of(Findings).findings
    assert [note.note for note in finding.ops] == ["T1", "T2", "T3: shows the order of two versions"]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, "transaction"),
        (7, "transaction"),
        ([["w", "x", 1]], "micro-operation"),
        ([["append", "x"]], "micro-operation"),
        ([["r", "x", 7]], "micro-operation"),
        ([[]], "micro-operation"),
        ([["r", "x", [], 1]], "micro-operation"),
        (["rxy"], "micro-operation"),
        ([["append", "x", None]], "micro-operation"),
        ([["append", "x", float("nan")]], "micro-operation"),
        ([["append", True, 1]], "micro-operation"),
        ([["r", 1.0, []]], "micro-operation"),
        ([["append", "x", 1], ["append", "x", 1]], "duplicate-append"),
    ],
)
def test_what_is_no_transaction_is_named(value: Any, rule: str) -> None:
    ops = [Op(0, 0, "invoke", 0, "txn", None, value), Op(1, 1, "ok", 0, "txn", None, value)]
    with pytest.raises(UnfitTransactions) as error:
        transactions(History(ops), "list-append")
    assert [problem.rule for problem in error.value.problems] == [rule]


def test_a_completion_without_an_invocation_is_named() -> None:
    with pytest.raises(UnfitTransactions, match="no-invocation"):
        transactions(History([Op(0, 0, "ok", 0, "txn", None, [])]), "list-append")


def test_the_same_element_of_two_transactions_is_refused() -> None:
    with pytest.raises(UnfitTransactions, match="duplicate-append"):
        transactions(at_once("x+1", "x+1"), "list-append")


def test_keys_and_elements_may_be_any_json() -> None:
    key, element = {"a": [1]}, [1, {"b": None}]
    steps = [["append", key, element], ["r", key, [element]]]
    ops = [Op(0, 0, "invoke", 0, "txn", None, steps), Op(1, 1, "ok", 0, "txn", None, steps)]
    assert found(transactions(History(ops), "list-append")) == set()


def test_what_is_forbidden_is_found_behind_any_number_of_what_is_not() -> None:
    ops: list[Op] = []

    def add(*transactions: list[list[Any]]) -> None:
        for i, steps in enumerate(transactions):
            asked = [[f, key, None if f == "r" else value] for f, key, value in steps]
            ops.append(Op(len(ops), len(ops), "invoke", i, "txn", None, asked))
        for i, steps in enumerate(transactions):
            ops.append(Op(len(ops), len(ops), "ok", i, "txn", None, steps))

    for n in range(2 * COMPONENTS_MAX):
        x, y = f"x{n}", f"y{n}"
        add([["r", x, []], ["append", y, 1]], [["r", y, []], ["append", x, 1]])
    add(*([["append", i, 1], ["r", (i + 1) % 3, [1]]] for i in range(3)))
    verdict = transactions(History(ops), "list-append", Wanted(("read-committed",)))
    assert verdict.validity is Validity.INVALID
    assert verdict.stats["reported"] == ["G1c"]


def test_a_cycle_that_was_found_is_kept_when_the_budget_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = at_once(*(f"{a}+1 {b}=1" for a, b in zip("abcdef", "bcdefa", strict=True)))
    for budget in range(1, 200):
        monkeypatch.setattr(cycles, "STEPS_MAX", budget)
        verdict = transactions(ring, "list-append", Wanted(("serializable",)))
        if verdict.validity is Validity.UNKNOWN:
            assert verdict.stats["reported"] == ["cycle-search-timeout"]
        else:
            assert verdict.stats["reported"] == ["G1c"]
    assert verdict.validity is Validity.INVALID


def test_no_dependency_at_all_is_unknown() -> None:
    assert transactions(txns("p0: x+1"), "list-append").validity is Validity.UNKNOWN
    assert transactions(History([]), "list-append").validity is Validity.UNKNOWN
