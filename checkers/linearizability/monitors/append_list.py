"""Append-only values: list-append, and kv where a key's value is a text that grows by appends and begins anew by puts.

A read shows the whole value, so it tells which operations made it, and in which order: the value that a put wrote (or the
initial one), then a piece for each append. These are the phases of one block (blocks.py), one for each append that some
read shows, and a read sees the phase at whose end it stands. Nothing is copied: what is compared are prefixes.

Conditions: each piece that a read shows was put or appended by one operation at most, completed or crashed, and is not
empty; a text can be taken apart in one way only: at each place one piece fits. kv: no delete and no cas; values are texts.
Otherwise the search decides. Pieces are the same when they are equal in Python, as for the models.

- Two reads of one block of which neither is a prefix of the other contradict each other. So does a read with a piece that
  nobody wrote, or with a piece twice, and two blocks with one append.
- A crashed put or append took effect when a read shows it; others are left out.
- An append that no read shows cannot come before a later read of its block. So it comes between two blocks, or behind the
  last: it is a block of its own, and so is a put that no read shows.
- Reads of an unknown value and refused operations fit anywhere.

Cores hold reads, and the writers of the longest of them in each block. Appends that none of these reads shows can be left
out: in a linearization they come after the longest read that is left in their block. So can whole blocks be.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from checkers.linearizability.encode import Entries
from checkers.linearizability.monitors import register
from checkers.linearizability.monitors.blocks import NEVER, Arrange, Arranged, Blocks, arrange
from checkers.linearizability.monitors.monitor import Decision, invalid, undecided, valid
from checkers.linearizability.monitors.register import Contradiction, NotDistinct
from checkers.models.model import Model

_NOBODY = -1
_SEVERAL = -2
_INITIAL_BLOCK = 0


def decide_list(entries: Entries, model: Model, arranging: Arrange = arrange) -> Decision:
    """The monitor of list-append; `arranging` is blocks.arrange or its native twin."""
    return _decision(lambda: _Log(entries).order(_read_lists, model, arranging))


def decide_kv(entries: Entries, model: Model, arranging: Arrange = arrange) -> Decision:
    """The monitor of kv: this one where something is appended, else the register's."""
    operations = entries.operations
    if any(operations[which].f == "append" for which in entries.op):
        return _decision(lambda: _Log(entries).order(_read_texts, model, arranging))
    return register.decide(entries, model, arranging)


def _decision(order: Callable[[], Sequence[int]]) -> Decision:
    try:
        return valid(order())
    except Contradiction as found:
        return invalid(list(found.core))
    except NotDistinct as failed:
        return undecided(str(failed))


class _Block:
    """Writers in order, and the longest value that was read. writers[0]: of the put, or nobody: the initial value.

    longest: a read that shows all of it; nobody where there was none.
    """

    __slots__ = ("longest", "phase_at", "writers")

    def __init__(self, root: int, longest: int) -> None:
        self.writers = [root]
        self.longest = longest
        self.phase_at: dict[int, int] = {}
        """Length of a read -> its phase in the block."""


