"""What the monitors of queues, stacks and priority queues share: ops by what they say, gaps, and what each value must obey.

**Gaps.** The events of the entries (calls and returns) are ranked 0 .. gaps - 1; gap g is the time just after event g. A
completed operation takes effect in one of the gaps `lo = rank(call) .. hi = rank(return) - 1`, a crashed one in
`lo .. gaps - 1`. One operation precedes another in real time exactly when its `hi` is below the other's `lo`; inside one gap
every order is free.

**Values.** Every value is put in at most once, so takes and peeks name the put that they belong to. What a linearization
must obey follows, whatever order the collection keeps: with e the put, d the take and p the peeks of a value,

    t(e) <= t(p) <= t(d), so t(e) <= e_hi = min(hi of e, d and all p) and t(d) >= d_lo = max(lo of e, d and all p).

Conversely, if e_lo <= e_hi and d_lo <= d.hi, every operation of the value that is not in conflict with another value has a
place. The value is certainly inside in the gaps `e_hi + 1 .. d_lo - 1`, which it *covers*; a value that nobody takes is
covered to the end.

**Cut lemma.** Take a linearization of a history with puts, takes and peeks, and a gap g that no value covers. A value
with `d_lo <= g` can have all its operations moved to g or before, every other one to g or after (its `e_hi >= g`). Leaving
whole values out keeps a queue, a stack and a priority queue legal, and so does appending one legal sequence to another where
the first ends empty; values with `d_lo <= g` are all taken. So there is a linearization that is empty at some moment in g.
Hence an operation that found the collection empty is explained exactly when its interval holds an uncovered gap,
independently of everything else.

**Crashed puts** that nothing observed are dropped: with its take left out, a value can be left out whole. Crashed
observations say nothing and are dropped as well. Refused puts changed nothing and fit anywhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided
from checkers.models.model import Model, Operation
from histories.op import FrozenMap

NOT_EMPTY = "the collection is not empty at the start"
PEEKED_NEVER_TAKEN = "a value was peeked at and never taken, and takes crashed"

INSERTION_FAILS = "pops crashed, and inserting what they may have taken into an order of the rest does not work"
GREEDY_FAILS = "takes crashed, and the earliest gaps of the others leave too few of them"


class Kind(IntEnum):
    """What an entry says. DROPPED: nothing, and it need not happen. IDLE: nothing, but it completed.

    UNKNOWN_TAKE: a crashed take; it took whatever was next, or did not happen.
    """

    DROPPED = 0
    IDLE = 1
    PUT = 2
    TAKE = 3
    PEEK = 4
    EMPTY = 5
    UNKNOWN_TAKE = 6


class Said(msgspec.Struct, frozen=True):
    """The entries as integers. kind, value: int32[n]; value numbers what is put, taken or seen, -1 where nothing is.

    values: by number. Equal values have one number: 1, 1.0 and True are equal, for the models compare with ==.
    """

    kind: array[int]
    value: array[int]
    values: list[object]


def said(entries: Entries, model: Model, put: str, take: str) -> Said | Decision:
    """What each entry says, or why this monitor cannot tell."""
    if model.initial() != ():
        return undecided(NOT_EMPTY)
    kind, value = array("i"), array("i")
    numbers: dict[object, int] = {}
    values: list[object] = []
    operations = entries.operations
    for number, end in zip(entries.op, entries.end, strict=True):
        operation = operations[number]
        is_crashed = end < 0
        found, subject = _meaning(operation, is_crashed, put, take)
        if found is None:
            return undecided(odd(operation))
        kind.append(found)
        if subject is None:
            value.append(-1)
            continue
        if not is_plain(subject):
            return undecided(not_plain(subject))
        known = numbers.setdefault(subject, len(values))
        if known == len(values):
            values.append(subject)
        value.append(known)
    return Said(kind, value, values)


def odd(operation: Operation) -> str:
    """Why no monitor of a collection takes the operation."""
    return (
        f"{operation.f} {operation.argument!r} -> {operation.result!r} neither completed nor crashed in the usual way"
    )


def not_plain(value: object) -> str:
    """Why no monitor takes the value."""
    return f"{value!r} is of a type whose equality is not known"


def put_twice(value: object) -> str:
    """Which value is not distinct."""
    return f"{value!r} is put in more than once"


def levels(values: Sequence[object]) -> array[int] | Decision:
    """Value -> the rank of its priority among all."""
    priorities: list[Any] = [value[0] if isinstance(value, tuple) and len(value) == 2 else value for value in values]
    for value, type_ in zip(values, map(type, priorities), strict=True):
        if type_ is not int:
            return undecided(f"{value!r} has no priority that is a whole number")
    try:
        ranks = np.unique(np.array(priorities, dtype=np.int64), return_inverse=True)[1]
    except OverflowError:  # A priority beyond 64 bits.
        rank = {priority: place for place, priority in enumerate(sorted(set(priorities)))}
        return array("i", [rank[priority] for priority in priorities])
    return array("i", ranks.astype(np.int32).tobytes())


def _meaning(operation: Operation, is_crashed: bool, put: str, take: str) -> tuple[Kind | None, object]:
    """The kind and the value that it names; None: none of the kinds."""
    f = operation.f
    if f == put:
        if operation.is_refused:
            return (Kind.DROPPED if is_crashed else Kind.IDLE), None
        if operation.argument is None or operation.is_known == is_crashed:
            return None, None
        return Kind.PUT, operation.argument
    if f not in (take, "peek"):
        return None, None
    if operation.is_refused or (operation.is_known and operation.result is None):
        return (Kind.DROPPED if is_crashed else Kind.EMPTY), None
    if not operation.is_known and not is_crashed:
        return None, None
    if f == "peek":
        return (Kind.DROPPED, None) if is_crashed else (Kind.PEEK, operation.result)
    if not operation.is_known:
        return Kind.UNKNOWN_TAKE, None
    return (None, None) if is_crashed else (Kind.TAKE, operation.result)


_PLAIN = frozenset((int, str, bool, bytes, type(None)))


def is_plain(value: object) -> bool:
    """Whether it is of a type whose == and hash are Python's own, and equal to itself (no NaN)."""
    if type(value) in _PLAIN:
        return True
    if isinstance(value, float):
        return type(value) is float and value == value  # False for NaN.
    if isinstance(value, tuple | frozenset):
        return type(value) in (tuple, frozenset, FrozenMap) and all(map(is_plain, value))
    return False


