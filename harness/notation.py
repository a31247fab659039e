"""How counts, lists, ranges and spans of time are written, in flags and in campaign files."""

from __future__ import annotations

import re

from harness.errors import UsageError

SEEDS_MAX = 10_000_000
"""Of one sweep: at a second or so each, more would take months."""


AGE = re.compile(r"\s*(\d{1,6})\s*([smhdw])\s*")
AGE_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def age_s(flag: str, text: str) -> float:
    """`90m`, `12h`, `7d`, `2w` in seconds."""
    match = AGE.fullmatch(text)
    if not match:
        raise UsageError(f"{flag} {text!r}: write a whole number with its unit: 90m, 12h, 7d, 2w")
    return int(match[1]) * AGE_UNITS_S[match[2]]


def node_names(text: str) -> tuple[str, ...]:
    """`5` is n1 to n5; `host1,host2` are those names."""
    if text.strip().isdigit():
        count = int(text)
        if not 1 <= count <= 99:
            raise UsageError(f"--nodes {text}: give 1 to 99 nodes, or their names separated by commas")
        return tuple(f"n{number}" for number in range(1, count + 1))
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if re.fullmatch(r"\d*\.\d*", text.strip()):
        raise UsageError(f"--nodes {text}: a count is a whole number from 1 to 99; a node's name is not a number")
    if not names:
        raise UsageError(f"--nodes {text!r}: give a count or names separated by commas")
    return names


def concurrency(text: str, node_count: int) -> int:
    """`10` is ten clients, `3n` three for each node (Jepsen's notation)."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:(n)\s*)?", text)
    if not match or int(match[1]) < 1:
        raise UsageError(f"--concurrency {text!r}: give a whole number from 1 up, such as 10, or 3n for three per node")
    return int(match[1]) * (node_count if match[2] else 1)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas; `none` and the empty text are no names."""
    return tuple(name for part in text.split(",") if (name := part.strip()) and name != "none")


def seed_range(text: str) -> range:
    """`1..1000`, both ends included. A lone number is refused: it may be meant as a seed or as a count."""
    match = re.fullmatch(r"\s*(\d{1,18})\s*(?:\.\.\s*(\d{1,18})\s*)?", text)
    if not match:
        raise UsageError(f"--seeds {text!r}: write FIRST..LAST such as 1..1000")
    if match[2] is None:
        raise UsageError(
            f"--seeds {text}: write FIRST..LAST: 1..{max(1, int(text))} sweeps that many seeds, {text}..{text} only seed {text}"
        )
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise UsageError(f"--seeds {text!r}: the range is reversed or empty; write {last}..{first}")
    if last - first >= SEEDS_MAX:
        raise UsageError(f"--seeds {text}: {last - first + 1:,} seeds; at most {SEEDS_MAX:,} in one sweep")
    return range(first, last + 1)