class _Log:
    """One key's operations.

    writer: piece -> the entry that appends it; roots: value -> the entry that puts it; several: more than one does. shown:
    (entry, number of its operation) of each completed read of a known value. block_of: a writer that some read shows -> its
    block.
    """

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self.ret = array("i", [NEVER if end < 0 else end for end in entries.end])
        self.writer: dict[Any, int] = {}
        self.roots: dict[Any, int] = {}
        self.shown: list[tuple[int, int]] = []
        self.completed: list[int] = []
        self.free: list[int] = []
        self.blocks = [_Block(_NOBODY, _NOBODY)]
        self.block_of: dict[int, int] = {}
        self.place_of: dict[int, tuple[int, int]] = {}
        """Number of a read's operation -> block and phase in it."""

        self._sort_out()

    def _sort_out(self) -> None:
        operations, end = self.entries.operations, self.entries.end
        for entry, which in enumerate(self.entries.op):
            operation = operations[which]
            is_crashed = end[entry] < 0
            if operation.f in ("append", "put", "write"):
                if operation.is_refused:
                    self.free.append(entry)
                    continue
                self._write(self.writer if operation.f == "append" else self.roots, operation.argument, entry)
                if not is_crashed:
                    self.completed.append(entry)
            elif operation.f in ("read", "get"):
                if is_crashed:
                    continue
                if operation.is_refused or not operation.is_known:
                    self.free.append(entry)
                else:
                    self.shown.append((entry, which))
            else:
                raise NotDistinct(f"there is a {operation.f}")

    def _write(self, writers: dict[Any, int], value: Any, entry: int) -> None:
        if value != value:  # A NaN is equal to nothing.
            raise NotDistinct("a value is not equal to itself")
        if writers.setdefault(value, entry) != entry:
            writers[value] = _SEVERAL

    def order(self, read_values: Callable[[_Log, Model], None], model: Model, arranging: Arrange) -> Sequence[int]:
        """A linearization. read_values: finds the blocks. Raises Contradiction or NotDistinct."""
        read_values(self, model)
        arranged = arranging(self._numbered())
        if arranged.conflict:
            raise Contradiction(self._core(arranged.conflict))
        return self._with_free(arranged) if self.free else arranged.order

    def first_shown(self) -> dict[int, int]:
        """Number of a read's operation -> the first entry with it."""
        found: dict[int, int] = {}
        for entry, which in self.shown:
            found.setdefault(which, entry)
        return found

    def show(self, block: int, writer: int, piece: Any, read: int, rest: Callable[[], list[int]]) -> None:
        """Add the piece's writer to a block whose longest read is `read`. Raises what is wrong with it.

        rest: the writers of the other pieces that the read shows.
        """
        if writer == _SEVERAL:
            raise NotDistinct(f"{repr(piece)[:100]} is appended more than once")
        if writer == _NOBODY:
            raise self.contradict(read, read, block, rest())
        if (other := self.block_of.setdefault(writer, block)) != block or writer in self.blocks[block].phase_at:
            raise self.contradict(read, writer, block, [*self._known(other), *rest()])
        self.blocks[block].phase_at[writer] = 0
        self.blocks[block].writers.append(writer)

    def _known(self, block: int) -> list[int]:
        """A block's longest read and writers."""
        found = self.blocks[block]
        return [entry for entry in (found.longest, *found.writers) if entry >= 0]

    def contradict(self, a: int, b: int, block: int, pieces: Iterable[int]) -> Contradiction:
        """The entries a and b of the block contradict each other; pieces: the writers of what they show."""
        return Contradiction([a, b, *self._known(block), *(writer for writer in pieces if writer >= 0)])

    def _numbered(self) -> Blocks:
        writer, begin = array("i"), array("i", [0])
        for block in self.blocks:
            writer.extend(block.writers)
            begin.append(len(writer))
        seen: list[list[int]] = [[] for _ in writer]
        for entry, which in self.shown:
            block_number, phase = self.place_of[which]
            seen[begin[block_number] + phase].append(entry)
        for entry in self.completed:
            if entry not in self.block_of:
                writer.append(entry)
                begin.append(len(writer))
        read, read_begin = array("i"), array("i", [0])
        for entries in seen:
            read.extend(entries)
            read_begin.append(len(read))
        read_begin.extend([len(read)] * (len(writer) - len(seen)))
        self.numbered = Blocks(self.entries.call, self.ret, writer, begin, read, read_begin)
        return self.numbered

    def _core(self, conflict: Sequence[int]) -> list[int]:
        """The operations of the conflict, for each block a read that shows those of it in order, and its writers."""
        found = list(conflict[::2])
        ends: dict[int, list[tuple[int, bool]]] = {}
        for entry, phase in zip(found, conflict[1::2], strict=True):
            block = bisect_right(self.numbered.begin, phase) - 1
            ends.setdefault(block, []).append((phase, self.numbered.writer[phase] == entry))
        for block, phases in ends.items():
            if len(ends) == 1 and block == _INITIAL_BLOCK and not phases[0][1] and phases[1][1]:
                del phases[1]  # A read does not show what came before it; with no put, no other read need show that.
            found += self._up_to(block, max(phases, key=lambda end: (end[0], not end[1])))
        return found

    def _up_to(self, block: int, last: tuple[int, bool]) -> list[int]:
        """The writers that the first read shows that shows the phase, and that read where the phase is not a read's."""
        phase, needs_read = last
        begin, end = self.numbered.begin[block], self.numbered.begin[block + 1]
        found: list[int] = []
        if needs_read:
            place = self.numbered.read_begin[phase]
            if place < self.numbered.read_begin[end]:
                found.append(self.numbered.read[place])
                phase = bisect_right(self.numbered.read_begin, place) - 1
        return found + [entry for entry in self.numbered.writer[begin : phase + 1] if entry >= 0]

    def _with_free(self, arranged: Arranged) -> list[int]:
        """The order with the operations that fit anywhere: each before the first that has a moment from its call on."""
        order: list[int] = []
        done = 0
        for place, _, entry in sorted(
            (bisect_left(arranged.moment, self.entries.call[entry]), self.entries.call[entry], entry)
            for entry in self.free
        ):
            order += arranged.order[done:place]
            order.append(entry)
            done = place
        return [*order, *arranged.order[done:]]


