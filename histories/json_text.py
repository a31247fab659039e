"""JSON from outside, decoded by one rule: it is UTF-8 and nests no deeper than was stated. Whatever is wrong is a DecodeError.

The limits keep every later step (hashing, comparing, printing, writing again) far from Python's limit of recursion, which would
otherwise end the process at a place that cannot say what was wrong. Each of them leaves room for what the next one wraps around a
value: a request becomes part of messages and records, and a reply becomes part of a line of a history.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

REQUEST_DEPTH_MAX = 64
"""Of a client's request, and of whatever tells a node what to do."""
MESSAGE_DEPTH_MAX = 128
"""Of what carries requests: messages between nodes, replies and statuses."""
FILE_DEPTH_MAX = 200
"""Of an op in a history file, in any format, and of the other files of a run."""

_T = TypeVar("_T")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_OPENING = bytes(set(range(256)) - set(b"[{\n"))


def decoded(decode: Callable[[bytes], _T], text: bytes, depth_max: int) -> _T:
    """What `decode`, a msgspec decoder's, makes of the text. **Raises** msgspec.DecodeError (ValidationError is one), and nothing
    else."""
    if is_deeper(text, depth_max):
        raise msgspec.DecodeError(too_deep(depth_max))
    try:
        return _of_utf_8(decode, text)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8: {error.reason}") from None
    except RecursionError:
        raise msgspec.DecodeError(too_deep(depth_max)) from None


def _of_utf_8(decode: Callable[[bytes], _T], text: bytes) -> _T:
    """**Raises** UnicodeDecodeError as well, where a string is not UTF-8. Since 0.23, msgspec does not, and gives no reason."""
    try:
        return decode(text)
    except msgspec.DecodeError as error:
        if "UTF-8" in str(error):
            text.decode()
        raise


def too_deep(depth_max: int) -> str:
    """The message about what nests deeper."""
    return f"nested more than {depth_max} deep"


def is_deeper(text: bytes, depth_max: int) -> bool:
    """Whether arrays and objects nest deeper in this JSON; the outermost counts as one. Of other text it may say either."""
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return False
    brackets = _STRING.sub(b"", text).translate(_SQUARE, _NOT_BRACKETS)
    if b"[" * (depth_max + 1) in brackets:
        return True
    for _ in range(depth_max):  # Each pass takes away the innermost level.
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return False  # All of it has gone, or the rest does not close: no JSON.
        brackets = shorter
    return b"[" in brackets


def may_have_deeper_line(text: bytes, depth_max: int) -> bool:
    """Whether one of the lines may nest deeper: false for most texts, at a small part of the cost of looking at each line."""
    return b"[" * (depth_max + 1) in text.translate(_SQUARE, _NOT_OPENING)
