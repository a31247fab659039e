"""Registers in which every value that somebody observed was written once: register, cas-register, and kv without appends.

Conditions. Each value that a read, a cas or a refused cas names has one writer at most (a write, a put, a delete, the new
value of a cas; completed or crashed), the initial value none. Values are the same when they are equal in Python, as for
the models: 1, 1.0 and True are one value. A NaN is equal to nothing, so it is left to the search.

What is decided:

- A crashed write or cas took effect when its value was observed by a completed operation, or by a crashed cas that took
  effect (transitively). Others are left out: without them a linearization stays legal, since nothing sees their phase.
- A cas is a read of the old value and the writer of the new one; it ends the old value's phase. So two cas from one value
  contradict each other, so do cas in a cycle, and cas from one value to the next make a block (blocks.py).
- Reads of an unknown value and refused reads and writes fit anywhere.
- A refused cas says that the value was another one than `old`. It is placed in the order that was found. If `old` is there
  during its whole interval and some completed operations prove that this is so in every order, it is a contradiction.
  Otherwise another order could explain it, perhaps by a crashed write that nobody saw: the search decides.

Cores hold, with each operation, the writers of its block before it: without those it would prove nothing. What is left
out is whole blocks, ends of blocks, and reads: a legal sequence stays legal without them, because the phase before
continues in their place.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors.blocks import NEVER, Arrange, Arranged, Blocks, arrange
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.models.model import Model
from checkers.models.register import KeyValue

_READS = frozenset(("read", "get"))
_WRITES = frozenset(("write", "put", "delete"))
_INITIAL = 0
"""The number of the initial value."""

_FEW = 4
"""Entries for each different operation, at least, where a history is looked at for values that repeat."""

_NOBODY = -1
"""No entry; no phase."""


class NotDistinct(Exception):
    """A condition of the monitor fails; the message says which."""


class Contradiction(Exception):
    """The entries are not linearizable; `core` proves it."""

    def __init__(self, core: Iterable[int]) -> None:
        super().__init__("not linearizable")
        self.core = core


def decide(entries: Entries, model: Model, arranging: Arrange = arrange) -> Decision:
    """The monitor; `arranging` is blocks.arrange or its native twin."""
    if is_plainly_repeating(entries):
        return undecided("values are written more than once")
    try:
        return valid(_Register(entries, model).order(arranging))
    except Contradiction as found:
        return invalid(list(found.core))
    except NotDistinct as failed:
        return undecided(str(failed))


def is_plainly_repeating(entries: Entries) -> bool:
    """Whether few operations occur again and again, and one of them writes a value that another names.

    A quick look, so that such a history costs the search nothing. False when it has many different operations.
    """
    numbers, counts = np.unique(np.frombuffer(entries.op, dtype=np.int32), return_counts=True)
    if len(numbers) * _FEW > len(entries):
        return False
    written: set[Any] = set()
    named: set[Any] = set()
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        operation = entries.operations[number]
        is_done = not operation.is_refused
        if operation.f in _WRITES and is_done and count > 1:
            written.add(None if operation.f == "delete" else operation.argument)
        elif operation.f in _READS and is_done and operation.is_known:
            named.add(operation.result)
        elif operation.f == "cas":
            named.add(operation.argument[0])
    return not written.isdisjoint(named)


class _Register:
    """One key's operations by what they write and see.

    writer: value -> the entry that writes it. old, new: of the entries that are cas, the values. demand: the entry because
    of which a crashed writer took effect. reads, refused: (entry, value). free: entries that fit anywhere.
    """

    def __init__(self, entries: Entries, model: Model) -> None:
        self.entries = entries
        self.end = entries.end
        self.ret = array("i", [NEVER if end < 0 else end for end in entries.end])
        self.values: dict[Any, int] = {model.initial(): _INITIAL}
        self.writer = [_NOBODY]
        self.writer_count = [0]
        self.is_named = [False]
        self.old: dict[int, int] = {}
        self.new: dict[int, int] = {}
        self.writes: list[int] = []
        self.reads: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self.free: list[int] = []
        self.demand: dict[int, int] = {}
        self._is_kv = isinstance(model, KeyValue)
        self._sort_out()

    def order(self, arranging: Arrange) -> Sequence[int]:
        """A linearization. Raises Contradiction or NotDistinct."""
        self._let_crashed_take_effect()
        blocks = self._blocks()
        arranged = arranging(blocks)
        if arranged.conflict:
            raise Contradiction(self._core(arranged.conflict))
        if not self.free and not self.refused:
            return arranged.order
        return self._with_free(arranged)

    def _number(self, value: Any) -> int:
        number = self.values.setdefault(value, len(self.writer))
        if number == len(self.writer):
            if value != value:  # A NaN is equal to nothing.
                raise NotDistinct("a value is not equal to itself")
            self.writer.append(_NOBODY)
            self.writer_count.append(0)
            self.is_named.append(False)
        return number

    def _sort_out(self) -> None:
        operations, end, number, has_empty = self.entries.operations, self.end, self._number, False
        for entry, which in enumerate(self.entries.op):
            operation = operations[which]
            f = operation.f
            is_crashed = end[entry] < 0
            if f in _READS:
                if is_crashed:
                    continue
                if operation.is_refused or not operation.is_known:
                    self.free.append(entry)
                    continue
                seen = operation.result
                if self._is_kv and seen == "":
                    has_empty, seen = True, None
                self.reads.append((entry, number(seen)))
            elif f in _WRITES:
                if operation.is_refused:
                    self.free.append(entry)
                    continue
                self._write(entry, number(None if f == "delete" else operation.argument))
                if not is_crashed:
                    self.writes.append(entry)
            elif f == "cas":
                self._cas(entry, operation.argument, is_crashed, operation.is_refused)
            else:
                raise NotDistinct(f"there is a {f}")
        self._require_distinct(has_empty)

    def _write(self, entry: int, value: int) -> None:
        self.writer[value] = entry
        self.writer_count[value] += 1
        self.new[entry] = value

    def _cas(self, entry: int, argument: tuple[Any, Any], is_crashed: bool, is_refused: bool) -> None:
        old, new = self._number(argument[0]), self._number(argument[1])
        if is_refused:
            self.refused.append((entry, old))
        elif old != new:
            self.old[entry] = old
            self._write(entry, new)
        elif not is_crashed:
            self.reads.append((entry, old))

    def _require_distinct(self, has_empty: bool) -> None:
        if has_empty and "" in self.values:
            raise NotDistinct("the empty string is read and written: it may mean an absent key")
        for _, value in (*self.reads, *self.refused, *self.old.items()):
            self.is_named[value] = True
        for value, count in enumerate(self.writer_count):
            if self.is_named[value] and count + (value == _INITIAL) > 1:
                text = next(repr(known)[:100] for known, which in self.values.items() if which == value)
                raise NotDistinct(f"{text} is written more than once")

    def _let_crashed_take_effect(self) -> None:
        todo = [*self.reads, *((entry, old) for entry, old in self.old.items() if self.end[entry] >= 0)]
        while todo:
            by, value = todo.pop()
            if value == _INITIAL:
                continue
            writer = self.writer[value]
            if writer == _NOBODY:
                raise Contradiction(self._demanding(by))
            if self.end[writer] < 0 and writer not in self.demand:
                self.demand[writer] = by
                if writer in self.old:
                    todo.append((writer, self.old[writer]))

    def _takes_effect(self, entry: int) -> bool:
        return self.end[entry] >= 0 or entry in self.demand

    def _demanding(self, entry: int) -> list[int]:
        """The entry, and while it is a crashed one, why it took effect."""
        chain = [entry]
        while chain[-1] in self.demand:
            chain.append(self.demand[chain[-1]])
        return chain

    def _blocks(self) -> Blocks:
        next_cas: dict[int, int] = {}
        for entry, old in self.old.items():
            if self._takes_effect(entry):
                other = next_cas.setdefault(old, entry)
                if other != entry:
                    both = [*self._demanding(other), *self._demanding(entry)]
                    raise Contradiction(both + self._history_of(old))
        roots = [entry for entry in self.new if entry not in self.old and self._takes_effect(entry)]
        self.phases: list[tuple[int, int]] = []  # Writer and value.
        self.begin = array("i", [0])
        for root, value in ((_NOBODY, _INITIAL), *((root, self.new[root]) for root in roots)):
            self.phases.append((root, value))
            # A value that nobody names is no link, and may be written twice.
            follower = next_cas.get(value, _NOBODY)
            while follower != _NOBODY:
                self.phases.append((follower, self.new[follower]))
                follower = next_cas.get(self.new[follower], _NOBODY)
            self.begin.append(len(self.phases))
        if len(self.phases) - len(self.begin) + 1 < len(next_cas):
            raise Contradiction(self._cycle(next_cas.values()))
        self.phase_of = {value: phase for phase, (_, value) in enumerate(self.phases) if self.is_named[value]}
        seen: list[list[int]] = [[] for _ in self.phases]
        for entry, value in self.reads:
            seen[self.phase_of[value]].append(entry)
        read, read_begin = array("i"), array("i", [0])
        for entries in seen:
            read.extend(entries)
            read_begin.append(len(read))
        writer = array("i", [entry for entry, _ in self.phases])
        return Blocks(self.entries.call, self.ret, writer, self.begin, read, read_begin)

    def _history_of(self, value: int) -> list[int]:
        """The writers from the beginning of the block to the value, and why the crashed ones of them took effect."""
        found: list[int] = []
        while value != _INITIAL and (writer := self.writer[value]) not in found:
            found += self._demanding(writer)
            if writer not in self.old:
                break
            value = self.old[writer]
        return found

    def _cycle(self, cas: Iterable[int]) -> list[int]:
        reached = {writer for writer, _ in self.phases}
        entry = next(entry for entry in cas if entry not in reached)
        return self._demanding(entry) + self._history_of(self.new[entry])

    def _core(self, conflict: Sequence[int]) -> list[int]:
        found: list[int] = []
        for entry, phase in zip(conflict[::2], conflict[1::2], strict=True):
            found += self._demanding(entry)
            found += self._before(phase)
        return found

    def _before(self, phase: int) -> list[int]:
        """The writers of the phase's block up to it, and why the crashed ones of them took effect."""
        block = bisect_right(self.begin, phase) - 1
        found: list[int] = []
        for writer, _ in self.phases[self.begin[block] : phase + 1]:
            if writer != _NOBODY:
                found += self._demanding(writer)
        return found

    def _with_free(self, arranged: Arranged) -> list[int]:
        """The order with the operations that fit anywhere and the refused cas at places that suit them.

        An entry may stand at any place before which nothing has a moment after its ret, and after which nothing has a
        moment before its call.
        """
        call, ret, moment = self.entries.call, self.ret, arranged.moment
        phases = self._phases_in(arranged.order) if self.refused else {}
        placed: list[tuple[int, int, int]] = []
        for entry in self.free:
            placed.append((bisect_left(moment, call[entry]), call[entry], entry))
        for entry, old in self.refused:
            place = bisect_left(moment, call[entry])
            begin, end = phases.get(old, (1, 0))
            if begin <= place <= end:
                place = end + 1
                if place > bisect_right(moment, ret[entry]) or place > len(moment):
                    raise self._unexplained(entry, old)
            placed.append((place, call[entry], entry))
        order: list[int] = []
        done = 0
        for place, _, entry in sorted(placed):
            order += arranged.order[done:place]
            order.append(entry)
            done = place
        return [*order, *arranged.order[done:]]

    def _phases_in(self, order: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Value -> the first and the last place before which it is the register's."""
        found: dict[int, tuple[int, int]] = {}
        value, since = _INITIAL, 0
        for place, entry in enumerate(order):
            if entry in self.new:
                found[value] = (since, place)
                value, since = self.new[entry], place + 1
        found[value] = (since, len(order))
        return found

    def _unexplained(self, refused: int, old: int) -> Exception:
        """A contradiction where it is certain that the value was `old` all the time, else what the search must decide."""
        phase = self.phase_of[old]
        around = [entry for entry, value in self.reads if value == old]
        around += [writer for writer, _ in self.phases[phase : phase + 1] if writer != _NOBODY]
        if phase + 1 not in self.begin:
            around.append(self.phases[phase + 1][0])
        first = min(around, key=self.ret.__getitem__, default=_NOBODY)
        last = max(around, key=self.entries.call.__getitem__, default=_NOBODY)
        has_begun = phase == 0 or (first != _NOBODY and self.ret[first] < self.entries.call[refused])
        if has_begun and last != _NOBODY and self.ret[refused] < self.entries.call[last]:
            core = [refused, *self._demanding(last), *self._before(phase)]
            return Contradiction(core if phase == 0 else core + self._demanding(first))
        return NotDistinct("a refused cas may need another order, or a crashed write that nobody saw")
