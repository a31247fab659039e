"""A node's trace file: one JSON line for each Trace effect, with true time since the run began.

Lines are written at the end of the loop's turn in one `write`, so that a `kill -9` loses at most the turn it interrupts. While
the run's beginning is not known yet, lines are kept; they are written when it is.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from targets.timekeeping import NodeClock

_KEPT_MAX = 100_000


class Line(msgspec.Struct, frozen=True, gc=False):
    """The fields of histories.tracing.TraceRecord, which this package may not import."""

    time: int
    node: str
    kind: str
    fields: dict[str, Any]


class Journal:
    """Appends to `path`. `epoch_ns` is the beginning of the run in true time; None when it will be told later."""

    def __init__(self, path: Path, node: str, clock: NodeClock, epoch_ns: int | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._node = node
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.json.Encoder().encode
        self._early: list[tuple[int, str, dict[str, Any]]] = []
        self._lines: list[bytes] = []

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        """Record that this happened now."""
        true_ns = self._clock.true_ns()
        if self._epoch_ns is None:
            if len(self._early) < _KEPT_MAX:
                # Encoded later, but the dict may be the core's own and change.
                self._early.append((true_ns, kind, dict(fields)))
            return
        self._add(true_ns - self._epoch_ns, kind, fields)

    def begin(self, epoch_ns: int) -> None:
        """The run began at this true time."""
        self._epoch_ns = epoch_ns
        early, self._early = self._early, []
        for true_ns, kind, fields in early:
            self._add(true_ns - epoch_ns, kind, fields)

    def close(self) -> None:
        """Write what is left. A beginning that was never told is taken to be the first line's."""
        if self._early:
            self.begin(self._early[0][0])
        self._flush()
        os.close(self._file)

    def _add(self, time_ns: int, kind: str, fields: dict[str, Any]) -> None:
        if not self._lines:
            self._loop.call_soon(self._flush)
        self._lines.append(self._encode(Line(time_ns, self._node, kind, fields)))

    def _flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            lines.append(b"")
            data = b"\n".join(lines)
            while data:
                data = data[os.write(self._file, data) :]
