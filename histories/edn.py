"""EDN, Clojure's data notation, in both directions: all of it, and what Clojure prints beside it.

| EDN | Python |
| --- | --- |
| nil, true, 1, 1N, 1.5 | None, True, int, int, float |
| 1.5M, 1/2 | Decimal, Fraction |
| "text", \\c, :key, symbol | str, Char, Keyword, Symbol |
| [vector], (list) | list, tuple |
| {map}, #{set} | dict, frozenset |
| #tag value | Tagged |

Inside a set or as a map's key a vector is a tuple and a map a FrozenMap, because those must be hashable. Collections, tags and
discards nest at most histories.json_text.FILE_DEPTH_MAX deep. The reader itself has no recursion.

Source: the EDN format's description (edn-format), and for `##NaN`, ratios and `#:ns{...}` Clojure's reader.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import msgspec

from histories import printing
from histories.json_text import FILE_DEPTH_MAX, too_deep
from histories.printing import quoted


class Keyword(msgspec.Struct, frozen=True, gc=False):
    """`:name`; the name is without its colon."""

    name: str


class Symbol(msgspec.Struct, frozen=True, gc=False):
    """A bare word."""

    name: str


class Char(msgspec.Struct, frozen=True, gc=False):
    """One character, such as `\\a` or `\\newline`."""

    text: str


class Tagged(msgspec.Struct, frozen=True):
    """`#tag value`; a record such as `#jepsen.history.Op{...}` is a tagged map."""

    tag: str
    value: Any


class FrozenMap(dict[Any, Any]):
    """A map that is a key or a member of a set. Not to be changed."""

    def __hash__(self) -> int:  # type: ignore[override]  # A dict has none because it may change; this one does not.
        return hash(frozenset(self.items()))


class EdnError(ValueError):
    """Text that is not EDN.

    offset: in characters, where it went wrong. start: where the outermost unfinished value begins.
    is_end: the text ended in the middle of that value. is_close: a bracket closes what was opened before the text's
    beginning.
    """

    def __init__(self, detail: str, offset: int, start: int, *, is_end: bool = False, is_close: bool = False) -> None:
        self.detail = printing.line(detail)
        self.offset = offset
        self.start = start
        self.is_end = is_end
        self.is_close = is_close
        super().__init__(detail, offset)

    def __str__(self) -> str:
        return f"{self.detail} (character {self.offset})"


_TOKEN = re.compile(
    r"""
      (?:[\s,]|;[^\n]*+)++                          # white space, commas, comments
    | (?P<open> \#\{ | [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<string> "(?:[^"\\]|\\.)*" )
    | (?P<discard> \#_ )
    | (?P<symbolic> \#\#[A-Za-z-]+ )
    | \#(?P<tag> :?[A-Za-z][^\s,()\[\]{}"\\;#@^`~]* )
    | \\(?P<char> (?: u[0-9A-Fa-f]{4} | o[0-7]{1,3} | [a-z]+ | . ) )
    | (?P<atom> [^\s,()\[\]{}"\\;\#@^`~][^\s,()\[\]{}"\\;@^`~]* )
    | (?P<bad> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DIGITS_MAX = 4000
"""Python itself takes a few more, and no history has a use for them."""
_FLOAT_MAX = sys.float_info.max
"""Decimals and ratios become floats in histories."""
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)N?")
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?")
_RATIO = re.compile(r"[+-]?[0-9]+/[0-9]+")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|[0-7]{1,3}|.)", re.DOTALL)
_CODED_CHAR = re.compile(r"u([0-9A-Fa-f]{4})|o([0-7]{1,3})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r'[\x00-\x1f"\\\x7f]')

_ESCAPED = {"t": "\t", "r": "\r", "n": "\n", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
_ESCAPE_OF = {text: letter for letter, text in _ESCAPED.items()}
_CHARS = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t", "formfeed": "\f", "backspace": "\b"}
_NAME_OF_CHAR = {text: name for name, text in _CHARS.items()}
_CONSTANTS: dict[str, Any] = {"nil": None, "true": True, "false": False}
_SYMBOLIC = {"##NaN": math.nan, "##Inf": math.inf, "##-Inf": -math.inf}
_CLOSES = {"(": ")", "[": "]", "{": "}", "#{": "}"}


_TAG = "#"
_DISCARD = "#_"


class _Frame(msgspec.Struct, gc=False):
    """An unfinished value: a collection (`kind` is its opening), a tag that waits for its value, or a discard
    ("#_").
    """

    kind: str
    start: int
    items: list[Any]
    tag: str = ""


def loads(text: str) -> Any:
    """The one value that the text holds. **Raises** EdnError, also for none or several."""
    values = [value for _, _, value in forms(text)]
    if len(values) != 1:
        raise EdnError(f"one value was due, not {len(values)}", 0, 0)
    return values[0]


def forms(text: str, begin: int = 0, depth: int = 0) -> Iterator[tuple[int, int, Any]]:
    """Start, end and value of each form in the text from `begin` on, as soon as it is complete.

    depth: how deep the forms themselves stand in what they become part of; they nest so much less.
    **Raises** EdnError where the text stops being EDN.
    """
    stack: list[_Frame] = []
    depth_max = FILE_DEPTH_MAX - depth
    atoms: dict[str, Any] = dict(_CONSTANTS)
    value: Any
    for token in _TOKEN.finditer(text, begin):
        group = token.lastgroup
        if group is None:
            continue
        word = token[group]
        offset = start = token.start()
        is_last = token.end() == len(text)
        if group == "atom":
            if word in atoms:
                value = atoms[word]
            else:
                value = _atom(word, offset, _outermost(stack, offset), is_last)
                if not isinstance(value, int | float):
                    atoms[word] = value
        elif group == "open":
            if len(stack) >= depth_max:
                raise EdnError(too_deep(FILE_DEPTH_MAX), offset, _outermost(stack, offset))
            stack.append(_Frame(word, offset, []))
            continue
        elif group == "close":
            if not stack:
                raise EdnError(f"{word} closes nothing", offset, offset, is_close=True)
            frame = stack.pop()
            if word != _CLOSES.get(frame.kind):
                raise EdnError(_unexpected(word, frame), offset, _outermost(stack, frame.start))
            start = frame.start
            value = _collection(frame, offset)
        elif group == "string":
            value = word[1:-1]
            if "\\" in value:
                value = _unescaped(value, offset, _outermost(stack, offset))
        elif group == "char":
            value = Char(_char(word, offset, _outermost(stack, offset), is_last))
        elif group == "symbolic":
            if word not in _SYMBOLIC:
                raise EdnError(f"{word} is not a number", offset, _outermost(stack, offset), is_end=is_last)
            value = _SYMBOLIC[word]
        elif group == "bad":
            is_string = word == '"'
            detail = "a string that does not end" if is_string else f"{quoted(word)} begins no value"
            raise EdnError(detail, offset, _outermost(stack, offset), is_end=is_string or is_last)
        else:
            if len(stack) >= depth_max:
                raise EdnError(too_deep(FILE_DEPTH_MAX), offset, _outermost(stack, offset))
            stack.append(_Frame(_TAG if group == "tag" else _DISCARD, offset, [], word))
            continue
        # The value is complete; so may be the tags and the discard that waited for it.
        while stack and stack[-1].kind == _TAG:
            frame = stack.pop()
            start = frame.start
            value = _tagged(frame.tag, value, start)
        if stack and stack[-1].kind == _DISCARD:
            stack.pop()
        elif stack:
            stack[-1].items.append(value)
        else:
            yield start, token.end(), value
    if stack:
        raise EdnError("the text ends inside a value", len(text), stack[0].start, is_end=True)


def dumps(value: Any) -> str:
    """The value as EDN, on one line. **Raises** TypeError for what EDN has no notation for."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case float():
            if math.isnan(value):
                return "##NaN"
            return repr(value) if math.isfinite(value) else "##Inf" if value > 0 else "##-Inf"
        case int():
            return str(value)
        case str():
            return f'"{_CONTROL.sub(_escape, value)}"'
        case Keyword(name):
            return f":{name}"
        case Symbol(name):
            return name
        case Char(text):
            return "\\" + _NAME_OF_CHAR.get(
                text, text if text.isprintable() or ord(text) > 0xFFFF else f"u{ord(text):04x}"
            )
        case list():
            return f"[{' '.join(map(dumps, value))}]"
        case tuple():
            return f"({' '.join(map(dumps, value))})"
        case dict():
            return "{" + ", ".join(f"{dumps(key)} {dumps(item)}" for key, item in value.items()) + "}"
        case set() | frozenset():
            return "#{" + " ".join(sorted(map(dumps, value))) + "}"
        case Tagged(tag, inner):
            return f"#{tag} {dumps(inner)}"
        case Decimal():
            return f"{value}M"
        case Fraction():
            return f"{value.numerator}/{value.denominator}"
        case _:
            raise TypeError(f"EDN has no notation for {type(value).__name__}: {quoted(value)}")


def _outermost(stack: list[_Frame], offset: int) -> int:
    return stack[0].start if stack else offset


def _atom(word: str, offset: int, start: int, is_last: bool) -> Any:
    first = word[0]
    if first == ":":
        if len(word) == 1:
            raise EdnError("a colon without a name", offset, start, is_end=is_last)
        return Keyword(word[1:])
    if first in "0123456789" or (first in "+-" and word[1:2].isdigit()):
        if len(word) > _DIGITS_MAX:
            raise EdnError(f"a number of more than {_DIGITS_MAX} digits", offset, start, is_end=is_last)
        if _INTEGER.fullmatch(word):
            return int(word.removesuffix("N"))
        if _DECIMAL.fullmatch(word):
            return _decimal(word, offset, start, is_last) if word.endswith("M") else float(word)
        if _RATIO.fullmatch(word) and int(word.partition("/")[2]):
            ratio = Fraction(word)
            if abs(ratio) > _FLOAT_MAX:
                raise EdnError(f"{word} is out of range", offset, start, is_end=is_last)
            return ratio
        raise EdnError(f"{word} is not a number", offset, start, is_end=is_last)
    return Symbol(word)


def _decimal(word: str, offset: int, start: int, is_last: bool) -> Decimal:
    try:
        return Decimal(word[:-1])
    except InvalidOperation:
        raise EdnError(f"{word} is out of range", offset, start, is_end=is_last) from None


def _collection(frame: _Frame, offset: int) -> Any:
    items = frame.items
    if frame.kind == "[":
        return items
    if frame.kind == "(":
        return tuple(items)
    if frame.kind == "#{":
        members = frozenset(map(_hashable, items))
        if len(members) != len(items):
            raise EdnError("a set has a member twice", offset, frame.start)
        return members
    if len(items) % 2:
        raise EdnError("a map has a key without a value", offset, frame.start)
    keys = items[::2]
    try:
        value = dict(zip(keys, items[1::2], strict=True))
    except TypeError:
        value = dict(zip(map(_hashable, keys), items[1::2], strict=True))
    if len(value) != len(keys):
        raise EdnError("a map has a key twice", offset, frame.start)
    return value


def _hashable(value: Any) -> Any:
    match value:
        case list() | tuple():
            return tuple(map(_hashable, value))
        case dict():
            return FrozenMap((key, _hashable(item)) for key, item in value.items())
        case Tagged(tag, inner):
            return Tagged(tag, _hashable(inner))
        case _:
            return value


def _tagged(tag: str, value: Any, start: int) -> Any:
    if not tag.startswith(":"):
        return Tagged(tag, value)
    # Clojure's namespaced map, #:ns{:a 1} for {:ns/a 1}; a key under _ has no namespace.
    if not isinstance(value, dict):
        raise EdnError(f"#{tag} is followed by no map", start, start)
    return {_qualified(tag[1:], key): item for key, item in value.items()}


def _qualified(namespace: str, key: Any) -> Any:
    if not isinstance(key, Keyword | Symbol):
        return key
    if key.name.startswith("_/"):
        return type(key)(key.name[2:])
    return key if "/" in key.name else type(key)(f"{namespace}/{key.name}")


def _unexpected(word: str, frame: _Frame) -> str:
    if frame.kind in _CLOSES:
        return f"{word} where {_CLOSES[frame.kind]} was due"
    return f"{word} where a value was due after #{'_' if frame.kind == _DISCARD else frame.tag}"


def _unescaped(text: str, offset: int, start: int) -> str:
    said = _ESCAPE.sub(lambda escape: _unescape(escape, offset, start), text)
    return _whole(said, offset, start) if _SURROGATE.search(said) else said


def _whole(text: str, offset: int, start: int) -> str:
    """The text with each pair of surrogates, by which Java writes a character beyond 16 bits, as that character."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise EdnError("half of a character, which stands for nothing", offset, start) from None


def _unescape(escape: re.Match[str], offset: int, start: int) -> str:
    code = escape[1]
    if code in _ESCAPED:
        return _ESCAPED[code]
    if code[0] == "u" and len(code) == 5:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    raise EdnError(f"\\{code} in a string stands for nothing", offset, start)


def _escape(found: re.Match[str]) -> str:
    text = found[0]
    return "\\" + _ESCAPE_OF[text] if text in _ESCAPE_OF else f"\\u{ord(text):04x}"


def _char(word: str, offset: int, start: int, is_last: bool) -> str:
    if len(word) == 1:
        return word
    if word in _CHARS:
        return _CHARS[word]
    if coded := _CODED_CHAR.fullmatch(word):
        return _whole(chr(int(coded[1], 16) if coded[1] else int(coded[2], 8)), offset, start)
    raise EdnError(f"\\{word} is no character", offset, start, is_end=is_last)
