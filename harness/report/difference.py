"""Compares two runs of one spec, line by line."""

from __future__ import annotations

from pathlib import Path

from harness.store.files import regular
from histories.printing import line as line_of


def ops_in(history: Path) -> bytes:
    """The lines of a history.jsonl without its header, which names the run's folder. Raises OSError."""
    return regular(history).read_bytes().partition(b"\n")[2]


def first_difference(before: bytes, after: bytes, name: str = "history") -> str | None:
    """The number and the text of the first line in which two runs of one spec differ; None when every byte is the same."""
    if before == after:
        return None
    old, new = before.splitlines(), after.splitlines()
    for number, (was, is_now) in enumerate(zip(old, new, strict=False), 1):
        if was != is_now:
            return f"{name} line {number} was\n  {_shorten(was)}\nand is now\n  {_shorten(is_now)}"
    return f"{name} had {len(old)} lines and has {len(new)} now, the first {min(len(old), len(new))} of them the same"


def _shorten(line: bytes) -> str:
    return line_of(line.decode(errors="replace"), 300)
