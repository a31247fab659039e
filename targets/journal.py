"""A node's trace file: one JSON line for each Trace effect, with true time since the run began.

Lines are written at the end of the loop's turn in one `write`, so that a `kill -9` loses at most the turn it interrupts. While
the run's beginning is not known yet, lines are kept; they are written when it is.

Where the harness reads along (harness/run/live_traces.py), it asks for segments: a file that has become as long as SEGMENT_VARIABLE
says gets a name of its own (histories.tracing.segment_name) and changes no more, so that it can be removed once it is checked. The
process holds a lock on the file that it writes, so that who reads along can tell whether more may come. Nobody reads messages
along: of their segments the journal itself removes the oldest.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from histories.tracing import TraceRecord, segment_name, segment_of
from targets.timekeeping import NodeClock

SEGMENT_VARIABLE = "THEMIS_TRACE_SEGMENT_BYTES"
"""How long a file of the trace becomes; without it there is one file."""

_KEPT_MAX = 100_000
_BLOCK_BYTES = 1 << 20
_STARTED = b'"event":{"kind":"started"'


class Journal:
    """Appends to `path`. `epoch_ns` is the beginning of the run in true time; None when it will be told later.

    incarnation: which process of this node this is, counted from 1 by those that wrote before. segment_bytes: about how long a file
    becomes before the next one is begun; None: there is one. segments_kept: so many closed ones stay, the latest; None: all. line:
    what is written of a time, the node and an event. companion: another one, to which the beginning of the run and the end are told
    as well.
    """

    companion: Journal | None = None

    def __init__(
        self,
        path: Path,
        node: str,
        clock: NodeClock,
        epoch_ns: int | None,
        segment_bytes: int | None = None,
        segments_kept: int | None = None,
        line: Callable[[int, str, Any], Any] = TraceRecord,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._segment, earlier = max(self._closed(), default=(0, 0))
        self._segment_bytes = segment_bytes
        self._segments_kept = segments_kept
        starts, is_cut = _counted(path)
        self.incarnation = earlier + starts + 1
        self._file = _open_locked(path)
        if is_cut:
            os.write(
                self._file, b"\n"
            )  # The last process was killed within a line, which must not swallow the first of this one.
        self._size = os.fstat(self._file).st_size
        self._node = node
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.json.Encoder().encode
        self._early: list[tuple[int, Any]] = []
        self._line = line
        self._lines: list[bytes] = []

    def write(self, event: Any) -> None:
        """Record that this happened now."""
        true_ns = self._clock.true_ns()
        if self._epoch_ns is None:
            if len(self._early) < _KEPT_MAX:
                self._early.append((true_ns, event))
            return
        self._add(true_ns - self._epoch_ns, event)

    def begin(self, epoch_ns: int) -> None:
        """The run began at this true time."""
        self._epoch_ns = epoch_ns
        if self.companion is not None:
            self.companion.begin(epoch_ns)
        early, self._early = self._early, []
        for true_ns, event in early:
            self._add(true_ns - epoch_ns, event)

    def close(self) -> None:
        """Write what is left. When nobody told the beginning of the run, the first line's time counts as it."""
        if self._early:
            self.begin(self._early[0][0])
        self._flush()
        os.close(self._file)
        if self.companion is not None:
            self.companion.close()

    def _add(self, time_ns: int, event: Any) -> None:
        if not self._lines:
            self._loop.call_soon(self._flush)
        self._lines.append(self._encode(self._line(time_ns, self._node, event)))

    def _flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            lines.append(b"")
            data = b"\n".join(lines)
            self._size += len(data)
            while data:
                data = data[os.write(self._file, data) :]
            if self._segment_bytes is not None and self._size >= self._segment_bytes:
                self._close_segment()

    def _close_segment(self) -> None:
        """The file has a segment's name, and the next one is begun: it is locked before it has the trace's name."""
        new = self._path.with_suffix(".new")
        file = _open_locked(new, os.O_TRUNC)
        self._segment += 1
        os.rename(self._path, self._named(self._segment, self.incarnation))
        os.rename(new, self._path)
        os.close(self._file)
        self._file, self._size = file, 0
        if self._segments_kept is not None:
            for number, incarnation in self._closed():
                if number <= self._segment - self._segments_kept:
                    self._named(number, incarnation).unlink(missing_ok=True)

    def _closed(self) -> list[tuple[int, int]]:
        """(number, incarnation) of each closed segment that is there."""
        stem = self._path.stem
        found = (segment_of(each.name, stem) for each in self._path.parent.glob(f"{stem}-*.jsonl"))
        return [numbers for numbers in found if numbers is not None]

    def _named(self, number: int, incarnation: int) -> Path:
        return self._path.with_name(segment_name(number, incarnation, self._path.stem))


def _open_locked(path: Path, flags: int = 0) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _counted(path: Path) -> tuple[int, bool]:
    """How many processes began in the file, and whether its last line is cut off."""
    count, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                held = last[-len(_STARTED) + 1 :] + block
                count += held.count(_STARTED)
                last = held[-len(_STARTED) :]
    except FileNotFoundError:
        pass
    return count, not last.endswith(b"\n")
