"""Reads what a run kept of its messages: the simulation's one file, or those of each real node, merged by time.

A real node keeps the latest of them (targets/wire_log.py), in segments beside the file that it writes.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.environments.sim.message_log import LogEntry
from harness.store.files import lines
from harness.store.runs import RunDirectory
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.tracing import segment_of
from histories.units import NS_PER_S

FILE = "messages.jsonl"
_STEM = "messages"


def has_messages(run: RunDirectory) -> bool:
    """Whether the run kept any."""
    return bool(_files(run))


def stored_entries(run: RunDirectory) -> Iterator[LogEntry]:
    """The entries of the run in order of time, from when on no node's are missing; leaves out lines that a kill cut off. Raises
    OSError."""
    merged = heapq.merge(*map(_entries, _files(run)), key=lambda entry: entry.time)
    since_ns = missing_before_ns(run)
    return merged if since_ns is None else itertools.dropwhile(lambda entry: entry.time < since_ns, merged)


def missing_before_ns(run: RunDirectory) -> int | None:
    """The time before which a node removed some of its messages; None where none did. Raises OSError."""
    starts = [next(_entries(paths), None) for paths in _files(run) if _number(paths[0]) > 1]
    return max((entry.time for entry in starts if entry is not None), default=None)


def missing_note(run: RunDirectory) -> str:
    """What is to be said of messages that are missing; "" where none is. Raises OSError."""
    since_ns = missing_before_ns(run)
    return (
        ""
        if since_ns is None
        else f"nodes removed their messages from before {since_ns / NS_PER_S:.0f} s: they keep the latest"
    )


def _files(run: RunDirectory) -> list[list[Path]]:
    """The files of each node, or of the simulation, in order of time."""
    found = [[run.path / FILE]]
    for directory in sorted({path.parent for path in run.nodes.glob(f"*/{_STEM}*.jsonl")}):
        closed = [path for path in directory.glob(f"{_STEM}-*.jsonl") if segment_of(path.name, _STEM) is not None]
        found.append([*sorted(closed, key=_number), directory / FILE])
    regular = ([path for path in paths if path.is_file() and not path.is_symlink()] for paths in found)
    return [paths for paths in regular if paths]


def _number(path: Path) -> int:
    """Of a segment; 0 of the file that is being written."""
    numbers = segment_of(path.name, _STEM)
    return 0 if numbers is None else numbers[0]


def _entries(paths: Iterable[Path]) -> Iterator[LogEntry]:
    decode = msgspec.json.Decoder(LogEntry).decode
    for path in paths:
        with path.open("rb") as file:
            for text in lines(file):
                try:
                    yield decoded(decode, text, FILE_DEPTH_MAX)
                except msgspec.DecodeError:
                    continue
