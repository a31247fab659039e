"""Reads the logs of a run's nodes for its page: the lines around the violation when there are too many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from histories.printing import line

LINES_MAX = 2_000
"""Of one log; a page that shows a thousand more is only slower."""

BYTES_MAX = 1 << 23
"""Of one log file that are looked at, from its end."""

LINE_MAX = 300

_SECONDS = re.compile(r"\s*(\d+\.\d+)\s")


class NodeLog(msgspec.Struct, frozen=True):
    """times: seconds since the run began of each line, that of the line before where it tells none. left_out: lines that are not
    here."""

    node: str
    name: str
    times: list[float]
    lines: list[str]
    left_out: int


def read_logs(nodes: Path, order: Sequence[str], around_ns: int | None) -> list[NodeLog]:
    """nodes/<n>/*.log of each node. around_ns: of a long log, the lines around this time are kept; None: the last ones."""
    found = []
    for node in order:
        for path in sorted((nodes / node).glob("*.log")):
            if (log := _read(node, path, around_ns)) is not None:
                found.append(log)
    return found


def _read(node: str, path: Path, around_ns: int | None) -> NodeLog | None:
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - BYTES_MAX))
            text = file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return None
    lines = text.splitlines()
    if not lines:
        return None
    times, latest = [], 0.0
    for each in lines:
        told = _SECONDS.match(each)
        latest = float(told[1]) if told and len(told[1]) < 20 else latest
        times.append(latest)
    first = max(0, len(lines) - LINES_MAX)
    if around_ns is not None and first:
        near = next((number for number, time in enumerate(times) if time * 1e9 > around_ns), len(lines))
        first = min(first, max(0, near - LINES_MAX // 2))
    kept = slice(first, first + LINES_MAX)
    return NodeLog(
        node,
        line(path.name, 80),
        times[kept],
        [line(each, LINE_MAX) for each in lines[kept]],
        len(lines) - len(lines[kept]),
    )
