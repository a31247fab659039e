"""Makes text from a history, a file or a node short and harmless before it reaches a terminal."""

from __future__ import annotations

import re
from typing import Any

import msgspec

LINE_MAX = 400
TEXT_MAX = 8_000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def shorten(text: str, length_max: int = LINE_MAX) -> str:
    """The text itself, or as much of its two ends as fits, with the number of characters left out between them."""
    if len(text) <= length_max:
        return text
    gap = f" … {len(text) - length_max:,} more … "
    kept = max(0, length_max - len(gap))
    return text[: kept - kept // 3] + gap + text[len(text) - kept // 3 :]


def harmless(text: str) -> str:
    """The text with control characters, and those that turn the direction of text, as escapes; new lines and tabs stay."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def line(text: object, length_max: int = LINE_MAX) -> str:
    """The text as one line: harmless and short."""
    return harmless(shorten(str(text), length_max)).replace("\n", "\\n").replace("\t", " ")


def block(text: object, length_max: int = TEXT_MAX) -> str:
    """The text as several lines: harmless and short."""
    return harmless(shorten(str(text), length_max))


def value(found: Any, length_max: int = 60) -> str:
    """A value of a history as short JSON."""
    try:
        text = msgspec.json.encode(found).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = repr(found)
    return line(text, length_max)
