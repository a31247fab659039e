"""Ops from text that holds them as EDN maps: each map as it stands there, no two of them compared yet.

The shapes of the maps seen so far become one regular expression (histories.jepsen_shapes) that takes blocks of the text
apart; what the maps hold is read a column at a time (histories.jepsen_values). Whatever fits no shape, and whatever is
wrong, goes through the EDN reader one map at a time (histories.jepsen_ops): it knows every notation and says what is
wrong. Both give the same op.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import accumulate, islice, repeat
from operator import lt
from typing import Any

from msgspec.structs import force_setattr

from histories import edn
from histories.edn import EdnError, Keyword, Tagged
from histories.jepsen_ops import UNKNOWN, NotAnOp, f_of, op_of, process_of, type_of, word_of
from histories.jepsen_shapes import BLANKS, Pattern, Row, Shape, with_shape
from histories.jepsen_values import Texts, Values
from histories.op import Op
from histories.wellformed import Problem

_BLANK = re.compile(r"(?:[\s,]|;[^\n]*+)*+")
_SHAPES_MAX = 32
_ORDERS_MAX = 8
_BLOCK_CHARS_MIN = 1 << 10
_BLOCK_CHARS_MAX = 1 << 16
"""A block of this size costs much more to read than to begin, and its rows are small beside the ops."""


def read_maps(text: str) -> tuple[list[Op | Problem], Sequence[int], bool]:
    """The op of each map, or what is wrong with it; the line of each; and whether the text was cut inside its last one.

    The maps stand one after another, or in one vector or list. Reading ends at the first text that is not EDN. Indices
    count what is returned; a time is UNKNOWN where the map has none.
    """
    reader = _Reader(text)
    try:
        reader.read()
    except EdnError as error:
        is_cut = error.is_end and reader.items and "\n" not in text[error.start :].rstrip("\n")
        if not is_cut:
            reader.add(Problem(len(reader.items), "syntax", error.detail, None), error.offset)
        reader.is_cut = bool(is_cut)
    return reader.items, reader.lines, reader.is_cut


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.items: list[Op | Problem] = []
        self.lines = array("Q")
        self.is_cut = False
        self._line = 1
        self._counted = 0
        self._last_index = UNKNOWN
        self._shapes: set[Row] = set()
        self._pattern: Pattern | None = None
        self._block_chars = _BLOCK_CHARS_MAX
        self._types = Texts(lambda text: type_of(edn.loads(text)))
        self._processes = Texts(lambda text: process_of(edn.loads(text)))
        self._fs = Texts(lambda text: f_of(edn.loads(text)))
        self._nodes = Texts(lambda text: word_of(edn.loads(text)))
        self._values = Values()
        self._nodes[""] = None  # The field is not there.

    def read(self) -> None:
        text = self.text
        position = _end_of_blank(text, 0)
        closes = {"[": "]", "(": ")"}.get(text[position : position + 1], "")
        position += len(closes)
        while True:
            position = _end_of_blank(text, self._read_rows(position))
            if position == len(text):
                # A vector that nothing closes lacks its last lines.
                self.is_cut = bool(closes)
                return
            try:
                start, position, form = next(edn.forms(text, position))
            except StopIteration:
                self.is_cut = bool(closes)
                return
            except EdnError as error:
                if error.is_close and closes and text[error.offset] == closes:
                    rest = _end_of_blank(text, error.offset + 1)
                    if rest != len(text):
                        raise EdnError("something follows the end of the history", rest, rest) from None
                    return
                raise
            self._add_form(form, start)

    def add(self, item: Op | Problem, offset: int) -> None:
        """The item stands at the offset in the text."""
        self._line += self.text.count("\n", self._counted, offset)
        self._counted = offset
        if isinstance(item, Op):
            force_setattr(item, "index", len(self.items))
        else:
            item = Problem(len(self.items), item.rule, item.detail, self._line)
        self.items.append(item)
        self.lines.append(self._line)

    def _add_form(self, form: Any, offset: int) -> None:
        if isinstance(form, Tagged):
            form = form.value
        try:
            index, op = op_of(form)
        except NotAnOp as error:
            self.add(Problem(0, error.rule, error.detail), offset)
            return
        if index != UNKNOWN:
            if index <= self._last_index:
                self.add(Problem(0, "index", f":index {index} after {self._last_index}"), offset)
            self._last_index = max(index, self._last_index)
        self.add(op, offset)
        names = tuple(key.name for key in form if isinstance(key, Keyword))
        if len(names) == len(form) and names not in self._shapes and len(self._shapes) < _SHAPES_MAX:
            self._shapes.add(names)
            known = self._pattern.shapes if self._pattern else []
            shapes = with_shape(known, Shape(names, frozenset(names)))
            if shapes != known and len(shapes) <= _ORDERS_MAX:
                self._pattern = Pattern(shapes)

    def _read_rows(self, start: int) -> int:
        """The maps from `start` on are read, up to the first one that needs the EDN reader; where that is."""
        text, pattern = self.text, self._pattern
        if pattern is None:
            return start
        while start < len(text):
            stop = min(start + self._block_chars, len(text))
            rows = pattern.rows(text, start, stop)
            end = stop - len(rows[-1][-1])
            if rows[-1][-1]:
                rows.pop()
            self._block_chars = min(2 * self._block_chars, _BLOCK_CHARS_MAX)
            if not rows:
                break
            try:
                self._add_rows(rows, start, end)
            except (EdnError, NotAnOp):
                # One of them is wrong. Small blocks until it is past, for it may be one of many.
                self._block_chars = _BLOCK_CHARS_MIN
                ends = [start, *(found.end() for found in pattern.compiled.finditer(text, start, end))]
                return ends[self._add_good_rows(rows, ends)]
            start = end
        return start

    def _add_good_rows(self, rows: list[Row], ends: list[int]) -> int:
        """The rows before the first wrong one are added; how many they are. The nth ends at `ends[n]`."""
        try:
            self._add_rows(rows, ends[0], ends[len(rows)])
        except (EdnError, NotAnOp):
            if len(rows) == 1:
                return 0
            half = len(rows) // 2
            count = self._add_good_rows(rows[:half], ends)
            return count if count < half else half + self._add_good_rows(rows[half:], ends[half:])
        return len(rows)

    def _add_rows(self, rows: list[Row], start: int, end: int) -> None:
        """The maps that the text has from start to end are added, all or none.

        **Raises** EdnError or NotAnOp when one of them needs the EDN reader.
        """
        assert self._pattern is not None
        columns = self._pattern.columns(rows)
        last_index = _last_rising(columns.pop("index", ()), self._last_index)
        times = columns.pop("time", None)
        fields = (
            repeat(UNKNOWN) if times is None else _times(times),
            self._types.read(columns.pop("type")),
            self._processes.read(columns.pop("process")),
            self._fs.read(columns.pop("f")),
            *(
                texts.read(columns.pop(name)) if name in columns else repeat(None)
                for name, texts in (
                    ("key", self._values),
                    ("value", self._values),
                    ("error", self._values),
                    ("node", self._nodes),
                )
            ),
        )
        blanks = columns.pop(BLANKS)
        for others in columns.values():
            self._values.read(others)  # No field of Op, but if it is not EDN, the map is none.
        self._last_index = last_index
        self._count_lines(blanks, start, end)
        count = len(self.items)
        self.items.extend(map(Op, range(count, count + len(rows)), *fields))

    def _count_lines(self, blanks: Sequence[str], start: int, end: int) -> None:
        """The lines of the maps from start to end, which have these blanks before them."""
        text = self.text
        line = self._line + text.count("\n", self._counted, start)
        self._line = line + text.count("\n", start, end)
        self._counted = end
        newlines_of = {blank: blank.count("\n") for blank in set(blanks)}
        newlines = list(map(newlines_of.__getitem__, blanks))
        if line + sum(newlines) == self._line:
            self.lines.extend(islice(accumulate(newlines, initial=line), 1, None))
            return
        assert self._pattern is not None  # And there are line ends inside the maps.
        counted = start
        for found in self._pattern.compiled.finditer(text, start, end):
            line += text.count("\n", counted, found.end(1))
            counted = found.end(1)
            self.lines.append(line)


def _last_rising(indices: Sequence[str], last: int) -> int:
    """The last of the indices, which rise from `last` on. **Raises** NotAnOp when they do not."""
    numbers = [last, *map(int, filter(None, indices))]
    if not all(map(lt, numbers, islice(numbers, 1, None))):
        raise NotAnOp("index", "they do not rise")
    return numbers[-1]


def _times(texts: Sequence[str]) -> list[int]:
    return [int(text) if text else UNKNOWN for text in texts] if "" in texts else list(map(int, texts))


def _end_of_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None, "the pattern matches nothing as well"
    return found.end()
