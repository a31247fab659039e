"""Dirty reads: somebody read what a failed transaction wrote. Jepsen's dirty-reads (of its tests of Galera and Percona).

Ops: transactions (`txn`) that write one value to all rows of a group, or read them all; or Jepsen's `write` of a value and `read`
of a list of the rows' values. A value that a transaction wrote and that was refused must never be read: read committed forbids it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.isolation.reading import Call, calls, refuse, transactions_of
from checkers.relaxed.identity import identity
from checkers.verdict import Verdict
from histories.history import History
from histories.op import freeze
from histories.printing import quoted
from histories.wellformed import Problem

CHECKER = "dirty-reads"
FINDINGS_MAX = 5


def dirty_reads(history: History) -> Verdict:
    """No read has a value that only failed transactions wrote. UNKNOWN when no transaction failed, or no read succeeded.

    stats: inconsistent_reads: how many had different values of rows that are always written together; read committed allows that.
    Raises UnfitTransactions.
    """
    writes, reads = _read(history)
    failed = {name: some[0] for name, some in writes.items() if all(call.type == "fail" for call in some)}
    findings: list[Finding] = []
    dirty = 0
    for call, seen in reads:
        bad = [name for name in seen if name in failed]
        if bad:
            dirty += 1
            writer = failed[bad[0]]
            value = quoted(bad[0][1])
            words = (
                f"dirty read: op {call.index} read {value}, which op {writer.index} wrote, and op {writer.index} failed"
            )
            edges = (Edge(writer.index, call.index, "it read what that one wrote"),)
            findings.append(Finding(words, key=bad[0][0], ops=(OpNote(writer.index), OpNote(call.index)), edges=edges))
    inconsistent = sum(1 for _, seen in reads if len({value for _, value in seen}) > 1)
    stats = {
        "reads": len(reads),
        "failed_writes": len(failed),
        "dirty_reads": dirty,
        "inconsistent_reads": inconsistent,
    }
    if findings:
        return Verdict.invalid(
            findings[0].words, CHECKER, evidence=Findings(tuple(findings[:FINDINGS_MAX])), stats=stats
        )
    if not failed or not reads:
        lacking = "no read succeeded" if failed else "no write failed"
        return Verdict.unknown(f"nothing was tested: {lacking}", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


Name = tuple[Any, Any]
"""(key, value); of Jepsen's rows, which have no names, the key is the history's."""


def _read(history: History) -> tuple[dict[Name, list[Call]], list[tuple[Call, list[Name]]]]:
    """(who wrote what, what each read that ended ok saw)."""
    writes: dict[Name, list[Call]] = defaultdict(list)
    reads: list[tuple[Call, list[Name]]] = []
    found = calls(history)
    if any(call.f == "txn" for call in found):
        for call, steps in transactions_of(history, ("txn",), ("w", "append")):
            for f, key, value in steps:
                if f == "w":
                    writes[key, value].append(call)
            seen = [(key, value) for f, key, value in steps if f == "r" and value is not None]
            if call.type == "ok" and seen:
                reads.append((call, seen))
        return writes, reads
    problems: list[Problem] = []
    for call in found:
        key = identity(call.invoked.key)
        if call.f == "write":
            writes[key, freeze(call.invoked.value)].append(call)
        elif call.f != "read" or (call.type == "ok" and not isinstance(call.told, list | tuple | type(None))):
            detail = f"{call.f} {quoted(call.told)} is neither write of a value nor read of a list"
            problems.append(Problem(call.position, "f", detail))
        elif call.type == "ok":
            reads.append((call, [(key, freeze(value)) for value in call.told or () if value is not None]))
    refuse(problems)
    return writes, reads
