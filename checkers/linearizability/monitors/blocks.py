"""Blocks of values that follow each other: the zones of Gibbons and Korach, for registers and append-only lists.

Source: Gibbons and Korach, "Testing shared memories", SIAM Journal on Computing 26(4), 1997, §3: linearizability with a
read mapping. Theirs is for reads and writes; chains (cas, append), crashed operations and cores are ours.

A *phase* is the time while the object has one value: a writer begins it (or the history does), and reads see it. Where
each value is written once, an object is in each phase once. A *block* is a run of phases whose order is known: each
writer but the first replaces the value of the phase before it (a cas from it, an append that reads show behind it). So in
a linearization a block is contiguous, and blocks can be in any order but for real time.

Time. An operation takes effect at a moment in [call, ret]; moments are events, several operations can share one, in any
order. A crashed operation has no ret. For operations in a given order such moments exist exactly when no operation
returns before an earlier one in the order was called: give each the latest call so far.

1. *Inside a block* the order is writer 0, reads 0, writer 1, reads 1, ...; reads of one phase in the order of their calls.
   No ret may be smaller than a call before it. Otherwise the two operations contradict each other.
2. *Zone.* Of a block, f is the first return and s the last call (f = -1 for the block of the initial value, which begins
   before everything). If f < s it is *forward*: by f it has begun, before s it has not ended, so it occupies [f, s]. It
   need not occupy more: every ret is at least f, every call at most s, and 1 gives moments between.
   Otherwise it is *backward*: all of it can take effect at any one moment in [s, f].
3. Two forward zones that overlap in more than a moment contradict each other. If no neighbours in order of f do, none do.
4. A backward block needs a moment in [s, f] that is not inside a forward zone (its ends are outside). Zones do not overlap
   and their ends are free, so there is none exactly when one zone has f_zone < s and f < s_zone. Otherwise s, or that
   zone's end, is free. Backward blocks at one moment do not disturb each other.

So 1, 3 and 4 are necessary, and together they give an order: the blocks by their moments.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

NEVER = 2**31 - 1
"""The ret of a crashed operation."""


class Blocks(NamedTuple):
    """Phases of a history; phases of one block are numbered in a row, and block 0 is that of the initial value.

    call, ret: int32[entries]; ret is NEVER for a crashed one. writer: int32[phases], the entry that begins the phase; -1:
    the initial value. begin: int32[blocks + 1], the first phase of each block. read: the entries that see each phase, in
    order of their calls: read[read_begin[p]:read_begin[p + 1]].
    """

    call: array[int]
    ret: array[int]
    writer: array[int]
    begin: array[int]
    read: array[int]
    read_begin: array[int]


class Arranged(NamedTuple):
    """order: entries in an order that explains them; moment: when each takes effect. Empty where there is a conflict.

    conflict: entry and phase of each of the operations that contradict each other, in a row. Two operations are of one
    block: the first must come before the second and was called after it had returned. Up to four are the first to return
    and the last to be called of each of two blocks (the initial value has none).
    """

    order: Sequence[int]
    moment: Sequence[int]
    conflict: Sequence[int]


Arrange = Callable[[Blocks], Arranged]


class _Zone(NamedTuple):
    """A block's f and s, each with its entry (-1: the initial value) and phase."""

    first_return: int
    returned: int
    returned_phase: int
    last_call: int
    called: int
    called_phase: int

    @property
    def ends(self) -> list[int]:
        """The entries behind f and s with their phases, as in Arranged.conflict."""
        returned = [self.returned, self.returned_phase] if self.returned >= 0 else []
        called = [self.called, self.called_phase] if self.called >= 0 and self.called != self.returned else []
        return returned + called


def arrange(blocks: Blocks) -> Arranged:
    """The blocks' operations in an order that keeps real time, or operations that contradict each other. O(n log n)."""
    zones: list[_Zone] = []
    for block in range(len(blocks.begin) - 1):
        zone = _zone(blocks, block)
        if not isinstance(zone, _Zone):
            return Arranged((), (), zone)
        zones.append(zone)
    forward = [b for b, zone in enumerate(zones) if zone.first_return < zone.last_call]
    forward.sort(key=lambda b: (zones[b].first_return, b))
    for a, b in pairwise(forward):
        if zones[b].first_return < zones[a].last_call:
            return Arranged((), (), zones[a].ends + zones[b].ends)
    begins = [zones[b].first_return for b in forward]
    places: list[tuple[int, int]] = []
    for b, zone in enumerate(zones):
        moment = zone.last_call
        if zone.first_return < moment:
            places.append((2 * zone.first_return + 1, b))
            continue
        around = bisect_left(begins, moment) - 1
        if around >= 0 and moment < zones[forward[around]].last_call:
            other = zones[forward[around]]
            if zone.first_return < other.last_call:
                return Arranged((), (), other.ends + zone.ends)
            moment = other.last_call
        places.append((2 * moment, b))
    return _in_order(blocks, sorted(places))


def _zone(blocks: Blocks, block: int) -> _Zone | list[int]:
    """The block's zone, or the two operations that contradict each other."""
    call, ret = blocks.call, blocks.ret
    first_return, returned, returned_phase = NEVER, -1, -1
    last_call, called, called_phase = -1, -1, -1
    for phase in range(blocks.begin[block], blocks.begin[block + 1]):
        writer = blocks.writer[phase]
        if writer < 0:
            first_return = -1
        else:
            if ret[writer] < last_call:
                return [called, called_phase, writer, phase]
            if ret[writer] < first_return:
                first_return, returned, returned_phase = ret[writer], writer, phase
            if call[writer] > last_call:
                last_call, called, called_phase = call[writer], writer, phase
        before, before_entry, before_phase = last_call, called, called_phase
        for place in range(blocks.read_begin[phase], blocks.read_begin[phase + 1]):
            read = blocks.read[place]
            if ret[read] < before:
                return [before_entry, before_phase, read, phase]
            if ret[read] < first_return:
                first_return, returned, returned_phase = ret[read], read, phase
            if call[read] > last_call:
                last_call, called, called_phase = call[read], read, phase
    return _Zone(first_return, returned, returned_phase, last_call, called, called_phase)


def _in_order(blocks: Blocks, places: list[tuple[int, int]]) -> Arranged:
    """The blocks' operations one block after another. places: twice the moment, and one more for a forward block."""
    order, moments = array("i"), array("i")
    latest = -1
    for place, block in places:
        latest = max(latest, place // 2)
        for phase in range(blocks.begin[block], blocks.begin[block + 1]):
            reads = blocks.read[blocks.read_begin[phase] : blocks.read_begin[phase + 1]]
            for entry in (blocks.writer[phase], *reads):
                if entry >= 0:
                    latest = max(latest, blocks.call[entry])
                    order.append(entry)
                    moments.append(latest)
    return Arranged(order, moments, ())
