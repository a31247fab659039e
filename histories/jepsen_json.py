"""Jepsen's ops as JSON, as elle-cli and others take them: one array of objects, or one object after the other.

The objects have the names of Jepsen's maps (type, process, f, value, index, time, ...), and mean the same: see histories.jepsen.
"""

from __future__ import annotations

import json
import re
from os import PathLike
from typing import Any

import msgspec

from histories import jepsen
from histories.edn import Keyword
from histories.jepsen_ops import UNKNOWN, NotAnOp, op_of
from histories.json_text import FILE_DEPTH_MAX, is_deeper, too_deep
from histories.loaded import Loaded, paused_gc
from histories.op import Op
from histories.printing import line as one_line
from histories.repeated_keys import refuse_repeated
from histories.sources import Source, opened, read_text
from histories.wellformed import MalformedHistory, Problem

_BLANK = re.compile(r"[ \t\n\r]*")
_GAP = re.compile(r"[ \t\n\r,]*")


def read(path: str | PathLike[str] | Source, *, independent: bool | None = None) -> Loaded:
    """The history in the JSON file, without a last object that was cut. independent: see jepsen.read.

    **Raises** OSError when the file cannot be read, MalformedHistory with every broken rule and its line when it is not a
    well-formed history.
    """
    with paused_gc(), opened(path) as source:
        text = read_text(source)
        if is_deeper(text.encode(), FILE_DEPTH_MAX + 1):
            raise MalformedHistory([Problem(0, "syntax", too_deep(FILE_DEPTH_MAX), 1)], source.name)
        items, lines, truncated = _parse(text)
        ours, places = jepsen.as_ours(items, lines)
        return jepsen.finished(source, ours, places, truncated, "json", independent=independent)


def _parse(text: str) -> tuple[list[Op | Problem], list[int], bool]:
    """The ops, the line of each, and whether the last one was cut."""
    decoder = json.JSONDecoder(object_pairs_hook=refuse_repeated, parse_constant=_no_constant)
    items: list[Op | Problem] = []
    lines: list[int] = []
    at = _after(_BLANK, text, 0)
    is_array = text[at : at + 1] == "["
    counted, line, last_index = 0, 1, UNKNOWN
    at = _after(_GAP, text, at + is_array)
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        if is_array and text[at] == "]":
            if (rest := _after(_BLANK, text, at + 1)) < len(text):
                items.append(Problem(len(items), "syntax", "there is more behind the array", line))
                lines.append(line + text.count("\n", at, rest))
            return _none_is_wrong(items, lines, False)
        try:
            form, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or (
                text[error.pos : error.pos + 1] == '"' and '"' not in text[error.pos + 1 :]
            ):
                return _none_is_wrong(items, lines, True)
            items.append(Problem(len(items), "syntax", f"no JSON: {one_line(error.msg)}", error.lineno))
            lines.append(error.lineno)
            return items, lines, False
        except (ValueError, RecursionError) as error:
            items.append(Problem(len(items), "syntax", f"no JSON: {one_line(error)}", line))
            lines.append(line)
            return items, lines, False
        index, item = _op(form, len(items), line)
        if UNKNOWN < index <= last_index:
            items.append(Problem(len(items), "index", f"index {index} after {last_index}", line))
            lines.append(line)
        last_index = max(index, last_index)
        items.append(item)
        lines.append(line)
        at = _after(_GAP, text, at)
    return _none_is_wrong(items, lines, is_array)


def _none_is_wrong(
    items: list[Op | Problem], lines: list[int], cut: bool
) -> tuple[list[Op | Problem], list[int], bool]:
    return (items, lines, cut) if items else ([Problem(0, "syntax", "no op in it", 1)], [1], cut)


def _op(form: Any, position: int, line: int) -> tuple[int, Op | Problem]:
    """The index that the form claims, UNKNOWN where it claims none, and its op, or what is wrong with it."""
    if not isinstance(form, dict):
        return UNKNOWN, Problem(position, "syntax", f"an object was due, not {one_line(json.dumps(form), 80)}", line)
    try:
        msgspec.json.encode(form)
        return op_of({Keyword(name): value for name, value in form.items()})
    except UnicodeEncodeError:
        return UNKNOWN, Problem(position, "syntax", "half of a surrogate pair is no character", line)
    except NotAnOp as error:
        return UNKNOWN, Problem(position, error.rule, error.detail, line)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
