"""Any history file, whoever wrote it: the format is told from the first lines, or given."""

from __future__ import annotations

import re
from os import PathLike
from typing import Literal, get_args

from histories import jepsen, jepsen_json, jsonl, logs, session_files
from histories.loaded import Format, Loaded
from histories.printing import quoted
from histories.sources import Source, opened
from histories.wellformed import MalformedHistory, Problem

_HEAD_BYTES = 1 << 16
"""Enough for the header of ours and the first op of the others, also after a page of comments or log."""

_EDN_START = re.compile(r"(?:[\s,]|;[^\n]*+)*+(?:[\[(](?:[\s,]|;[^\n]*+)*+)?(?:#[\w.]+\s*)?\{\s*:")
_ARRAY_START = re.compile(r"\s*\[\s*\{\s*\"")
_SESSIONS_START = re.compile(
    r"(?:[ \t]*(?:(?:-[- \t]*|=[= \t]*)|(?:#|//)[^\n]*)?\r?\n)*[ \t]*[rwRW][ \t]+\S+[ \t]+\S+[ \t]*(?:\r?\n|\Z)"
)
_DBCOP_START = re.compile(r"\s*(?:\{\s*\"|\[\s*\[)")
_DBCOP_EVENT = re.compile(r"\"events\"\s*:\s*\[(?:[^\]]*\"(?:[wW]rite|Read)\"\s*:|\s*\[\s*\"[rw]\"\s*,)")
_KV_START = re.compile(r"\s*\{[^{}\n]*:f :(?:get|put|append), :key ")


def load(
    path: str | PathLike[str], format: Format | Literal["auto"] = "auto", *, independent: bool | None = None
) -> Loaded:
    """The history in the file, which may be packed with gzip; `-` is standard input.

    independent: for what Jepsen wrote, whether client values are [key value] pairs; None: as they look (see jepsen.read).
    **Raises** OSError when the file cannot be read; ValueError for an unknown format; MalformedHistory when the file
    holds no well-formed history, or none at all (empty, binary, some other text, damaged gzip data).
    """
    if format != "auto" and format not in get_args(Format):
        raise ValueError(f"format {format!r}: auto, {', '.join(get_args(Format))} were expected")
    with opened(path) as source:
        match detect(source) if format == "auto" else format:
            case "jsonl":
                return jsonl.read(source)
            case "edn":
                return jepsen.read(source, independent=independent)
            case "json":
                return jepsen_json.read(source, independent=independent)
            case "sessions":
                return session_files.read_sessions(source)
            case "dbcop":
                return session_files.read_dbcop(source)
            case "jepsen-log":
                return logs.read_jepsen_log(source, independent=independent)
            case "kv-log":
                return logs.read_kv_log(source)


def detect(path: str | PathLike[str] | Source) -> Format:
    """The format that the file's beginning shows. **Raises** OSError; MalformedHistory when it shows none."""
    with opened(path) as source:
        head = source.file.read(_HEAD_BYTES)
        name = source.name
    if not head.strip():
        raise MalformedHistory([Problem(0, "syntax", "the file is empty", 1)], name)
    # A character may be cut at the end of the head; binary data has NULs or is no UTF-8 long before.
    text = head.decode(errors="replace")
    if b"\0" in head or text[: _HEAD_BYTES // 8].count("�") > 2:
        raise MalformedHistory([Problem(0, "syntax", "binary data, not a history", 1)], name)
    if _SESSIONS_START.match(text):
        return "sessions"
    if f'"{jsonl.MARK}"' not in text.partition("\n")[0] and _DBCOP_START.match(text) and _DBCOP_EVENT.search(text):
        return "dbcop"
    if f'"{jsonl.MARK}"' in text.partition("\n")[0] or text.lstrip().startswith('{"'):
        return "jsonl"
    if _ARRAY_START.match(text):
        return "json"
    if _KV_START.match(text):
        return "kv-log"
    if _EDN_START.match(text) or text.strip() in ("[]", "()"):
        return "edn"
    if "jepsen.util" in text:
        return "jepsen-log"
    raise MalformedHistory(
        [Problem(0, "syntax", f"none of {', '.join(get_args(Format))} begins so: {quoted(text.strip(), 60)}", 1)], name
    )
