"""What the texts of EDN values say, as JSON-like values: a column of them at a time, each text once.

Many texts are read as JSON where that is sure to mean the same; the EDN reader has the last word on everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Generic, TypeVar

import msgspec

from histories import edn
from histories.edn import Char, Keyword, Symbol, Tagged

_TEXTS_MAX = 100_000
_KEYWORDS_MAX = 32
_T = TypeVar("_T")


class Texts(dict[str, _T], Generic[_T]):
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


class Values(Texts[Any]):
    """The values that texts of ANY_VALUE say."""

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
        self.update(zip(unknown, many_values(unknown), strict=True))
        return super().read(texts)


_FEW = 8
_KEYWORD = re.compile(r""":[^\s,()\[\]{}"\\;\#@^`~]+""")
_UNLIKE_JSON = ("\0", "\\", "null")
_UNLIKE_JSON_NUMBERS = re.compile(r"[0-9](?:[.eE]|[0-9]{17})")  # Decimals, and what exceeds 64 bits.


def _value(text: str) -> Any:
    return plain(edn.loads(text))


def many_values(texts: list[str]) -> list[Any]:
    """The values of many texts, read as JSON where that is sure to mean the same: it is many times as fast."""
    if len(texts) < _FEW:
        return list(map(_value, texts))
    values = by_json(texts)
    half = len(texts) // 2
    return many_values(texts[:half]) + many_values(texts[half:]) if values is None else values


def by_json(texts: list[str]) -> list[Any] | None:
    """The values of the texts, each of which is one ANY_VALUE; None when the EDN reader should say.

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
    if len(keywords) > _KEYWORDS_MAX or any("nil" in keyword or ":" in keyword[1:] for keyword in keywords):
        return None
    for keyword in keywords:
        outside = outside.replace(keyword, f'"{keyword[1:]}"')
    pieces[::2] = ",".join(outside.replace(",", " ").split()).replace("nil", "null").split("\0")
    try:
        values: list[Any] = msgspec.json.decode("[" + '"'.join(pieces) + "]", type=list[Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return values if len(values) == len(texts) else None


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
            found = {_plain_key(key): plain(item) for key, item in value.items()}
            if len(found) < len(value):  # As with 1 and "1": only EDN's own notation tells them apart.
                return {edn.dumps(key): plain(item) for key, item in value.items()}
            return found
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