def _read_lists(log: _Log, model: Model) -> None:
    """One block: the longest list; every other read is a prefix of it."""
    initial = model.initial()
    assert isinstance(initial, tuple)
    skipped = len(initial)
    operations = log.entries.operations
    first = log.first_shown()
    lists = {which: operations[which].result or () for which in first}
    longest = max(lists, key=lambda which: len(lists[which]), default=None)
    if longest is None:
        return
    if not all(isinstance(value, tuple) for value in lists.values()):
        raise NotDistinct("a read returned a set")
    for which, value in lists.items():
        if value[:skipped] != initial:
            raise Contradiction([first[which]])
    whole = lists[longest]
    log.blocks[_INITIAL_BLOCK].longest = first[longest]
    writers = [log.writer.get(piece, _NOBODY) for piece in whole[skipped:]]
    for piece, writer in zip(whole[skipped:], writers, strict=True):
        log.show(_INITIAL_BLOCK, writer, piece, first[longest], lambda: writers)
    for which, value in lists.items():
        if whole[: len(value)] != value:
            if any(log.writer.get(piece) == _SEVERAL for piece in value):
                raise NotDistinct("a value that was read is appended more than once")
            raise log.contradict(
                first[which], first[longest], _INITIAL_BLOCK, (log.writer.get(piece, _NOBODY) for piece in value)
            )
        log.place_of[which] = (_INITIAL_BLOCK, len(value) - skipped)


def _read_texts(log: _Log, model: Model) -> None:
    """Blocks by the put at their beginning; in sorted order a text's extensions come behind it."""
    initial = model.initial()
    if initial is not None and not (isinstance(initial, str) and initial):
        raise NotDistinct("the key holds no text at first, or an empty one")
    for value in (*log.writer, *log.roots):
        if not isinstance(value, str) or not value:
            raise NotDistinct("a value is no text, or an empty one")
    operations = log.entries.operations
    first = log.first_shown()
    texts = sorted((operations[which].result or "", which) for which in first if _is_text(operations[which].result))
    if len(texts) < len(first):
        raise NotDistinct("a read returned something that is no text")
    maker = _Texts(log, initial)
    for place, (text, which) in enumerate(texts):
        if not text and initial is not None:
            raise Contradiction([first[which]])
        if not text:
            log.place_of[which] = (_INITIAL_BLOCK, 0)
        elif place + 1 == len(texts) or not texts[place + 1][0].startswith(text):
            maker.take_apart(text, first[which])
    whole = ""
    for text, which in reversed(texts):
        if not text:
            continue
        if not whole.startswith(text):
            whole = text
        block = maker.block_with[whole]
        phase = log.blocks[block].phase_at.get(~len(text))
        if phase is None:
            raise log.contradict(first[which], log.blocks[block].longest, block, ())
        log.place_of[which] = (block, phase)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


class _Texts:
    """Takes texts apart. block_with: the longest texts -> their block. Lengths of a text's beginning are kept in a block's
    phase_at as ~length, so that they differ from entries.
    """

    def __init__(self, log: _Log, initial: str | None) -> None:
        """initial: the text that the key holds at first; None: it is absent, and an append makes it exist."""
        self.log = log
        self.initial = initial
        self.block_with: dict[str, int] = {}
        self._block_of_root: dict[int, int] = {}
        self._root_lengths = sorted(set(map(len, log.roots)))
        self._lengths = sorted(set(map(len, log.writer)))

    def take_apart(self, text: str, read: int) -> None:
        """The text's block and phases. Raises NotDistinct or Contradiction."""
        log = self.log
        starts = [(log.roots[text[:n]], n) for n in self._root_lengths if n <= len(text) and text[:n] in log.roots]
        if self.initial is None:
            starts += [(_NOBODY, 0) for _ in self._fitting(text, 0)]
        elif text.startswith(self.initial):
            starts.append((_NOBODY, len(self.initial)))
        if not starts:
            raise Contradiction([read])
        if len(starts) > 1:
            raise NotDistinct("a text can begin in two ways")
        root, at = starts[0]
        if root == _SEVERAL:
            raise NotDistinct("a text that was read is put more than once")
        if root in self._block_of_root:
            block = self._block_of_root[root]
            raise log.contradict(read, log.blocks[block].longest, block, self._writers(text, at))
        if root == _NOBODY:
            block = _INITIAL_BLOCK
            log.blocks[block].longest = read
        else:
            block = len(log.blocks)
            log.blocks.append(_Block(root, read))
            log.block_of[root] = block
        self._block_of_root[root] = block
        log.blocks[block].phase_at[~at] = 0
        self.block_with[text] = block
        while at < len(text):
            pieces = self._fitting(text, at)
            if len(pieces) > 1:
                raise NotDistinct("a text can be taken apart in two ways")
            piece = pieces[0] if pieces else ""
            log.show(block, log.writer.get(piece, _NOBODY), piece, read, partial(self._writers, text, at))
            at += len(piece)
            log.blocks[block].phase_at[~at] = len(log.blocks[block].writers) - 1

    def _fitting(self, text: str, at: int) -> list[str]:
        found = (text[at : at + length] for length in self._lengths)
        return list(dict.fromkeys(piece for piece in found if piece in self.log.writer))

    def _writers(self, text: str, at: int) -> list[int]:
        """The writers of the text's pieces; up to where none fits. Raises NotDistinct where it is not certain."""
        found = []
        while at < len(text) and (pieces := self._fitting(text, at)):
            if len(pieces) > 1 or self.log.writer[pieces[0]] == _SEVERAL:
                raise NotDistinct("a text can be taken apart in two ways")
            found.append(self.log.writer[pieces[0]])
            at += len(pieces[0])
        return found
