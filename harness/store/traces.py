"""The trace files of a run's nodes, merged into one stream by time.

A node's trace is trace.jsonl; that of a long run in `local` or `netns` is in segments beside it, of which the oldest are removed
once they are checked (harness/run/live_traces.py).
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

import msgspec

from harness.store.files import lines, regular
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.tracing import SEGMENTS, TRACE_FILE, TraceRecord, segment_of

FILE = TRACE_FILE
SEGMENT_BYTES = 4 << 20
"""About how long a segment is."""
_END_BYTES = 1 << 16


def read_traces(nodes: Path) -> Iterator[TraceRecord]:
    """Every record of the traces below `nodes`/<n>, by time; a node's own order is kept. One record of each is held at a time.

    Leaves out lines that a kill cut off, and events of kinds that this version does not know.
    """
    streams = [_in_own_order(files_of(directory)) for directory in directories(nodes)]
    for _, record in heapq.merge(*streams, key=itemgetter(0)):
        yield record


def directories(nodes: Path) -> list[Path]:
    """The folders of nodes that have a trace, sorted."""
    return sorted({path.parent for pattern in (FILE, SEGMENTS) for path in nodes.glob(f"*/{pattern}")})


def segments_of(directory: Path) -> dict[int, Path]:
    """The closed segments of a node's trace by number, in order; number 0 is what is left of those that were removed."""
    found = {numbers[0]: path for path in directory.glob(SEGMENTS) if (numbers := segment_of(path.name)) is not None}
    return dict(sorted(found.items()))


def files_of(directory: Path) -> list[Path]:
    """The files of a node's trace, in order."""
    return [*segments_of(directory).values(), *directory.glob(FILE)]


def silent_nodes(nodes: Path, names: Iterable[str]) -> list[str]:
    """The nodes whose traces below `nodes` hold no record that can be read."""
    return [name for name in names if not _has_record(files_of(nodes / name))]


def _has_record(files: Iterable[Path]) -> bool:
    try:
        return any(True for _ in _in_own_order(files))
    except OSError:
        return False


def gap_of(nodes: Path, names: Iterable[str]) -> str:
    """What is missing of the traces of these nodes, in a few words; "" where each has one, of which every line can be read."""
    decode = msgspec.json.Decoder(TraceRecord).decode
    for name in names:
        path, number = nodes / name / FILE, 0
        try:
            with regular(path).open("rb") as file:
                for line in lines(file):
                    number += 1
                    decoded(decode, line, FILE_DEPTH_MAX)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        except msgspec.DecodeError:
            return f"{path}:{number}: not a record of a trace"
        if not number:
            return f"{path}: empty"
    return ""


def whole_span_ns(nodes: Path) -> tuple[int, int | None] | None:
    """From when to when no record of any node is missing, in ns; None for the end: until the run's. None where none was removed.

    Outside that span there may be only the records that tell when nodes started and led.
    """
    starts, ends = [], []
    for directory in directories(nodes):
        segments = segments_of(directory)
        if 0 not in segments:
            continue
        numbers = [number for number in segments if number > 0]
        # What was there when a rule was broken stays, and what came long after it goes on to be removed.
        gap = next((i for i, (a, b) in enumerate(itertools.pairwise(numbers)) if b != a + 1), None)
        kept = [segments[number] for number in (numbers if gap is None else numbers[: gap + 1])]
        files = kept if gap is not None else [*kept, *directory.glob(FILE)]
        starts.append(next((time_ns for time_ns, _ in _in_own_order(files)), 0))
        if gap is not None:
            ends.append(last_ns(files[-1]))
    return (max(starts), min(ends, default=None)) if starts else None


def last_ns(path: Path) -> int:
    """The time of the last whole record in the file; 0 where it has none, or where it cannot be found near the end."""
    try:
        with regular(path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            last = file.read().split(b"\n")
        return decoded(msgspec.json.Decoder(TraceRecord).decode, last[-2], FILE_DEPTH_MAX).time
    except (FileNotFoundError, IndexError, msgspec.DecodeError):
        return 0


def _in_own_order(paths: Iterable[Path]) -> Iterator[tuple[int, TraceRecord]]:
    """(when it counts, record) of one node. A record never counts as earlier than the one before it, whatever its clock said."""
    decode = msgspec.json.Decoder(TraceRecord).decode
    latest_ns = -(2**62)  # What nodes do before the run begins has times below 0, and an order too.
    for path in paths:
        with regular(path).open("rb") as file:
            for line in lines(file):
                try:
                    record = decoded(decode, line, FILE_DEPTH_MAX)
                except msgspec.DecodeError:
                    continue
                latest_ns = max(latest_ns, record.time)
                yield latest_ns, record
