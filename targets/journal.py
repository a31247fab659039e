"""A node's trace file: one JSON line for each Trace effect, with true time since the run began.

Lines are written at the end of the loop's turn in one `write`, so that a `kill -9` loses at most the turn it interrupts. While
the run's beginning is not known yet, lines are kept; they are written when it is.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from histories.tracing import TraceEvent, TraceRecord
from targets.timekeeping import NodeClock

_KEPT_MAX = 100_000
_STARTED = b'"event":{"kind":"started"'


class Journal:
    """Appends to `path`. `epoch_ns` is the beginning of the run in true time; None when it will be told later.

    incarnation: which process of this node this is, counted from 1 by those that wrote to the file before.
    """

    def __init__(self, path: Path, node: str, clock: NodeClock, epoch_ns: int | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        self.incarnation = before.count(_STARTED) + 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if before and not before.endswith(b"\n"):
            os.write(
                self._file, b"\n"
            )  # The last process was killed within a line, which must not swallow the first of this one.
        self._node = node
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.json.Encoder().encode
        self._early: list[tuple[int, TraceEvent]] = []
        self._lines: list[bytes] = []

    def write(self, event: TraceEvent) -> None:
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
        early, self._early = self._early, []
        for true_ns, event in early:
            self._add(true_ns - epoch_ns, event)

    def close(self) -> None:
        """Write what is left. When nobody told the beginning of the run, the first line's time counts as it."""
        if self._early:
            self.begin(self._early[0][0])
        self._flush()
        os.close(self._file)

    def _add(self, time_ns: int, event: TraceEvent) -> None:
        if not self._lines:
            self._loop.call_soon(self._flush)
        self._lines.append(self._encode(TraceRecord(time_ns, self._node, event)))

    def _flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            lines.append(b"")
            data = b"\n".join(lines)
            while data:
                data = data[os.write(self._file, data) :]