def gaps(entries: Entries) -> tuple[list[int], list[int], int]:
    """lo and hi of each entry, and the number of gaps. Calls come before returns at one position."""
    call, end, returns = entries.call, entries.end, entries.returns
    lo, hi = [0] * len(call), [-1] * len(call)
    rank = returned = 0
    for i, called in enumerate(call):
        while returned < len(returns) and end[returns[returned]] < called:
            hi[returns[returned]] = rank - 1
            rank += 1
            returned += 1
        lo[i] = rank
        rank += 1
    for i in returns[returned:]:
        hi[i] = rank - 1
        rank += 1
    return lo, [rank - 1 if each < 0 else each for each in hi], rank


class Values:
    """What the entries say about each value, and the gaps that it must keep to.

    put[v], take[v]: positions; take -1: nobody took it. A value whose put is -1 after `gather` was dropped: it crashed and
    was never seen. e_lo, e_hi, d_lo: as in the module's text; d_lo = gaps where nobody took it. h: the last gap in which
    the value may first be seen at the front, min(hi of d and all p); gaps where nothing saw it.
    e_hi_of, d_lo_of, h_of: the entry that each bound comes from, -1: the end of the history.
    """

    def __init__(self, spoken: Said, entries: Entries) -> None:
        self.lo, self.hi, self.gaps = gaps(entries)
        count = len(spoken.values)
        self.count = count
        self.put, self.take = [-1] * count, [-1] * count
        self.peeks: list[list[int]] = [[] for _ in range(count)]
        self.empties: list[int] = []
        self.unknown_takes: list[int] = []
        self.idle: list[int] = []
        self.e_lo, self.e_hi, self.d_lo, self.h = [0] * count, [0] * count, [0] * count, [0] * count
        self.e_hi_of, self.d_lo_of, self.h_of = [-1] * count, [-1] * count, [-1] * count

    def whole(self, v: int) -> list[int]:
        """The put and the take of a value, and the peeks that its bounds come from: what a core needs of it."""
        return [i for i in (self.put[v], self.take[v], self.e_hi_of[v], self.d_lo_of[v], self.h_of[v]) if i >= 0]

    def alive(self) -> list[int]:
        """The values that were not dropped, in order of number."""
        return [v for v in range(self.count) if self.put[v] >= 0]

    def is_covered(self, among: Sequence[int]) -> list[bool]:
        """Gap -> whether one of the values covers it."""
        change = [0] * (self.gaps + 1)
        for v in among:
            if self.e_hi[v] + 1 < self.d_lo[v]:
                change[self.e_hi[v] + 1] += 1
                change[self.d_lo[v]] -= 1
        covered, depth = [], 0
        for g in range(self.gaps):
            depth += change[g]
            covered.append(depth > 0)
        return covered

    def chain(self, first: int, last: int, among: Sequence[int]) -> list[int]:
        """Fewest of the values whose covers hide the gaps first .. last, all of which are covered; in order."""
        found: list[int] = []
        reached, best, at = first, -1, 0
        by_begin = sorted(among, key=self.e_hi.__getitem__)
        while reached <= last:
            while at < len(by_begin) and self.e_hi[by_begin[at]] < reached:
                if best < 0 or self.d_lo[by_begin[at]] > self.d_lo[best]:
                    best = by_begin[at]
                at += 1
            assert best >= 0, "a gap is not covered"
            assert self.d_lo[best] > reached, "a gap is not covered"
            found.append(best)
            reached = self.d_lo[best]
        return found


