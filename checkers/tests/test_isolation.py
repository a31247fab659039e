"""Long fork, write skew, causal reverse, dirty reads, monotonic keys: a table of the smallest histories of each."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
import pytest

from checkers import isolation
from checkers.evidence import Findings
from checkers.isolation import WORKLOADS
from checkers.transactions import UnfitTransactions
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN


def txn(process: int, value: str, end: str = "ok", f: str = "txn") -> str:
    return f"p{process} invoke {f} {value} | p{process} {end} {f} {value} | "


X, Y = '[["w","x",1]]', '[["w","y",1]]'
BOTH = txn(0, X) + txn(1, Y)
SKEW_A, SKEW_B = '[["r","x",null],["r","y",null],["w","x",1]]', '[["r","x",null],["r","y",null],["w","y",1]]'


def seen(x: str, y: str) -> str:
    return f'[["r","x",{x}],["r","y",{y}]]'


CASES = [
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, seen("1", "1")), VALID, ""),
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, seen("null", "1")), INVALID, "read 'x' as written and 'y' as absent"),
    ("long-fork", BOTH + txn(2, seen("1", "null"), f="read") + txn(3, seen("null", "1"), f="read"), INVALID, "long fork"),
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, seen("null", "1"), "info"), UNKNOWN, "no two reads"),
    ("long-fork", BOTH + txn(2, seen("2", "null")), INVALID, "thin-air-read: op 5 read 2 in 'x'"),
    ("long-fork", txn(0, X, "fail") + txn(2, seen("1", "null")), INVALID, "thin-air-read"),
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, '[["r","x",null],["r","y",1],["r","z",null]]'), INVALID, "long fork"),
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, '[["r","x",1],["r","y",1],["r","z",null]]'), UNKNOWN, "no two reads"),
    ("long-fork", BOTH + txn(2, seen("1", "null")) + txn(3, '[["r","x",null],["r","y",1],["w","z",1]]'), INVALID, "long fork"),
    ("dirty-reads", txn(0, X, "fail") + txn(2, '[["r","x",1],["w","y",2]]'), INVALID, ""),
    ("write-skew", txn(0, SKEW_A) + txn(1, SKEW_B), INVALID, "write skew: op 1 read 'y' as absent, which op 3 wrote"),
    ("write-skew", txn(0, SKEW_A) + txn(1, SKEW_B, "info"), VALID, ""),
    ("write-skew", txn(0, SKEW_A) + txn(1, '[["r","x",1],["r","y",null],["w","y",1]]'), VALID, ""),
    ("write-skew", txn(0, X), UNKNOWN, "nothing was tested"),
    ("write-skew", txn(0, "[7,[1,null]]", f="insert") + txn(1, "[7,[null,2]]", f="insert"), INVALID, "G2: 2 inserts of the key 7"),
    ("write-skew", txn(0, "[7,[1,null]]", f="insert") + txn(1, "[8,[null,2]]", f="insert"), VALID, ""),
    ("write-skew", txn(0, "[7,[1,null]]", f="insert") + txn(1, "[7,[null,2]]", "fail", "insert"), VALID, ""),
    ("causal-reverse", BOTH + txn(2, seen("null", "1")), INVALID, "op 5 saw the write of op 3, and not that of op 1 ('x')"),
    ("causal-reverse", BOTH + txn(2, seen("1", "null")), VALID, ""),
    ("causal-reverse", BOTH + txn(2, '[["r","y",1]]'), VALID, ""),
    ("causal-reverse", txn(0, X, "info") + txn(1, Y) + txn(2, seen("null", "1")), VALID, ""),
    ("causal-reverse", BOTH + txn(2, seen("null", "null")), UNKNOWN, "no read saw a write"),
    ("causal-reverse", txn(0, "1", f="write") + txn(1, "2", f="write") + txn(2, "[2]", f="read"), INVALID, "causal reverse"),
    ("causal-reverse", txn(0, "1", f="write") + txn(1, "2", f="write") + txn(2, "[1]", f="read"), VALID, ""),
    (
        "causal-reverse",
        "p0 invoke write 1 | " + txn(1, "2", f="write") + "p0 ok write 1 | " + txn(2, "[2]", f="read"),
        VALID,
        "",
    ),
    ("dirty-reads", txn(0, X, "fail") + txn(2, seen("1", "null")), INVALID, "dirty read: op 3 read 1, which op 1 wrote"),
    ("dirty-reads", txn(0, X, "info") + txn(2, seen("1", "null")), UNKNOWN, "no write failed"),
    ("dirty-reads", txn(0, X, "fail") + txn(1, Y) + txn(2, seen("null", "1")), VALID, ""),
    ("dirty-reads", txn(0, "5", "fail", "write") + txn(2, "[4,5]", f="read"), INVALID, "dirty read"),
    ("dirty-reads", txn(0, "5", "fail", "write") + txn(1, "4", f="write") + txn(2, "[4,4]", f="read"), VALID, ""),
    ("monotonic", txn(0, seen("1", "2")) + txn(1, seen("2", "2")), VALID, ""),
    ("monotonic", txn(0, seen("1", "2")) + txn(1, seen("2", "1")), INVALID, "because 'x' was 1, and then 2; but op 3 comes before"),
    ("monotonic", txn(0, seen("null", "2")) + txn(1, seen("1", "null")), INVALID, "'x' was None, and then 1"),
    ("monotonic", txn(0, '{"x":1,"y":2}', f="read") + txn(1, '{"x":2,"y":1}', f="inc"), INVALID, "cycle"),
    ("monotonic", txn(0, '{"x":1}', f="read"), UNKNOWN, "no transaction saw several keys"),
    (
        "monotonic",
        txn(0, '{"x":1,"y":5}', f="read") + txn(1, '{"y":4,"z":9}', f="read") + txn(2, '{"z":7,"x":0}', f="read"),
        VALID,
        "",
    ),
    (
        "monotonic",
        txn(0, '{"x":3,"y":5}', f="read") + txn(1, '{"y":7,"z":9}', f="read") + txn(2, '{"z":11,"x":1}', f="read"),
        INVALID,
        "op 5 comes before op 1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "validity", "words"), CASES)
def test_the_smallest_histories(name: str, text: str, validity: Validity, words: str) -> None:
    verdict = WORKLOADS[name].check(h(text))
    assert verdict.validity is validity, verdict
    assert words in verdict.reason
    if validity is INVALID:
        history = h(text)
        for finding in verdict.evidence_of(Findings).findings:
            assert finding.ops
            assert all(0 <= note.index < len(history) for note in finding.ops)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("long-fork", BOTH + txn(2, '[["w","x",2]]'), "op 4: written-once: the key 'x' is written a second time"),
        ("long-fork", txn(0, '[["append","x",2]]'), "'append' in"),
        ("long-fork", txn(0, "5"), "5 is not a list of micro-operations"),
        ("long-fork", txn(0, '[["w","x"]]'), "is not \\[f, key, value\\]"),
        ("write-skew", txn(0, "5", f="insert"), "is no insert"),
        ("causal-reverse", txn(0, "1", f="write") + txn(0, "1", f="write"), "a second time"),
        ("causal-reverse", txn(0, "7", f="read"), "neither write of a value nor read"),
        ("dirty-reads", txn(0, "7", f="read"), "neither write of a value nor read"),
        ("dirty-reads", txn(0, "7", f="add"), "add 7 is neither"),
        ("monotonic", txn(0, '{"x":"a"}', f="read"), "'a' of the key 'x' is no number"),
        ("monotonic", txn(0, "7", f="read"), "neither a map"),
    ],
)
def test_what_is_no_history_of_the_workload_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(UnfitTransactions, match=message):
        WORKLOADS[name].check(h(text))


@pytest.mark.parametrize("name", ["bank", "long-fork", "write-skew", "monotonic"])
def test_each_key_of_the_history_is_an_object_of_its_own(name: str) -> None:
    steps = '{"from":0,"to":1,"amount":1}' if name == "bank" else '[["r",1,null],["r",2,null]]'
    f = "transfer" if name == "bank" else "txn"
    text = " | ".join(f"p0 invoke {f} {key}={steps} | p0 ok {f} {key}={steps}" for key in ("a", "b"))
    with pytest.raises(UnfitTransactions, match="each key is an object of its own"):
        WORKLOADS[name].check(h(text))


def test_what_each_of_them_rules_out() -> None:
    assert WORKLOADS["causal-reverse"].models == ("strict-serializable",)
    assert "serializable" in WORKLOADS["write-skew"].models
    assert "snapshot-isolation" not in WORKLOADS["write-skew"].models
    assert "snapshot-isolation" in WORKLOADS["long-fork"].models
    assert "parallel-snapshot-isolation" not in WORKLOADS["long-fork"].models
    assert "read-uncommitted" not in WORKLOADS["dirty-reads"].models
    assert isolation.bank(h("")).validity is UNKNOWN


@pytest.mark.parametrize("other", [True, 1.0])
def test_keys_that_are_equal_in_python_alone_are_two(other: Any) -> None:
    def done(process: int, f: str, key: Any, asked: Any, told: Any, end: OpType = "ok") -> list[Op]:
        return [Op(0, 0, "invoke", process, f, key, asked), Op(0, 0, end, process, f, key, told)]

    def of(*groups: list[Op]) -> History:
        return History([msgspec.structs.replace(op, index=i, time=i) for i, op in enumerate(chain(*groups))])

    overwritten = of(done(0, "write", 1, 1, 1), done(0, "write", other, 2, 2), done(1, "read", other, None, [2]))
    assert WORKLOADS["causal-reverse"].check(overwritten).validity is not INVALID
    inserted = of(done(0, "insert", 1, [10, None], [10, None]), done(1, "insert", other, [None, 11], [None, 11]))
    assert WORKLOADS["write-skew"].check(inserted).validity is not INVALID
    failed = of(done(0, "write", 1, 1, 1, "fail"), done(1, "write", other, 1, 1), done(2, "read", 1, None, [1]))
    assert WORKLOADS["dirty-reads"].check(failed).validity is INVALID
