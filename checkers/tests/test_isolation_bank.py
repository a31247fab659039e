"""The bank: sums that change are found and explained by the transfer that did it; what snapshot isolation allows is not."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from checkers.evidence import Findings
from checkers.isolation import bank
from checkers.transactions import UnfitTransactions
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op

OPENED = 'p9 invoke open {"0":10,"1":10} | p9 ok open {"0":10,"1":10} | '
MOVED = 'p0 invoke transfer {"from":0,"to":1,"amount":3} | p0 ok transfer {"from":0,"to":1,"amount":3}'
RIGHT = 'p1 invoke read | p1 ok read {"0":10,"1":10}'


@pytest.mark.parametrize(
    ("text", "validity", "words"),
    [
        (f'{RIGHT} | {MOVED} | p1 invoke read | p1 ok read {{"0":7,"1":13}}', Validity.VALID, ""),
        (
            f'{RIGHT} | {MOVED} | p1 invoke read | p1 ok read {{"0":7,"1":10}}',
            Validity.INVALID,
            "wrong-total: op 5 read balances that add up to 17, not 20 (most reads): only half is there of the transfer of 3 "
            "from 0 to 1 (op 3): it was taken, and did not arrive",
        ),
        (
            f'{OPENED}{MOVED} | p1 invoke read | p1 ok read {{"0":10,"1":13}}',
            Validity.INVALID,
            "not 20 (what was opened): only half is there of the transfer of 3 from 0 to 1 (op 3): it arrived, and was not taken",
        ),
        (f'{OPENED}{MOVED} | p1 invoke read | p1 ok read {{"0":-1,"1":21}}', Validity.INVALID, "negative-value: op 5 read -1"),
        (f'{OPENED}{MOVED} | p1 invoke read | p1 ok read {{"0":null,"1":20}}', Validity.INVALID, "nil-balance"),
        (f'{OPENED}{MOVED} | p1 invoke read | p1 ok read {{"2":0,"1":20}}', Validity.INVALID, "unexpected-key: op 5"),
        (f'{OPENED}p1 invoke read | p1 info read | {MOVED}', Validity.UNKNOWN, "no read succeeded"),
        (f"{OPENED}{RIGHT}", Validity.UNKNOWN, "no transfer succeeded"),
        (f"{OPENED}{RIGHT} | p0 invoke transfer {{\"from\":0,\"to\":1,\"amount\":3}}", Validity.UNKNOWN, "no transfer succeeded"),
        # Nobody knows yet that the accounts are open: a read may see none of them, or some.
        (f'p1 invoke read | {OPENED}p1 ok read {{}} | {MOVED}', Validity.UNKNOWN, "after all accounts were open"),
    ],
)  # fmt: skip
def test_what_reads_show(text: str, validity: Validity, words: str) -> None:
    verdict = bank(h(text))
    assert verdict.validity is validity, verdict.reason
    assert words in verdict.reason


def test_the_total_and_balances_below_zero_can_be_given() -> None:
    history = h(f'{RIGHT} | {MOVED} | p1 invoke read | p1 ok read {{"0":-2,"1":22}}')
    assert bank(history, may_be_negative=True).validity is Validity.VALID
    assert "add up to 20, not 100 (the option)" in bank(history, total=100, may_be_negative=True).reason
    assert bank(history).stats["anomalies"] == {"negative-value": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p0 invoke txn | p0 ok txn", "'txn' is no operation of a bank"),
        ("p0 invoke read | p0 ok read [1,2]", "no map of accounts"),
        ('p0 invoke read | p0 ok read {"0":true}', "no map of accounts"),
        ('p0 invoke read | p0 ok read {"0":1.5}', "no map of accounts"),
        ('p0 invoke transfer {"from":0,"to":1}', "not {from, to, amount}"),
        ('p0 invoke transfer {"from":0,"to":1,"amount":-1}', "not {from, to, amount}"),
        ("p0 invoke open [1]", "no map of accounts"),
        ('p0 invoke open {"0":1} | p1 invoke open {"0":2}', "was opened with 1 before"),
    ],
)
def test_what_is_no_bank_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnfitTransactions, match=message):
        bank(h(text))


def played(rng: Random, count: int, *, is_split: bool) -> History:
    """Transfers and reads of three clients on four accounts. is_split: the two halves of a transfer take effect one after the
    other."""
    balances = dict.fromkeys("0123", 20)
    ops: list[Op] = []

    def add(type: Any, process: int, f: str, value: Any) -> None:
        ops.append(Op(len(ops), len(ops), type, process, f, None, value))

    busy: dict[int, list[Any]] = {}
    add("invoke", 0, "read", None)
    add("ok", 0, "read", dict(balances))
    while len(ops) < count:
        process = rng.randrange(3)
        if process not in busy:
            source, target = rng.sample("0123", 2)
            moved = {"from": source, "to": target, "amount": rng.randint(1, 5)}
            f, value = ("transfer", moved) if rng.random() < 0.5 else ("read", None)
            add("invoke", process, f, value)
            busy[process] = [f, value, 0]
            continue
        f, value, step = busy[process]
        if f == "read":
            add("ok", process, f, dict(balances))
            del busy[process]
        elif step == 0:
            if balances[value["from"]] < value["amount"]:
                add("fail", process, f, value)
                del busy[process]
                continue
            balances[value["from"]] -= value["amount"]
            if not is_split:
                balances[value["to"]] += value["amount"]
            busy[process][2] = 1
        else:
            if is_split:
                balances[value["to"]] += value["amount"]
            add("ok", process, f, value)
            del busy[process]
    return History(ops)


@pytest.mark.parametrize("seed", range(20))
def test_transfers_at_once_are_valid_and_split_ones_are_explained(seed: int) -> None:
    assert bank(played(Random(seed), 300, is_split=False), total=80).validity is Validity.VALID
    history = played(Random(seed), 300, is_split=True)
    verdict = bank(history, total=80)
    assert verdict.validity is Validity.INVALID
    assert "half" in verdict.reason
    (finding,) = verdict.evidence_of(Findings).findings
    # The transfers that are named were under way, and account for the difference.
    suspects = [history[note.index] for note in finding.ops if note.note == "transfer"]
    (read,) = (note.index for note in finding.ops if note.note == "wrong-total")
    difference = 80 - sum(history[read].value.values())
    under_way = {op.process: op.value["amount"] for op in history[:read] if op.f == "transfer" and op.type == "invoke"}
    assert {op.process for op in suspects} <= under_way.keys()
    assert difference <= sum(op.value["amount"] for op in suspects)