def gather(spoken: Said, entries: Entries) -> Values | Decision:
    """The values with their bounds; INVALID where one value alone is impossible, UNKNOWN where one is put in twice."""
    values = Values(spoken, entries)
    takes: list[int] = []
    for i, kind in enumerate(spoken.kind):
        v = spoken.value[i]
        if kind == Kind.PUT:
            if values.put[v] >= 0:
                return undecided(put_twice(spoken.values[v]))
            values.put[v] = i
        elif kind == Kind.TAKE:
            takes.append(i)
        elif kind == Kind.PEEK:
            values.peeks[v].append(i)
        elif kind == Kind.EMPTY:
            values.empties.append(i)
        elif kind == Kind.UNKNOWN_TAKE:
            values.unknown_takes.append(i)
        elif kind == Kind.IDLE:
            values.idle.append(i)
    for i in takes:
        v = spoken.value[i]
        if values.put[v] < 0:
            return invalid([i])  # Nobody put it in.
        if values.take[v] >= 0:
            return invalid([values.put[v], values.take[v], i])  # It was taken twice.
        values.take[v] = i
    for v in range(values.count):
        if values.put[v] < 0:
            return invalid([values.peeks[v][0]])
        _bound(values, v)
        if values.put[v] >= 0 and values.e_lo[v] > values.e_hi[v]:
            return invalid(values.whole(v))
        if values.take[v] >= 0 and values.d_lo[v] > values.hi[values.take[v]]:
            return invalid(values.whole(v))
    return values


def _bound(values: Values, v: int) -> None:
    """Fill the bounds of a value; drop it when its put crashed and nobody saw it."""
    put, take, peeks, lo, hi = values.put[v], values.take[v], values.peeks[v], values.lo, values.hi
    if take < 0 and not peeks and hi[put] == values.gaps - 1:  # Only a crashed operation may wait until the last gap.
        values.put[v] = -1
        return
    values.e_lo[v], values.e_hi[v], values.e_hi_of[v] = lo[put], hi[put], put
    values.d_lo[v], values.d_lo_of[v] = (values.gaps, -1) if take < 0 else (lo[put], put)
    values.h[v], values.h_of[v] = values.gaps, -1
    for i in (*((take,) if take >= 0 else ()), *peeks):
        if hi[i] < values.e_hi[v]:
            values.e_hi[v], values.e_hi_of[v] = hi[i], i
        if take >= 0 and lo[i] > values.d_lo[v]:
            values.d_lo[v], values.d_lo_of[v] = lo[i], i
        if hi[i] < values.h[v]:
            values.h[v], values.h_of[v] = hi[i], i
