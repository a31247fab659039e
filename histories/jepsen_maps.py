"""Ops from text that holds them as EDN maps: each map as it stands there, no two of them compared yet.

A file repeats the shape of its maps a million times, so the shapes seen become one regular expression that takes
hundreds of maps apart in one call. What they hold is then read a column at a time, each text once, however often it
occurs. Whatever fits no shape, and whatever is wrong, goes through the EDN reader one map at a time: it knows every
notation and says what is wrong. Both give the same op.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, islice, repeat
from operator import add, lt
from typing import Any, Generic, TypeVar, get_args

import msgspec
from msgspec.structs import force_setattr

from histories import edn
from histories.edn import Char, EdnError, Keyword, Symbol, Tagged
from histories.op import NEMESIS, Op, OpType, Process
from histories.wellformed import Problem

UNKNOWN = -1
"""The time of an op that says none."""

_BLANK = re.compile(r"(?:[\s,]|;[^\n]*)*")
_SHAPES_MAX = 32
_ORDERS_MAX = 8
_TEXTS_MAX = 100_000
_BLOCK_CHARS_MIN = 1 << 10
_BLOCK_CHARS_MAX = 1 << 16
"""A block of this size costs much more to read than to begin, and its rows are small beside the ops."""

# Values of the usual kinds: words, numbers, strings, and vectors of them three deep, which is what transactions need
# ([[:r 1 [2 3]] [:append 1 4]]). No braces, so a map never seems to go on in the next one; no comments, so each text
# read alone means what it means in its place. Possessive, so never slow.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ATOM = r"""[^\s,()\[\]{}"\\;\#@^`~]++"""
_FLAT = rf"""(?:[^\[\]{{}}()"\\;\#]++|{_STRING})"""
_PAIRS = rf"""(?:{_FLAT}|\[{_FLAT}*+\])"""
_ANY_VALUE = rf"""{_ATOM}|{_STRING}|\[(?:{_FLAT}|\[{_PAIRS}*+\])*+\]"""
_COUNT = "0|[1-9][0-9]{0,17}+"
_VALUE_OF = {"index": _COUNT, "time": _COUNT, "type": _ATOM, "process": _ATOM, "f": f"{_ATOM}|{_STRING}"}
_FIELDS = ("index", "time", "type", "process", "f", "key", "value", "error", "node")
_TYPES: dict[str, OpType] = {type: type for type in get_args(OpType)}

_Row = tuple[str, ...]
_T = TypeVar("_T")


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
        self._shapes: set[_Row] = set()
        self._pattern: _Pattern | None = None
        self._block_chars = _BLOCK_CHARS_MAX
        self._types = _Texts(lambda text: _type(edn.loads(text)))
        self._processes = _Texts(lambda text: _process(edn.loads(text)))
        self._fs = _Texts(lambda text: _f(edn.loads(text)))
        self._nodes = _Texts(lambda text: _word(edn.loads(text)))
        self._values = _Values()
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
            index, op = _op(form)
        except _NotAnOp as error:
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
            shapes = _with(known, _Shape(names, frozenset(names)))
            if shapes != known and len(shapes) <= _ORDERS_MAX:
                self._pattern = _Pattern(shapes)

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
            except (EdnError, _NotAnOp):
                # One of them is wrong. Small blocks until it is past, for it may be one of many.
                self._block_chars = _BLOCK_CHARS_MIN
                ends = [start, *(found.end() for found in pattern.compiled.finditer(text, start, end))]
                return ends[self._add_good_rows(rows, ends)]
            start = end
        return start

    def _add_good_rows(self, rows: list[_Row], ends: list[int]) -> int:
        """The rows before the first wrong one are added; how many they are. The nth ends at `ends[n]`."""
        try:
            self._add_rows(rows, ends[0], ends[len(rows)])
        except (EdnError, _NotAnOp):
            if len(rows) == 1:
                return 0
            half = len(rows) // 2
            count = self._add_good_rows(rows[:half], ends)
            return count if count < half else half + self._add_good_rows(rows[half:], ends[half:])
        return len(rows)

    def _add_rows(self, rows: list[_Row], start: int, end: int) -> None:
        """The maps that the text has from start to end are added, all or none.

        **Raises** EdnError or _NotAnOp when one of them needs the EDN reader.
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
        blanks = columns.pop(_BLANKS)
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


class _Texts(dict[str, _T], Generic[_T]):
    """Text -> what it says, read when it is first asked for, and then shared."""

    def __init__(self, read: Callable[[str], _T]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> _T:
        value = self._read(text)
        if len(self) < _TEXTS_MAX:
            self[text] = value
        return value

    def read(self, texts: Sequence[str]) -> list[_T]:
        """**Raises** what reading raises."""
        return list(map(self.__getitem__, texts))


def _last_rising(indices: Sequence[str], last: int) -> int:
    """The last of the indices, which rise from `last` on. **Raises** _NotAnOp when they do not."""
    numbers = [last, *map(int, filter(None, indices))]
    if not all(map(lt, numbers, islice(numbers, 1, None))):
        raise _NotAnOp("index", "they do not rise")
    return numbers[-1]


def _times(texts: Sequence[str]) -> list[int]:
    return [int(text) if text else UNKNOWN for text in texts] if "" in texts else list(map(int, texts))


def _end_of_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None, "the pattern matches nothing as well"
    return found.end()


class _Shape(msgspec.Struct, frozen=True):
    """Maps with these keys in this order, of which the required ones are always there."""

    names: _Row
    required: frozenset[str]

    def merged(self, other: _Shape) -> _Shape | None:
        """The maps of both shapes; None when they order keys differently."""
        common = [name for name in other.names if name in self.names]
        if common != [name for name in self.names if name in other.names]:
            return None
        names: list[str] = []
        rest = list(self.names)
        for name in other.names:
            if name in self.names:
                end = rest.index(name) + 1
                names += rest[:end]
                del rest[:end]
            else:
                names.append(name)
        return _Shape((*names, *rest), self.required & other.required)

    def expression(self, blank: str, comma: str) -> str:
        """Of what is between the braces; a group for each name. blank: behind a key; comma: behind a value."""
        pairs: list[str] = []
        behind = rf"(?:{comma}|(?=\}}))"
        for name in reversed(self.names):
            pair = rf":{re.escape(name)}{blank}({_VALUE_OF.get(name, _ANY_VALUE)}){behind}"
            pairs.append(pair if name in self.required else f"(?:{pair})?")
            if name in self.required:
                behind = comma  # Before a key that is always there no map ends.
        return "".join(reversed(pairs))


def _with(shapes: Sequence[_Shape], other: _Shape) -> list[_Shape]:
    """As few shapes as can be for the maps of all of these."""
    for position, shape in enumerate(shapes):
        if merged := shape.merged(other):
            return [*shapes[:position], merged, *shapes[position + 1 :]]
    return [*shapes, other]


_BLANKS = " "
"""The column of what stands before the maps: no keyword has this name."""


class _Pattern:
    """Maps of any of these shapes. At least one."""

    def __init__(self, shapes: list[_Shape]) -> None:
        self.shapes = shapes
        self.compiled = self._compiled(r"[\s,]++", r"[\s,]++")
        self._as_printed = self._compiled(" ", ", ")  # As Clojure prints, and a third faster.
        self._groups: dict[str, list[int]] = {_BLANKS: [0]}
        for group, name in enumerate((name for shape in self.shapes for name in shape.names), 1):
            self._groups.setdefault(name, []).append(group)

    def _compiled(self, blank: str, comma: str) -> re.Pattern[str]:
        insides = "|".join(shape.expression(blank, comma) for shape in self.shapes)
        # What fits no shape is taken as a whole, up to the end: so nothing between two maps is ever passed over.
        return re.compile(rf"([\s,]*+)(?:\#[A-Za-z][\w.]*+\s*+)?\{{[\s,]*+(?:{insides})\}}|(.+)", re.DOTALL)

    def rows(self, text: str, start: int, stop: int) -> list[_Row]:
        """The groups of maps from start on; the last row's last one is the rest, from the first other text on."""
        rows: list[_Row] = self._as_printed.findall(text, start, stop)
        return rows if len(rows[0][-1]) < stop - start else self.compiled.findall(text, start, stop)

    def columns(self, rows: list[_Row]) -> dict[str, Sequence[str]]:
        """Name -> its text in each row, "" where it has none."""
        columns = list(zip(*rows, strict=True))
        found: dict[str, Sequence[str]] = {}
        for name, groups in self._groups.items():
            texts: Sequence[str] = columns[groups[0]]
            for group in groups[1:]:
                texts = list(map(add, texts, columns[group]))  # A row has but one shape: the others' texts are "".
            found[name] = texts
        return found


class _Values(_Texts[Any]):
    """The values that texts of _ANY_VALUE say."""

    def __init__(self) -> None:
        super().__init__(_value)
        self[""] = None  # The field is not there.

    def read(self, texts: Sequence[str]) -> list[Any]:
        unknown = [text for text in set(texts) if text not in self]
        if len(unknown) < _FEW:
            return super().read(texts)
        if len(self) + len(unknown) > _TEXTS_MAX:
            self.clear()
            self[""] = None
        self.update(zip(unknown, _many(unknown), strict=True))
        return super().read(texts)


_FEW = 8
_KEYWORD = re.compile(r""":[^\s,()\[\]{}"\\;\#@^`~]+""")
_UNLIKE_JSON = ("\0", "\\", "null")
_UNLIKE_JSON_NUMBERS = re.compile(r"[0-9](?:[.eE]|[0-9]{17})")  # Decimals, and what exceeds 64 bits.


def _value(text: str) -> Any:
    return plain(edn.loads(text))


def _many(texts: list[str]) -> list[Any]:
    """The values of many texts, read as JSON where that is sure to mean the same: it is many times as fast."""
    if len(texts) < _FEW:
        return list(map(_value, texts))
    values = _by_json(texts)
    half = len(texts) // 2
    return _many(texts[:half]) + _many(texts[half:]) if values is None else values


def _by_json(texts: list[str]) -> list[Any] | None:
    """The values of the texts, each of which is one _ANY_VALUE; None when the EDN reader should say.

    Without maps EDN and JSON differ in commas, nil and keywords. A JSON decoder forgives nothing, so whatever else they
    differ in (symbols, ratios, two values without a blank between them) is an error there; what it would take for
    something else is excluded first.
    """
    joined = " ".join(texts)
    if any(text in joined for text in _UNLIKE_JSON) or _UNLIKE_JSON_NUMBERS.search(joined):
        return None
    pieces = joined.split('"')  # Every other one is inside a string: those are left alone.
    outside = "\0".join(pieces[::2])
    keywords = sorted(set(_KEYWORD.findall(outside)), key=len, reverse=True)  # A longer one may begin like a shorter.
    if len(keywords) > _SHAPES_MAX or any("nil" in keyword or ":" in keyword[1:] for keyword in keywords):
        return None
    for keyword in keywords:
        outside = outside.replace(keyword, f'"{keyword[1:]}"')
    pieces[::2] = ",".join(outside.replace(",", " ").split()).replace("nil", "null").split("\0")
    try:
        values: list[Any] = msgspec.json.decode("[" + '"'.join(pieces) + "]", type=list[Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return values if len(values) == len(texts) else None


class _NotAnOp(Exception):
    def __init__(self, rule: str, detail: str) -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(rule, detail)


_INDEX, _TIME, _TYPE, _PROCESS, _F, _KEY, _VALUE, _ERROR, _NODE = map(Keyword, _FIELDS)


def _op(form: Any) -> tuple[int, Op]:
    """The index that the form claims, and its op."""
    if not isinstance(form, dict):
        raise _NotAnOp("syntax", f"a map was due, not {edn.dumps(form)[:80]}")
    type, process, f = _type(form.get(_TYPE)), _process(form.get(_PROCESS)), _f(form.get(_F))
    index, time_ns = form.get(_INDEX), form.get(_TIME)
    for name, number in ((":index", index), (":time", time_ns)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise _NotAnOp(name[1:], f"{edn.dumps(number)} is no {name}")
    return UNKNOWN if index is None else index, Op(
        UNKNOWN,
        UNKNOWN if time_ns is None else max(time_ns, 0),
        type,
        process,
        f,
        plain(form.get(_KEY)),
        plain(form.get(_VALUE)),
        plain(form.get(_ERROR)),
        _word(form.get(_NODE)),
    )


def _type(form: Any) -> OpType:
    type = _TYPES.get(_word(form) or "")
    if type is None:
        raise _NotAnOp("type", f"{edn.dumps(form)} is not a type: :invoke, :ok, :fail or :info")
    return type


def _process(form: Any) -> Process:
    if _word(form) == NEMESIS:
        return NEMESIS
    if isinstance(form, bool) or not isinstance(form, int) or form < 0:
        raise _NotAnOp("process", f"{edn.dumps(form)} is not a process: an integer from 0 up, or :{NEMESIS}")
    return form


def _f(form: Any) -> str:
    f = _word(form)
    if f is None:
        raise _NotAnOp("syntax", f"{edn.dumps(form)} is no :f")
    return f


def _word(value: Any) -> str | None:
    match value:
        case Keyword(name) | Symbol(name):
            return name
        case str():
            return value
        case _:
            return None


def plain(value: Any) -> Any:
    """The EDN value as a JSON-like one."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Keyword(text) | Symbol(text) | Char(text):
            return text
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {_plain_key(key): plain(item) for key, item in value.items()}
        case frozenset():
            return [plain(item) for item in sorted(value, key=edn.dumps)]
        case Tagged(_, inner):
            return plain(inner)
        case Decimal() | Fraction():
            return float(value)
        case _:
            raise AssertionError(f"the EDN reader makes no {type(value).__name__}")


def _plain_key(key: Any) -> str:
    text = plain(key)
    return text if isinstance(text, str) else edn.dumps(text)
