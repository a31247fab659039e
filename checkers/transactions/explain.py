"""Anomalies in words: each transaction in full, each edge of a cycle with its reason, the few transactions that show it alone."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.evidence import Edge, Finding, OpNote, Table
from checkers.transactions import verify
from checkers.transactions.cycles import Cycle
from checkers.transactions.found import Anomaly, Dependencies, Reason
from checkers.transactions.graph import PROCESS, REALTIME, RW, TYPES, WR, WW
from checkers.transactions.reading import INFO, Transactions
from histories.op import Op
from histories.printing import line, quoted

STEPS_CHARACTERS_MAX = 4_000
"""Of one transaction's micro-operations in a table; the history has the rest."""


def of_anomaly(found: Transactions, anomaly: Anomaly) -> Finding:
    """An anomaly that is no cycle."""
    numbers = anomaly.transactions
    return Finding(
        f"{anomaly.name}: {anomaly.words}",
        key=anomaly.key,
        ops=tuple(OpNote(found.op(number).index, f"T{i}") for i, number in enumerate(numbers, 1)),
        tables=(_table(found, numbers, ()),),
    )


def of_cycle(found: Transactions, cycle: Cycle, dependencies: Dependencies) -> Finding:
    """A cycle, whose edges have been derived again from the history. Raises verify.Refuted for one that does not hold."""
    count = len(cycle.vertices)
    reasons: list[Reason | None] = []
    for i, type in enumerate(cycle.types):
        before, after = cycle.vertices[i], cycle.vertices[(i + 1) % count]
        reasons.append(dependencies.reason(type, before, after) if type in (WW, WR, RW) else None)
    _verify(found, cycle, reasons)
    number_of = {number: i for i, number in enumerate(dict.fromkeys(cycle.vertices), 1)}
    witnesses = [n for reason in reasons if reason for n in reason.witness if n not in number_of]
    for number in witnesses:
        number_of.setdefault(number, len(number_of) + 1)
    sentences: list[str] = []
    edges: list[Edge] = []
    for i, (type, reason) in enumerate(zip(cycle.types, reasons, strict=True)):
        before, after = cycle.vertices[i], cycle.vertices[(i + 1) % count]
        why = _why(found, type, reason, before, after, number_of)
        sentences.append(f"T{number_of[before]} comes before T{number_of[after]}, because {why}")
        edges.append(Edge(found.op(before).index, found.op(after).index, f"{TYPES[type]}: {why}"))
    sentences[-1] = f"But {sentences[-1]}"
    named = pattern(cycle, reasons)
    title = f"{cycle.name} ({named})" if named else cycle.name
    head = f"{title}: {count} transactions, each before the next, and the last before the first."
    notes = [OpNote(found.op(n).index, f"T{i}") for n, i in number_of.items() if n in cycle.vertices]
    notes += [
        OpNote(found.op(n).index, f"T{number_of[n]}: shows the order of two versions") for n in dict.fromkeys(witnesses)
    ]
    return Finding(
        " ".join([head, *(f"{sentence}." for sentence in sentences)]),
        key=next((reason.key for reason in reasons if reason), None),
        ops=tuple(notes),
        edges=tuple(edges),
        tables=(_table(found, tuple(cycle.vertices), tuple(dict.fromkeys(witnesses))),),
    )


def pattern(cycle: Cycle, reasons: Sequence[Reason | None]) -> str:
    """The name that the field has for a cycle of this shape, or ""."""
    keys = {reason.key for reason in reasons if reason}
    if cycle.types == (RW, RW) and len(keys) == 2:
        return "write skew"
    if len(cycle.types) == 4 and cycle.types in ((WR, RW, WR, RW), (RW, WR, RW, WR)) and len(keys) == 2:
        return "long fork"
    return ""


def _verify(found: Transactions, cycle: Cycle, reasons: Sequence[Reason | None]) -> None:
    def recorded(number: int) -> verify.Recorded:
        return verify.Recorded(found.begin[number], found.end[number] if found.end[number] >= 0 else None)

    edges: list[verify.Edge] = []
    for i, (type, reason) in enumerate(zip(cycle.types, reasons, strict=True)):
        before, after = recorded(cycle.vertices[i]), recorded(cycle.vertices[(i + 1) % len(cycle.vertices)])
        if reason is None:
            edges.append(verify.Edge(TYPES[type], before, after))
        else:
            shown = tuple(recorded(number) for number in reason.witness)
            edges.append(
                verify.Edge(TYPES[type], before, after, reason.key, reason.before, reason.after, shown, reason.rule)
            )
    verify.verify(found.history, found.workload, edges)


def _why(
    found: Transactions, type: int, reason: Reason | None, before: int, after: int, number_of: dict[int, int]
) -> str:
    a, b = f"T{number_of[before]}", f"T{number_of[after]}"
    if type == PROCESS:
        return f"process {found.process[before]} ended {a} before it began {b}"
    if type == REALTIME:
        return f"{a} had ended before {b} began"
    assert reason is not None
    key, after_text, before_text = quoted(reason.key), quoted(reason.after), quoted(reason.before)
    is_list = found.workload == "list-append"
    shown_by = [number_of[number] for number in reason.witness if number not in (before, after)]
    as_shown = f", as T{shown_by[0]} shows" if shown_by else ""
    if type == WR:
        return (
            f"{b} read {a}'s append of {after_text} to {key}"
            if is_list
            else f"{b} read {after_text} in {key}, which {a} wrote"
        )
    if is_list:
        if type == WW:
            unseen = ", which no read shows yet" if reason.unseen else ""
            return f"{b} appended {after_text} to {key}{unseen} after {a} had appended {before_text}{as_shown}"
        if reason.before is None:
            return f"{a} read that {key} was empty, before {b} appended {after_text} to it"
        return f"{a} read {key} up to {before_text}, without {b}'s append of {after_text}"
    by = f" (by {reason.rule}{as_shown})" if reason.rule else ""
    if type == WW:
        return f"{a} wrote {before_text} to {key}, and {b} wrote {after_text}, which is later{by}"
    if reason.before is None:
        return f"{a} read that {key} had no value yet, before {b} wrote {after_text} to it"
    return f"{a} read {before_text} in {key}, and {b} wrote {after_text}, which is later{by}"


def table(found: Transactions, numbers: Sequence[int]) -> Table:
    """The transactions in full, as T1, T2, ... in this order."""
    return _table(found, numbers, ())


def _table(found: Transactions, numbers: Sequence[int], witnesses: Sequence[int]) -> Table:
    rows: list[tuple[str, str, str, str]] = []
    for i, number in enumerate([*dict.fromkeys(numbers), *witnesses], 1):
        op = found.op(number)
        rows.append((f"T{i}", f"{op.process}", _ended(found, number, op), transaction_text(found.steps[number])))
    return Table(("transaction", "process", "ended", "micro-operations"), tuple(rows), "the transactions that show it")


def _ended(found: Transactions, number: int, op: Op) -> str:
    if found.end[number] < 0:
        return "never"
    return "info" if found.kind[number] == INFO else op.type


def transaction_text(steps: Sequence[Sequence[object]] | None) -> str:
    """The micro-operations in one line."""
    return line(", ".join(_step_text(step) for step in steps or ()), STEPS_CHARACTERS_MAX)


def _step_text(step: Sequence[object]) -> str:
    value = step[2] if len(step) > 2 else None
    return f"{step[0]} {quoted(step[1])} {quoted(value, STEPS_CHARACTERS_MAX) if value is not None else 'nil'}"
