"""Write skew: two transactions read what the other then wrote, and both committed. Jepsen's G2 (jepsen.tests.adya).

Ops: transactions (`txn`) of micro-operations r and w on keys that are written once, such as "write a if neither a nor b is
there". Or Jepsen's `insert` [key, [a, b]], of which at most one for each key may succeed. Snapshot isolation allows write skew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.isolation.reading import Call, Steps, calls, refuse, transactions_of, written_once
from checkers.relaxed.identity import identity
from checkers.verdict import Verdict
from histories.history import History
from histories.printing import quoted
from histories.wellformed import Problem

CHECKER = "write-skew"
FINDINGS_MAX = 5


def write_skew(history: History) -> Verdict:
    """No two transactions that committed each read as absent what the other wrote; no key has two successful inserts.

    UNKNOWN when no transaction that reads and writes, and no insert, succeeded. Raises UnfitTransactions.
    """
    if any(op.is_client and op.f == "insert" for op in history):
        return _inserts(history)
    transactions = transactions_of(history)
    written_once(transactions)
    committed = [(call, *_sides(steps)) for call, steps in transactions if call.type == "ok"]
    writers: dict[Any, list[int]] = defaultdict(list)
    for number, (_, _, written) in enumerate(committed):
        for key in written:
            writers[key].append(number)
    findings: list[Finding] = []
    for number, (call, absent, written) in enumerate(committed):
        for key in absent:
            for other in writers[key]:
                back = written & committed[other][1]
                if other > number and back:
                    findings.append(_finding(call, key, committed[other][0], min(back, key=repr)))
    both = sum(1 for _, absent, written in committed if absent and written)
    stats = {"transactions": len(committed), "read_and_wrote": both, "skews": len(findings)}
    if findings:
        return Verdict.invalid(
            findings[0].words, CHECKER, evidence=Findings(tuple(findings[:FINDINGS_MAX])), stats=stats
        )
    if not both:
        return Verdict.unknown(
            "nothing was tested: no transaction that reads and writes succeeded", CHECKER, stats=stats
        )
    return Verdict.valid(CHECKER, stats=stats)


def _sides(steps: Steps) -> tuple[frozenset[Any], frozenset[Any]]:
    """(keys that it read as absent before it wrote them itself, if it did; keys that it wrote)."""
    absent: set[Any] = set()
    written: set[Any] = set()
    for f, key, value in steps:
        if f != "r":
            written.add(key)
        elif value is None and key not in written:
            absent.add(key)
    return frozenset(absent), frozenset(written)


def _finding(first: Call, y: Any, second: Call, x: Any) -> Finding:
    name = "write skew" if x != y else "lost update"
    words = (
        f"{name}: op {first.index} read {quoted(y)} as absent, which op {second.index} wrote, and op {second.index} read "
        f"{quoted(x)} as absent, which op {first.index} wrote: each comes before the other"
    )
    edges = (
        Edge(first.index, second.index, f"rw: it read {quoted(y)} as absent"),
        Edge(second.index, first.index, f"rw: it read {quoted(x)} as absent"),
    )
    return Finding(words, key=y, ops=(OpNote(first.index), OpNote(second.index)), edges=edges)


def _inserts(history: History) -> Verdict:
    """At most one insert of each key succeeded."""
    done: dict[Any, list[Call]] = defaultdict(list)
    problems: list[Problem] = []
    for call in calls(history):
        value = call.invoked.value
        is_pair = isinstance(value, list | tuple) and len(value) == 2
        if call.f == "read":
            continue
        if call.f != "insert" or not is_pair:
            problems.append(Problem(call.begin, "insert", f"{call.f} {quoted(value)} is no insert of [key, [a, b]]"))
        elif call.type == "ok":
            inner = value[1] if isinstance(value[1], list | tuple) else None
            done[identity(call.invoked.key if inner is None else value[0])].append(call)
    refuse(problems)
    findings = [
        Finding(
            f"G2: {len(some)} inserts of the key {quoted(key)} succeeded (ops {', '.join(str(each.index) for each in some)}); each "
            "had to see that there was none yet",
            key=key,
            ops=tuple(OpNote(each.index) for each in some),
        )
        for key, some in done.items()
        if len(some) > 1
    ]
    stats = {"keys": len(done), "skews": len(findings)}
    if findings:
        return Verdict.invalid(
            findings[0].words, CHECKER, evidence=Findings(tuple(findings[:FINDINGS_MAX])), stats=stats
        )
    if not done:
        return Verdict.unknown("nothing was tested: no insert succeeded", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)
