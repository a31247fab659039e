"""Makes text from a history, a file, a node or a command line short and harmless before it reaches a terminal.

Everything that somebody else wrote goes through `line`, `block` or `value` before it is printed, an error's message too. It stands
here, at the bottom, so that every package can use it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

LINE_MAX = 400
TEXT_MAX = 8_000

_HARMFUL = re.compile(
    "["
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # Control characters: terminal escapes begin with one of them.
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # They turn the direction of text.
    r"\u2028\u2029"  # New lines, to some.
    r"\u00ad\u200b-\u200d\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"  # Nobody sees them.
    r"\ud800-\udfff"  # Halves of surrogates: UTF-8 has no bytes for them, so that printing one raises.
    "]"
)


def shorten(text: str, length_max: int = LINE_MAX) -> str:
    """The text itself, or as much of its two ends as fits, with the number of characters left out between them."""
    if len(text) <= length_max:
        return text
    gap = f" … {len(text) - length_max:,} more … "
    kept = max(0, length_max - len(gap))
    return text[: kept - kept // 3] + gap + text[len(text) - kept // 3 :]


def harmless(text: str) -> str:
    """The text with control characters, those that turn the direction of text and those that nobody sees as escapes; new lines
    and tabs stay."""
    return _HARMFUL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


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
        try:
            text = repr(found)
        except (RecursionError, ValueError):  # Too deep; or an int of more digits than Python writes.
            text = f"<{type(found).__name__}>"
    return line(text, length_max)


def quoted(found: object, length_max: int = 80) -> str:
    """A value as Python writes it, on one line."""
    try:
        text = repr(found)
    except (RecursionError, ValueError):  # Too deep; or an int of more digits than Python writes.
        text = f"<{type(found).__name__}>"
    return line(text, length_max)


def json_text(found: Any) -> str:
    """A document for a program, as indented JSON: whole, and harmless where a terminal shows it. Halves of surrogates become
    words."""
    try:
        text = msgspec.json.encode(found)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_encodable(msgspec.to_builtins(found)))
    return _HARMFUL.sub(_as_json_escape, msgspec.json.format(text, indent=2).decode())


def _as_json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _encodable(found: Any) -> Any:
    match found:
        case str():
            return found.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return [_encodable(each) for each in found]
        case dict():
            return {_encodable(key): _encodable(each) for key, each in found.items()}
        case _:
            return found
