"""Queues and priority queues into which a value is put more than once: bounds from both sides, and exact where no copies nest.

**Names for copies.** In a linearization call the i-th put of a value v, and the i-th take of v, those of copy (v, i). A queue gives
equal values out in the order in which they came in, so the i-th take does take the i-th copy. A priority queue may give out any
of equal ones, so it may as well do that. Copies are distinct, which is what the monitors need; but nobody knows which operation
is the i-th.

**Refuting.** Of all completed puts of v, the i-th takes effect after the i-th of their calls in time and before the i-th of their
returns. So whatever order there is, it is also one of the history in which copy (v, i) is put in between the i-th call and the i-th
return of the puts of v, and taken between the i-th call and the i-th return of the takes of v. If the monitor refutes that
history, the given one is not linearizable. Its core has whole copies; all operations of the values whose copies are in it are a
core of the given history, because the same copies come out of them. A value that is taken more often than it is put in is
refuted at once.

**Finding an order.** Where no put of v begins before and ends after another one of v, and no take does, the i-th call and the
i-th return are of one operation: both histories are the same, and the answer is exact. Otherwise the monitor's order gives each
put and take of a copy a moment, and the operations of v are given to these moments, the earliest return first. That finds a
way if there is one at these moments; if there is none, nothing is decided.

Not decided: crashed puts of a value that is put in twice, and peeks at it; crashed takes where any value is put in twice, because
nobody knows which copies come later then. A stack gives equal values out in another order than they came in: not decided either.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

import msgspec

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.collection import Kind, said
from checkers.linearizability.monitors.monitor import Decision, Monitor, invalid, undecided, valid
from checkers.models.model import Model, Operation
from checkers.verdict import Validity

NO_COPIES = "no value is put in more than once"
CRASHED_PUT = "a value is put in more than once, and one of its puts crashed"
CRASHED_TAKE = "a value is put in more than once, and a take crashed"
PEEKED = "a value is put in more than once and peeked at"
NO_MOMENTS = "values are put in more than once, and the operations of one do not fit the moments of its copies"


class _Copies(msgspec.Struct):
    """puts, takes: positions of the operations of each value, by number, in order of their calls. entries: with the intervals of
    the copies, each of which has a value of its own.
    """

    value: Sequence[int]
    puts: list[list[int]]
    takes: list[list[int]]
    entries: Entries


def decide(entries: Entries, model: Model, monitor: Monitor) -> Decision:
    """What the monitor of the model says about copies, for histories that it leaves open because values are put in twice.

    Undecided for NO_COPIES where none is.
    """
    copies = _copies(entries, model)
    if isinstance(copies, Decision):
        return copies
    if not any(len(own) > 1 for own in copies.puts):
        return undecided(NO_COPIES)
    decision = monitor(copies.entries, model)
    match decision.validity:
        case Validity.INVALID:
            return invalid(_whole(copies, decision.core))
        case Validity.VALID:
            order = decision.linearization
            for moments in (_earliest(copies.entries, order), _latest(copies.entries, order)):
                if found := _given(entries, copies, order, moments):
                    return valid(found)
            return undecided(NO_MOMENTS)
    return decision


def _copies(entries: Entries, model: Model) -> _Copies | Decision:
    spoken = said(entries, model, "enqueue", "dequeue")
    if isinstance(spoken, Decision):
        return spoken
    puts: list[list[int]] = [[] for _ in spoken.values]
    takes: list[list[int]] = [[] for _ in spoken.values]
    peeks: list[list[int]] = [[] for _ in spoken.values]
    lists = {Kind.PUT: puts, Kind.TAKE: takes, Kind.PEEK: peeks}
    for i, kind in enumerate(spoken.kind):
        if kind in lists:
            lists[Kind(kind)][spoken.value[i]].append(i)
    end = array("i", entries.end)
    for v, own in enumerate(puts):
        if len(own) < 2:
            continue
        if any(entries.end[i] < 0 for i in own):
            return undecided(CRASHED_PUT)
        if Kind.UNKNOWN_TAKE in spoken.kind:
            return undecided(CRASHED_TAKE)
        if peeks[v]:
            return undecided(PEEKED)
        if len(takes[v]) > len(own):
            return invalid([*own, *takes[v]])
        for positions in (own, takes[v]):
            for i, bound in zip(positions, sorted(entries.end[i] for i in positions), strict=True):
                end[i] = bound
    return _Copies(spoken.value, puts, takes, _renamed(entries, spoken.kind, spoken.value, puts, takes, end))


def _renamed(
    entries: Entries,
    kind: Sequence[int],
    value: Sequence[int],
    puts: list[list[int]],
    takes: list[list[int]],
    end: array[int],
) -> Entries:
    """The entries with these ends, and with a value of its own for each copy: [what orders the value, its number]."""
    operations: list[Operation] = []
    op = array("i")
    first = [0] * (len(puts) + 1)
    for v, (own, taken) in enumerate(zip(puts, takes, strict=True)):
        first[v + 1] = first[v] + max(len(own), len(taken), 1)
    seen: dict[tuple[int, int], int] = {}
    for i, number in enumerate(entries.op):
        operation, v = entries.operations[number], value[i]
        if v >= 0:
            copy = 0
            if len(puts[v]) > 1:
                copy = seen.get((v, kind[i]), 0)
                seen[v, kind[i]] = copy + 1
            subject = operation.argument if kind[i] == Kind.PUT else operation.result
            priority = subject[0] if isinstance(subject, tuple) and len(subject) == 2 else subject
            name = (priority, first[v] + copy)
            if kind[i] == Kind.PUT:
                operation = msgspec.structs.replace(operation, argument=name)
            else:
                operation = msgspec.structs.replace(operation, result=name)
        op.append(len(operations))
        operations.append(operation)
    returns = array("i", sorted((i for i in range(len(end)) if end[i] >= 0), key=end.__getitem__))
    return Entries(entries.ops, operations, op, entries.call, end, returns)


def _whole(copies: _Copies, core: Iterable[int]) -> list[int]:
    """The core, with all puts and takes of each value that is put in twice and is in it."""
    found: list[int] = []
    for i in core:
        v = copies.value[i]
        found.append(i)
        if v >= 0 and len(copies.puts[v]) > 1:
            found += copies.puts[v] + copies.takes[v]
    return found


def _earliest(entries: Entries, order: Sequence[int]) -> list[int]:
    """By place in order, the event after which that operation takes effect at the earliest."""
    now, found = -1, []
    for i in order:
        now = max(now, entries.call[i])
        found.append(now)
    return found


def _latest(entries: Entries, order: Sequence[int]) -> list[int]:
    """The same at the latest."""
    now, found = max([*entries.call, *entries.end], default=0), []
    for i in reversed(order):
        now = min(now, entries.end[i] - 1) if entries.end[i] >= 0 else now
        found.append(now)
    return found[::-1]


def _given(entries: Entries, copies: _Copies, order: Sequence[int], moments: Sequence[int]) -> list[int]:
    """The order with the operations of each value given to the moments of its copies; empty where they do not fit."""
    group = [-1] * len(entries)
    waiting: list[list[int]] = []
    for both in zip(copies.puts, copies.takes, strict=True):
        if len(both[0]) < 2:
            continue
        for own in both:
            for i in own:
                group[i] = len(waiting)
            waiting.append(own[::-1])
    called: list[list[tuple[int, int]]] = [[] for _ in waiting]
    found: list[int] = []
    for i, moment in zip(order, moments, strict=True):
        g = group[i]
        if g < 0:
            found.append(i)
            continue
        while waiting[g] and entries.call[waiting[g][-1]] <= moment:
            each = waiting[g].pop()
            heappush(called[g], (entries.end[each], each))
        if not called[g]:
            return []
        found.append(heappop(called[g])[1])
    now = -1
    for i in found:
        now = max(now, entries.call[i])
        if 0 <= entries.end[i] <= now:
            return []
    return found
