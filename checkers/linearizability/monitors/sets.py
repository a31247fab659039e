"""The set: adds, removes and `contains` value by value, and whole reads where values are only added. Exact, near-linear.

Gaps, lo and hi are those of collection.py. Not decided, and left to the search: a value that is added as well as removed, where
one of the two happens more than once (that value alone goes to the search), or where whole reads complete (then the whole).

**One value, only added.** It comes in once, at a moment x. The first add to be called may always be the one that brings it in,
so x may lie from the least lo of all adds to the least hi of the completed ones; a `contains` that saw it asks x <= its hi, one
that did not asks x >= its lo. These bounds are all: what they leave is a window for x, and everything else of the value has a
place around any x in it. A value that only crashed adds may have brought in, and that nobody saw, is left out.

**One value, one add and one remove.** (1) The remove comes first, or crashed and did not happen: then it is one more
operation that asks x >= its lo. (2) It comes after the add, at y >= x. Then x is best as late and y as early as can be:
x <= min(hi of the add, the remove and all that saw the value), y >= max(lo of the same). If that leaves x >= y, one moment for
both suits everybody. Otherwise each `contains` that saw nothing must begin by x or end from y on. (3) The add crashed and did
not happen.

**A value that comes back.** Where no whole read completed, the values are independent objects (locality), so `parts` tells them
apart: what this monitor decides stays together, each other value goes to the search, as a register of two values. Such a
register has writes of equal values, and no polynomial algorithm is known to us: an add that is called while the value is in may
bring it in once more after a remove, or do nothing, and which of the two is better depends on what comes later.

**Whole reads.** With no removes, the sets that were read form a chain by inclusion, whose steps put the values into batches:
reads of the first set, the values new in the second, reads of the second, and so on, at last the values that no read shows.
Inside one group every order is free. A sequence of groups of intervals can be placed exactly when no member's hi is below
the lo of a member of an earlier group: put each member at the running maximum of lo.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import IntEnum

import msgspec

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.collection import NOT_EMPTY, gaps, is_plain, not_plain, odd
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.models.model import Model, Operation

ADDED_AND_REMOVED = "a value is added and removed more than once, or beside whole reads"


class SetKind(IntEnum):
    """What an entry says. DROPPED: nothing, and it need not happen. IDLE: nothing, but it completed.

    PRESENT, ABSENT: what a `contains` saw. IMPOSSIBLE: a read of a list that names an element twice.
    """

    DROPPED = 0
    IDLE = 1
    ADD = 2
    REMOVE = 3
    PRESENT = 4
    ABSENT = 5
    READ = 6
    IMPOSSIBLE = 7


class SaidOfSet(msgspec.Struct, frozen=True):
    """The entries as integers. value: the value's number, for a READ the number of the set; -1: none.

    read_begin, read_values: set s holds the values read_values[read_begin[s] .. read_begin[s + 1] - 1], ascending.
    """

    kind: array[int]
    value: array[int]
    value_count: int
    read_begin: array[int]
    read_values: array[int]


def said(entries: Entries, model: Model) -> SaidOfSet | Decision:
    """What each entry says, or why this monitor cannot tell."""
    if model.initial() != frozenset():
        return undecided(NOT_EMPTY)
    kind, value = array("i"), array("i")
    numbers: dict[object, int] = {}
    sets: dict[tuple[int, ...], int] = {}
    set_of: dict[int, tuple[int, int]] = {}  # Number of the operation -> kind and set: reads are long.
    read_begin, read_values = array("i", (0,)), array("i")
    for number, end in zip(entries.op, entries.end, strict=True):
        operation = entries.operations[number]
        found, subject = _meaning(operation, end < 0)
        if found is None:
            return undecided(odd(operation))
        if found == SetKind.READ:
            if number not in set_of:
                elements = sorted({numbers.setdefault(each, len(numbers)) for each in operation.result})
                if not all(map(is_plain, operation.result)):
                    return undecided(not_plain(operation.result))
                if len(elements) != len(operation.result):
                    set_of[number] = (SetKind.IMPOSSIBLE, -1)
                else:
                    same = sets.setdefault(tuple(elements), len(sets))
                    if same == len(read_begin) - 1:
                        read_values.extend(elements)
                        read_begin.append(len(read_values))
                    set_of[number] = (SetKind.READ, same)
            kind.append(set_of[number][0])
            value.append(set_of[number][1])
            continue
        kind.append(found)
        if found in (SetKind.DROPPED, SetKind.IDLE):
            value.append(-1)
            continue
        if not is_plain(subject):
            return undecided(not_plain(subject))
        value.append(numbers.setdefault(subject, len(numbers)))
    return SaidOfSet(kind, value, len(numbers), read_begin, read_values)


def _meaning(operation: Operation, is_crashed: bool) -> tuple[SetKind | None, object]:
    if operation.is_refused:
        return (SetKind.DROPPED if is_crashed else SetKind.IDLE), None
    match operation.f:
        case "add":
            return SetKind.ADD, operation.argument
        case "remove":
            return SetKind.REMOVE, operation.argument
        case "contains" | "read" if is_crashed:
            return SetKind.DROPPED, None
        case "contains" | "read" if not operation.is_known:
            return SetKind.IDLE, None
        case "contains" if isinstance(operation.result, bool):
            return (SetKind.PRESENT if operation.result else SetKind.ABSENT), operation.argument
        case "read" if isinstance(operation.result, tuple | frozenset):
            return SetKind.READ, None
    return None, None


def decide(entries: Entries, model: Model) -> Decision:
    """The pure monitor of SetModel."""
    spoken = said(entries, model)
    return spoken if isinstance(spoken, Decision) else _Set(spoken, entries).decide()


def parts(entries: Entries, model: Model) -> list[list[int]]:
    """The values that this monitor decides together, and each other value; one part where a read of the whole set completed.

    It decides no set that is not empty at the start.
    """
    is_empty = model.initial() == frozenset()
    by_value: dict[object, list[int]] = {}
    together: list[int] = []
    for position, number in enumerate(entries.op):
        operation = entries.operations[number]
        if operation.f != "read":
            by_value.setdefault(operation.argument, []).append(position)
        elif operation.is_known and not operation.is_refused:
            return [list(range(len(entries)))]
        else:
            together.append(position)
    alone: list[list[int]] = []
    for positions in by_value.values():
        said_of = [entries.operations[entries.op[i]] for i in positions]
        adds = sum(each.f == "add" and not each.is_refused for each in said_of)
        removes = sum(each.f == "remove" and not each.is_refused for each in said_of)
        if not is_empty or (adds and removes and adds + removes > 2):
            alone.append(positions)
        else:
            together += positions
    together.sort()
    return [together, *alone] if together else alone


class _Set:
    """One history. The lists by value hold positions, in order of calls.

    x_lo, x_hi: the window of the moment when the value comes in; x_lo_of, x_hi_of: the operations that the bounds come from.
    placed: gap, place in the gap, position.
    """

    def __init__(self, spoken: SaidOfSet, entries: Entries) -> None:
        self.spoken = spoken
        self.lo, self.hi, self.gaps = gaps(entries)
        count = spoken.value_count
        self.adds: list[list[int]] = [[] for _ in range(count)]
        self.removes: list[list[int]] = [[] for _ in range(count)]
        self.present: list[list[int]] = [[] for _ in range(count)]
        self.absent: list[list[int]] = [[] for _ in range(count)]
        self.reads: list[list[int]] = [[] for _ in range(len(spoken.read_begin) - 1)]
        self.placed: list[tuple[int, int, int]] = []
        self.impossible: list[int] = []
        by_kind = {
            SetKind.ADD: self.adds,
            SetKind.REMOVE: self.removes,
            SetKind.PRESENT: self.present,
            SetKind.ABSENT: self.absent,
            SetKind.READ: self.reads,
        }
        for i, kind in enumerate(spoken.kind):
            if kind == SetKind.IDLE:
                self.placed.append((self.lo[i], FIRST, i))
            elif kind == SetKind.IMPOSSIBLE:
                self.impossible.append(i)
            elif kind != SetKind.DROPPED:
                by_kind[SetKind(kind)][spoken.value[i]].append(i)
        self.is_read = [False] * count
        for v in spoken.read_values:
            self.is_read[v] = True
        self.x_lo, self.x_hi, self.x_lo_of, self.x_hi_of = [0] * count, [0] * count, [-1] * count, [-1] * count

    def returned(self, i: int) -> bool:
        """Whether the operation completed: only a crashed one may wait until the last gap."""
        return self.hi[i] < self.gaps - 1

    def decide(self) -> Decision:
        if self.impossible:
            return invalid(self.impossible[:1])
        last: list[int] = []  # The values that no read shows.
        for v, (adds, removes) in enumerate(zip(self.adds, self.removes, strict=True)):
            if not adds:
                if wrong := self.never_in(v):
                    return invalid(wrong)
            elif removes:
                if len(adds) > 1 or len(removes) > 1 or self.reads:
                    return undecided(ADDED_AND_REMOVED)
                if not self.in_and_out(v):
                    return invalid(self.extremes(v))
            elif self.is_optional(v):
                self.placed.extend((self.lo[i], FIRST, i) for i in self.absent[v])
            else:
                if wrong := self.window(v):
                    return invalid(wrong)
                if not self.is_read[v]:
                    last.append(v)
        if wrong := self.chain(last):
            return invalid(wrong)
        self.placed.sort()
        return valid([i for _, _, i in self.placed])

    def never_in(self, v: int) -> list[int]:
        """Place what is said of a value that nobody added; a core where somebody saw it."""
        if self.present[v]:
            return self.present[v][:1]
        if self.is_read[v]:
            return [next(self.reads[s][0] for s in range(len(self.reads)) if v in self.set(s))]
        self.placed.extend((self.lo[i], FIRST, i) for i in (*self.absent[v], *filter(self.returned, self.removes[v])))
        return []

    def set(self, s: int) -> array[int]:
        """The values of the set with that number."""
        return self.spoken.read_values[self.spoken.read_begin[s] : self.spoken.read_begin[s + 1]]

    def is_optional(self, v: int) -> bool:
        """Whether the value, which is not removed, need not ever have come in."""
        return not self.present[v] and not self.is_read[v] and not any(map(self.returned, self.adds[v]))

    def window(self, v: int) -> list[int]:
        """Fill x_lo and x_hi; a core where nothing is left between them."""
        adds, lo, hi = self.adds[v], self.lo, self.hi
        self.x_lo[v], self.x_lo_of[v] = lo[adds[0]], adds[0]
        self.x_hi[v], self.x_hi_of[v] = self.gaps - 1, -1
        for i in (*adds, *self.present[v]):
            if hi[i] < self.x_hi[v]:
                self.x_hi[v], self.x_hi_of[v] = hi[i], i
        for i in self.absent[v]:
            if lo[i] > self.x_lo[v]:
                self.x_lo[v], self.x_lo_of[v] = lo[i], i
        return [*adds, self.x_lo_of[v], self.x_hi_of[v]] if self.x_lo[v] > self.x_hi[v] else []

    def bring_in(self, v: int, x: int, place: int) -> None:
        """Place the operations of a value that is only added and comes in at x."""
        lo = self.lo
        self.placed.append((x, place, self.adds[v][0]))
        self.placed.extend((max(lo[i], x), LAST, i) for i in self.adds[v][1:] if self.returned(i))
        self.placed.extend((max(lo[i], x), LAST, i) for i in self.present[v])
        self.placed.extend((lo[i], FIRST, i) for i in self.absent[v])

    def in_and_out(self, v: int) -> bool:
        """Place the operations of a value that is added once and removed once; False where they have no place."""
        add, remove, present, absent = self.adds[v][0], self.removes[v][0], self.present[v], self.absent[v]
        lo, hi, placed = self.lo, self.hi, self.placed
        if not present and not self.returned(add):
            placed.extend((lo[i], FIRST, i) for i in (*absent, remove) if self.returned(i))
            return True
        before = [*absent, remove] if self.returned(remove) else absent
        x_lo = max(lo[i] for i in (add, *before))
        x_hi = min(hi[i] for i in (add, *present))
        if x_lo <= x_hi:
            placed.append((x_lo, 0, add))
            placed.extend((lo[i], FIRST, i) for i in before)
            placed.extend((max(lo[i], x_lo), LAST, i) for i in present)
            return True
        x, y = self.stay(v)
        if x < lo[add] or y > hi[remove]:
            return False
        if x >= y:
            x = y
        elif any(lo[i] > x and hi[i] < y for i in absent):
            return False
        placed.append((x, 0, add))
        placed.extend((max(lo[i], x), 1, i) for i in present)
        placed.append((y, 2, remove))
        placed.extend((lo[i], FIRST, i) if lo[i] <= x else (max(lo[i], y), LAST, i) for i in absent)
        return True

    def stay(self, v: int) -> tuple[int, int]:
        """The latest moment at which the value may come in, and the earliest at which it may go."""
        inside = (self.adds[v][0], self.removes[v][0], *self.present[v])
        return min(self.hi[i] for i in inside), max(self.lo[i] for i in inside)

    def extremes(self, v: int) -> list[int]:
        """The operations that leave no place for a value that is added once and removed once."""
        present, absent = self.present[v], self.absent[v]
        core = [self.adds[v][0], self.removes[v][0]]
        if present:
            core += [min(present, key=self.hi.__getitem__), max(present, key=self.lo.__getitem__)]
        if absent:
            x, y = self.stay(v)
            core.append(max(absent, key=self.lo.__getitem__))
            core += [i for i in absent if self.lo[i] > x and self.hi[i] < y][:1]
        return core

    def chain(self, last: list[int]) -> list[int]:
        """Place the reads, and the values that are only added; a core where they have no place."""
        order = sorted(range(len(self.reads)), key=lambda s: (len(self.set(s)), s))
        is_in = [False] * self.spoken.value_count
        at, at_of, at_group = 0, -1, -1  # The running maximum of lo, whose it is, and in which set that one is first.
        size, place = 0, 0
        for group, s in enumerate((*order, -1)):
            members = last if s < 0 else [v for v in self.set(s) if not is_in[v]]
            if s >= 0 and len(self.set(s)) - len(members) != size:
                return self.incomparable(order[group - 1], s)
            size += len(members)
            begins, begins_of = at, at_of
            for v in members:
                is_in[v] = True
                if self.x_hi[v] < at:
                    reads = [self.reads[order[each]][0] for each in {max(at_group, 0), group - 1} if 0 <= each < group]
                    return self.inverted([v], at_of, reads)
                if self.x_lo[v] > begins:
                    begins, begins_of = self.x_lo[v], ~v
                self.bring_in(v, max(at, self.x_lo[v]), place)
            at, at_of, at_group = begins, begins_of, group if begins_of != at_of else at_group
            place += 1
            for i in self.reads[s] if s >= 0 else ():
                if self.hi[i] < at:
                    return self.inverted([], at_of, [i, *(self.reads[order[e]][0] for e in (group - 1,) if e >= 0)])
            for i in self.reads[s] if s >= 0 else ():
                self.placed.append((max(at, self.lo[i]), place, i))
                if self.lo[i] > begins:
                    begins, begins_of = self.lo[i], i
            at, at_of, at_group = begins, begins_of, group if begins_of != at_of else at_group
            place += 1
        return []

    def incomparable(self, a: int, b: int) -> list[int]:
        """The core of two reads of which neither shows all that the other does."""
        return [*self.read_and_adds(a), *self.read_and_adds(b)]

    def read_and_adds(self, s: int) -> list[int]:
        """A read of the set, and the adds of what it shows."""
        return [self.reads[s][0], *(i for v in self.set(s) for i in self.adds[v])]

    def inverted(self, values: list[int], before: int, reads: Iterable[int]) -> list[int]:
        """The core: the values, or the first of the reads, must come before `before` (an entry, or ~value) and after it."""
        core: list[int] = list(reads)
        if before < 0:
            values = [*values, ~before]
        else:
            core.append(before)
        for v in values:
            core += [*self.adds[v], self.x_lo_of[v], self.x_hi_of[v]]
        for i in list(core):
            if i >= 0 and self.spoken.kind[i] == SetKind.READ:
                core += [add for v in self.set(self.spoken.value[i]) for add in self.adds[v]]
        return [i for i in core if i >= 0]


FIRST = -1
"""Before everything else in the gap."""

LAST = 1 << 30
"""After everything else in the gap."""
