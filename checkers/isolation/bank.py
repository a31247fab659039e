"""A bank: the sum of all balances is always the same, and no balance is below zero. Jepsen's bank (jepsen.tests.bank).

Ops: `transfer` {"from": account, "to": account, "amount": more than 0}; `read` (result: balances by account); and Themis's `open`
{account: balance}, which begins accounts that there are not yet. A read of part of a transfer, a lost update and a write skew on
one account all show here, and nothing that snapshot isolation allows does.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import msgspec

from checkers.evidence import Finding, Findings, OpNote, Table
from checkers.isolation.reading import Call, calls_on_one, refuse
from checkers.verdict import Verdict
from histories.history import History
from histories.printing import quoted
from histories.wellformed import Problem

CHECKER = "bank"
FS = ("transfer", "read", "open")

WINDOW_MAX = 10
"""Of transfers that a read may have met in part, as many are tried in all combinations."""
SHOWN = 3
"""Combinations that explain a read."""

Balances = dict[str, int]


class _Transfer(msgspec.Struct, frozen=True):
    call: Call
    source: str
    target: str
    amount: int

    def __str__(self) -> str:
        ended = {"ok": "", "info": ", of unknown outcome", "fail": ", which failed"}[self.call.type]
        return f"the transfer of {self.amount} from {self.source} to {self.target} (op {self.call.index}{ended})"


class _Bank(msgspec.Struct, frozen=True):
    """transfers: those that did not fail. reads: those that ended ok, and began when all accounts were certainly open. early: how
    many others ended ok. opened: what the accounts began with, where the history says so."""

    transfers: list[_Transfer]
    reads: list[tuple[Call, dict[str, int | None]]]
    opened: Balances
    early: int = 0


def bank(history: History, *, total: int | None = None, may_be_negative: bool = False) -> Verdict:
    """Every read has the same total, and no balance below zero.

    total: the sum of all balances. None: of what was opened; where nothing was, what most reads have. may_be_negative: balances
    below zero are allowed, as in Jepsen's option negative-balances?. UNKNOWN when no read or no transfer succeeded.
    Names as in Jepsen: wrong-total, negative-value, nil-balance, unexpected-key. Raises UnfitTransactions.
    """
    found = _read(history)
    sums = [sum(balance or 0 for balance in balances.values()) for _, balances in found.reads]
    stats: dict[str, Any] = {"reads": len(found.reads), "early_reads": found.early, "transfers": len(found.transfers)}
    if not found.reads:
        when = " that began after all accounts were open" if found.early else ""
        return Verdict.unknown(f"nothing was checked: no read{when} succeeded", CHECKER, stats=stats)
    if total is not None:
        stats |= {"total": total, "total_from": "the option"}
    elif found.opened:
        stats |= {"total": sum(found.opened.values()), "total_from": "what was opened"}
    else:
        stats |= {"total": Counter(sums).most_common(1)[0][0], "total_from": "most reads"}
    wrong: dict[str, list[int]] = {"wrong-total": [], "negative-value": [], "nil-balance": [], "unexpected-key": []}
    for number, (_, balances) in enumerate(found.reads):
        if sums[number] != stats["total"]:
            wrong["wrong-total"].append(number)
        if not may_be_negative and any(balance is not None and balance < 0 for balance in balances.values()):
            wrong["negative-value"].append(number)
        if None in balances.values():
            wrong["nil-balance"].append(number)
        if found.opened and balances.keys() - found.opened.keys():
            wrong["unexpected-key"].append(number)
    good = set(range(len(found.reads))).difference(*wrong.values())
    stats["anomalies"] = {name: len(numbers) for name, numbers in wrong.items() if numbers}
    findings = tuple(_finding(found, name, numbers, good, stats) for name, numbers in wrong.items() if numbers)
    if findings:
        return Verdict.invalid(
            "; ".join(finding.words for finding in findings), CHECKER, evidence=Findings(findings), stats=stats
        )
    if not any(transfer.call.type == "ok" for transfer in found.transfers):
        return Verdict.unknown("nothing was tested: no transfer succeeded", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _finding(found: _Bank, name: str, numbers: list[int], good: set[int], stats: dict[str, Any]) -> Finding:
    """A read that shows it, the first that can be compared with a right one before, with what may have done it."""
    known_since = -1 if found.opened else min((found.reads[each][0].position for each in good), default=None)
    comparable = (each for each in numbers if known_since is not None and found.reads[each][0].begin > known_since)
    call, balances = found.reads[next(comparable, numbers[0])]
    also = f"; {len(numbers) - 1:,} more reads show it" if len(numbers) > 1 else ""
    head = f"{name}: op {call.index} read"
    suspects: list[_Transfer] = []
    base = _base(found, call, good)
    if name == "wrong-total":
        held = sum(balance or 0 for balance in balances.values())
        head += f" balances that add up to {held}, not {stats['total']} ({stats['total_from']})"
        why, suspects = _halves(found, call, balances, base)
        head += why
    elif name == "negative-value":
        account, balance = next((a, b) for a, b in balances.items() if b is not None and b < 0)
        head += f" {balance} in the account {account}"
        suspects = [each for each in _window(found, call, base[0]) if each.source == account]
        if suspects and account in base[1]:
            head += f", which held {base[1][account]} before {', '.join(map(str, suspects))}"
    elif name == "nil-balance":
        head += (
            f" no balance of the account {next(account for account, balance in balances.items() if balance is None)}"
        )
    else:
        strangers = [account for account in balances if account not in found.opened]
        head += f" the account {strangers[0]}, which nobody opened"
    notes = [OpNote(call.index, name), *(OpNote(each.call.index, "transfer") for each in suspects[:WINDOW_MAX])]
    if base[0] is not None:
        notes.append(OpNote(base[0].index, "the last read before it that was right"))
    rows = tuple((account, base[1].get(account), balances.get(account)) for account in sorted({*base[1], *balances}))
    table = Table(("account", "before", f"op {call.index}"), rows, "balances")
    return Finding(head + also, ops=tuple(notes), tables=(table,))


def _base(found: _Bank, call: Call, good: set[int]) -> tuple[Call | None, Balances]:
    """The last right read that had ended before `call` began, or what was opened."""
    reads = [found.reads[number] for number in good if found.reads[number][0].is_before(call)]
    if not reads:
        return None, found.opened
    last, balances = max(reads, key=lambda read: read[0].position)
    return last, {account: balance for account, balance in balances.items() if balance is not None}


def _window(found: _Bank, call: Call, base: Call | None) -> list[_Transfer]:
    """Transfers that may have taken effect, in whole or in part, after `base` began and before `call` ended."""
    return [
        each
        for each in found.transfers
        if each.call.begin < call.position and not (base is not None and each.call.is_before(base))
    ]


def _halves(
    found: _Bank, call: Call, balances: dict[str, int | None], base: tuple[Call | None, Balances]
) -> tuple[str, list[_Transfer]]:
    """(which transfers would explain the read if only half of each was there, in words; these transfers).

    Such as took effect in half, one or two, beside others that did in whole or not at all: all combinations are tried.
    """
    window = _window(found, call, base[0])
    if not base[1] or len(window) > WINDOW_MAX:
        return "", []
    now = {account: balance or 0 for account, balance in balances.items()}
    accounts = sorted({*base[1], *now})
    change = tuple(now.get(account, 0) - base[1].get(account, 0) for account in accounts)
    halves = [_Half(each, is_taken) for each in window for is_taken in (True, False)]
    for count in (1, 2):
        fitting = [some for some in combinations(halves, count) if _explain(some, window, accounts, change)]
        if fitting:
            named = {half.transfer.call.begin for some in fitting for half in some}
            suspects = [each for each in window if each.call.begin in named]
            shown = ["; and of ".join(map(str, some)) for some in fitting[:SHOWN]]
            if len(fitting) == 1:
                return f": only half is there of {shown[0]}", suspects
            more = f", or {len(fitting) - SHOWN} more" if len(fitting) > SHOWN else ""
            return f": only half is there, either of {', or of '.join(shown)}{more}", suspects
    return "", []


class _Half(msgspec.Struct, frozen=True):
    """is_taken: the amount left one account and did not come to the other. Else the other way round."""

    transfer: _Transfer
    is_taken: bool

    def __str__(self) -> str:
        return f"{self.transfer}: {'it was taken, and did not arrive' if self.is_taken else 'it arrived, and was not taken'}"


def _explain(halves: tuple[_Half, ...], window: list[_Transfer], accounts: list[str], change: tuple[int, ...]) -> bool:
    """Whether these halves, and some of the other transfers in whole, make just this change."""
    surplus = sum(-half.transfer.amount if half.is_taken else half.transfer.amount for half in halves)
    if surplus != sum(change):
        return False
    at = {account: number for number, account in enumerate(accounts)}
    if any(half.transfer.source not in at or half.transfer.target not in at for half in halves):
        return False
    left = list(change)
    for half in halves:
        if half.is_taken:
            left[at[half.transfer.source]] += half.transfer.amount
        else:
            left[at[half.transfer.target]] -= half.transfer.amount
    sums = {(0,) * len(accounts)}
    halved = {half.transfer.call.begin for half in halves}
    for other in window:
        if other.call.begin in halved or other.source not in at or other.target not in at:
            continue
        for each in tuple(sums):
            moved = list(each)
            moved[at[other.source]] -= other.amount
            moved[at[other.target]] += other.amount
            sums.add(tuple(moved))
    return tuple(left) in sums


def _read(history: History) -> _Bank:
    """Raises UnfitTransactions for what is no operation of a bank."""
    transfers: list[_Transfer] = []
    reads: list[tuple[Call, dict[str, int | None]]] = []
    opened: Balances = {}
    open_since: dict[str, int] = {}
    problems: list[Problem] = []
    for call in calls_on_one(history):
        if call.f not in FS:
            problems.append(Problem(call.begin, "f", f"{quoted(call.f)} is no operation of a bank: {', '.join(FS)}"))
        elif call.f == "transfer":
            value = call.invoked.value
            if not _is_transfer(value):
                problems.append(
                    Problem(
                        call.begin,
                        "transfer",
                        f"{quoted(value)} is not {{from, to, amount}} with a whole amount above 0",
                    )
                )
            elif call.type != "fail":
                transfers.append(_Transfer(call, str(value["from"]), str(value["to"]), value["amount"]))
        elif call.f == "open":
            value = call.invoked.value
            if not isinstance(value, dict) or not all(map(_is_whole, value.values())):
                problems.append(Problem(call.begin, "open", f"{quoted(value)} is no map of accounts to balances"))
            elif call.type != "fail":
                for account, balance in value.items():
                    if opened.setdefault(str(account), balance) != balance:
                        detail = f"the account {quoted(account)} was opened with {opened[str(account)]} before"
                        problems.append(Problem(call.begin, "open", detail))
                    if call.type == "ok":
                        open_since[str(account)] = min(call.position, open_since.get(str(account), call.position))
        elif call.type == "ok":
            value = call.told
            if not isinstance(value, dict) or not all(each is None or _is_whole(each) for each in value.values()):
                detail = f"{quoted(value)} is no map of accounts to whole balances"
                problems.append(Problem(call.position, "read", detail))
            else:
                reads.append((call, {str(account): balance for account, balance in value.items()}))
    refuse(problems)
    all_open = max((open_since.get(account, len(history)) for account in opened), default=-1)
    judged = [read for read in reads if read[0].begin > all_open]
    return _Bank(transfers, judged, opened, len(reads) - len(judged))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_transfer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"from", "to", "amount"} <= value.keys()
        and isinstance(value["from"], str | int)
        and isinstance(value["to"], str | int)
        and _is_whole(value["amount"])
        and value["amount"] > 0
    )
