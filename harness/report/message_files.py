"""Reads what a run kept of its messages: the simulation's one file, or one of each real node, merged by time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.environments.sim.message_log import LogEntry
from harness.store.runs import RunDirectory
from histories.json_text import FILE_DEPTH_MAX, decoded

FILE = "messages.jsonl"


def has_messages(run: RunDirectory) -> bool:
    """Whether the run kept any."""
    return bool(_files(run))


def stored_entries(run: RunDirectory) -> Iterator[LogEntry]:
    """The entries of the run in order of time; leaves out lines that a kill cut off. Raises OSError."""
    return heapq.merge(*map(_entries, _files(run)), key=lambda entry: entry.time)


def _files(run: RunDirectory) -> list[Path]:
    paths = [run.path / FILE, *sorted(run.nodes.glob(f"*/{FILE}"))]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _entries(path: Path) -> Iterator[LogEntry]:
    decode = msgspec.json.Decoder(LogEntry).decode
    with path.open("rb") as file:
        for text in file:
            try:
                yield decoded(decode, text, FILE_DEPTH_MAX)
            except msgspec.DecodeError:
                continue
