"""Causal reverse: a read sees a write, and misses one that had ended before that write began. Jepsen's causal-reverse.

Ops: transactions (`txn`) of micro-operations r and w, where each key is written once; or Jepsen's `write` of a value and `read` of
all values (jepsen.tests.causal-reverse), for each key of the history. Strict serializability forbids it; serializability does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.isolation.reading import Call, calls, refuse, transactions_of, written_once
from checkers.relaxed.identity import identity
from checkers.verdict import Verdict
from histories.history import History
from histories.op import freeze
from histories.printing import quoted
from histories.wellformed import Problem

CHECKER = "causal-reverse"
FINDINGS_MAX = 5


def causal_reverse(history: History) -> Verdict:
    """A read that sees a write also sees every write, among what it asked for, that had ended before that one began.

    UNKNOWN when no read saw anything. Raises UnfitTransactions.
    """
    reads, writers = _read(history)
    findings: list[Finding] = []
    seen_count = wrong = 0
    for call, asked, seen in reads:
        latest = max((writers[each] for each in seen if each in writers), key=lambda each: each.begin, default=None)
        if latest is None:
            continue
        seen_count += 1
        missed = [
            (each, writers[each])
            for each in asked
            if each not in seen and each in writers and writers[each].type == "ok" and writers[each].is_before(latest)
        ]
        if missed:
            wrong += 1
            name, early = min(missed, key=lambda each: each[1].begin)
            if len(findings) < FINDINGS_MAX:
                findings.append(_finding(call, name, early, latest))
    stats = {"reads": len(reads), "saw_something": seen_count, "reversed": wrong}
    if findings:
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(tuple(findings)), stats=stats)
    if not seen_count:
        return Verdict.unknown("nothing was tested: no read saw a write", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _finding(call: Call, name: Any, early: Call, late: Call) -> Finding:
    words = (
        f"causal reverse: op {call.index} saw the write of op {late.index}, and not that of op {early.index} "
        f"({quoted(name)}), which had ended before op {late.index} began"
    )
    edges = (
        Edge(early.index, late.index, "realtime: it had ended before the other began"),
        Edge(late.index, call.index, "wr: it saw it"),
        Edge(call.index, early.index, "rw: it did not see it"),
    )
    return Finding(words, ops=tuple(OpNote(each.index) for each in (early, late, call)), edges=edges)


def _read(history: History) -> tuple[list[tuple[Call, Iterable[Any], frozenset[Any]]], dict[Any, Call]]:
    """(reads that ended ok, each with what it asked for and what it saw; who wrote what)."""
    found = calls(history)
    if any(call.f == "txn" for call in found):
        transactions = transactions_of(history)
        writers = {key: call for key, (call, _) in written_once(transactions).items()}
        reads: list[tuple[Call, Iterable[Any], frozenset[Any]]] = []
        for call, steps in transactions:
            asked = {key: value for f, key, value in steps if f == "r"}
            if call.type == "ok" and asked:
                there = frozenset(key for key, value in asked.items() if value is not None)
                reads.append((call, frozenset(asked), there))
        return reads, writers
    writes: dict[Any, Call] = {}
    of_key: dict[Any, list[Any]] = defaultdict(list)
    listed: list[tuple[Call, Iterable[Any], frozenset[Any]]] = []
    problems: list[Problem] = []
    for call in found:
        key = identity(call.invoked.key)
        if call.f == "write":
            name = (key, freeze(call.invoked.value))
            if name in writes:
                problems.append(
                    Problem(call.begin, "written-once", f"{quoted(call.invoked.value)} is written a second time")
                )
            writes[name] = call
            of_key[key].append(name)
        elif call.f != "read" or (call.type == "ok" and not isinstance(call.told, list | tuple | type(None))):
            detail = f"{call.f} {quoted(call.told)} is neither write of a value nor read of a list"
            problems.append(Problem(call.position, "f", detail))
        elif call.type == "ok":
            listed.append((call, of_key[key], frozenset((key, freeze(each)) for each in call.told or ())))
    refuse(problems)
    return listed, writes
