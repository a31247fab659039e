"""Ops from text that holds them as EDN maps: each map as it stands there, no two of them compared yet.

A file repeats the shape of its maps a million times, so each shape seen becomes one regular expression that reads the
next such map at once; whatever fits none of them goes through the EDN reader, which knows every notation. Both give the
same op.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

from histories import edn
from histories.edn import Char, EdnError, Keyword, Symbol, Tagged
from histories.op import NEMESIS, Op, OpType
from histories.wellformed import Problem

UNKNOWN = -1
"""The index of every op read here, and the time of one that says none."""

_BLANK = re.compile(r"(?:[\s,]|;[^\n]*)*")
_SHAPES_MAX = 32
_VALUES_MAX = 100_000

# Values of the usual kinds: nil, numbers, keywords, strings, and vectors of them three deep, which is what transactions
# need ([[:r 1 [2 3]] [:append 1 4]]). Possessive, so never slow.
_FLAT = r"""(?:[^\[\]{}()"\\;\#]++|"[^"\\]*+")"""
_PAIRS = rf"""(?:{_FLAT}|\[{_FLAT}*+\])"""
_ANY_VALUE = rf"""(nil|-?[0-9]+|:[^\s,()\[\]{{}}"\\;\#@^`~]+|"[^"\\]*"|\[(?:{_FLAT}|\[{_PAIRS}*+\])*+\])"""
_COUNT = "(?:0|[1-9][0-9]*)"
_VALUE_OF = {
    "index": f"({_COUNT})",
    "time": f"({_COUNT})",
    "type": ":(invoke|ok|fail|info)",
    "process": f"({_COUNT}|:{NEMESIS})",
    "f": r""":([^\s,()\[\]{}"\\;\#@^`~]+)""",
}
_FIELDS = ("index", "time", "type", "process", "f", "key", "value", "error", "node")


def read_maps(text: str) -> tuple[list[Op | Problem], list[int], bool]:
    """The op of each map, or what is wrong with it; the line of each; and whether the text was cut inside its last one.

    The maps stand one after another, or in one vector or list. Reading ends at the first text that is not EDN.
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
        self.lines: list[int] = []
        self.is_cut = False
        self._line = 1
        self._counted = 0
        self._last_index = UNKNOWN
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def read(self) -> None:
        text = self.text
        position = _end_of_blank(text, 0)
        closes = {"[": "]", "(": ")"}.get(text[position : position + 1], "")
        position += len(closes)
        shape: _Shape | None = None
        values: dict[str, Any] = {}
        while True:
            found = None if shape is None else shape.pattern.match(text, position)
            if found is None:
                for shape in self._shapes.values():
                    if found := shape.pattern.match(text, position):
                        break
            if found is not None:
                assert shape is not None
                if (read := shape.op(found, values)) is not None:
                    position = found.end()
                    self._add_op(read[1], read[0], found.start(1))
                    continue
            position = _end_of_blank(text, position)
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
        self.items.append(
            item if isinstance(item, Op) else Problem(len(self.items), item.rule, item.detail, self._line)
        )
        self.lines.append(self._line)

    def _add_op(self, op: Op, index: int, offset: int) -> None:
        if index != UNKNOWN:
            if index <= self._last_index:
                self.add(Problem(0, "index", f":index {index} after {self._last_index}"), offset)
            self._last_index = max(index, self._last_index)
        self.add(op, offset)

    def _add_form(self, form: Any, offset: int) -> None:
        if isinstance(form, Tagged):
            form = form.value
        try:
            index, op = _op(form)
        except _NotAnOp as error:
            self.add(Problem(0, error.rule, error.detail), offset)
            return
        self._add_op(op, index, offset)
        names = tuple(key.name for key in form if isinstance(key, Keyword))
        if len(names) == len(form) and names not in self._shapes and len(self._shapes) < _SHAPES_MAX:
            self._shapes[names] = _Shape(names)


def _end_of_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None, "the pattern matches nothing as well"
    return found.end()


class _Shape:
    """Maps with these keys, in this order, and values of the usual kinds."""

    def __init__(self, names: tuple[str, ...]) -> None:
        pairs = r"[\s,]+".join(f":{re.escape(name)}[\\s,]+{_VALUE_OF.get(name, _ANY_VALUE)}" for name in names)
        self.pattern = re.compile(rf"[\s,]*(?:\#[A-Za-z][\w.]*\s*)?\{{{pairs}\}}")
        self._group = [names.index(name) + 1 if name in names else 0 for name in _FIELDS]

    def op(self, found: re.Match[str], values: dict[str, Any]) -> tuple[int, Op] | None:
        """The index that the map claims, and its op; None when a value is not EDN. values: earlier texts' values."""
        try:
            return self._op(found, values)
        except EdnError:
            return None  # The EDN reader will say where.

    def _op(self, found: re.Match[str], values: dict[str, Any]) -> tuple[int, Op]:
        index, time_ns, type, process, f, key, value, error, node = (
            found[group] if group else None for group in self._group
        )
        assert process is not None
        assert f is not None
        word = str(values.setdefault(f":{f}", f))
        place = node and _read(node, values)
        return UNKNOWN if index is None else int(index), Op(
            UNKNOWN,
            UNKNOWN if time_ns is None else int(time_ns),
            type,  # type: ignore[arg-type]  # The pattern has no other.
            NEMESIS if process[0] == ":" else int(process),
            word,
            key and _read(key, values),
            value and _read(value, values),
            error and _read(error, values),
            place if isinstance(place, str) else None,
        )


def _read(text: str, values: dict[str, Any]) -> Any:
    if text in values:
        return values[text]
    value = plain(edn.loads(text))
    if len(values) < _VALUES_MAX:
        values[text] = value
    return value


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
    type = _word(form.get(_TYPE))
    if type not in get_args(OpType):
        raise _NotAnOp("type", f"{edn.dumps(form.get(_TYPE))} is not a type: :invoke, :ok, :fail or :info")
    process: Any = form.get(_PROCESS)
    if _word(process) == NEMESIS:
        process = NEMESIS
    elif isinstance(process, bool) or not isinstance(process, int) or process < 0:
        raise _NotAnOp("process", f"{edn.dumps(process)} is not a process: an integer from 0 up, or :{NEMESIS}")
    f = _word(form.get(_F))
    if f is None:
        raise _NotAnOp("syntax", f"{edn.dumps(form.get(_F))} is no :f")
    index, time_ns = form.get(_INDEX), form.get(_TIME)
    for name, number in ((":index", index), (":time", time_ns)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise _NotAnOp(name[1:], f"{edn.dumps(number)} is no {name}")
    return UNKNOWN if index is None else index, Op(
        UNKNOWN,
        UNKNOWN if time_ns is None else max(time_ns, 0),
        type,  # type: ignore[arg-type]  # Compared above.
        process,
        f,
        plain(form.get(_KEY)),
        plain(form.get(_VALUE)),
        plain(form.get(_ERROR)),
        _word(form.get(_NODE)),
    )


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
