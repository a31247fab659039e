"""Standard output and error that never raise: what cannot be written (a closed pipe, a full disk, a character that the terminal's
encoding lacks) changes neither the verdict nor its exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO


class Outlet(io.RawIOBase):
    """Writes to a file descriptor until it refuses; what comes after that is dropped. problem: why it refused."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.problem: OSError | None = None

    def write(self, data: Any) -> int:
        """All of `data` is written, or dropped."""
        left = memoryview(data).cast("B")
        count = len(left)
        while left and self.problem is None:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                os.set_blocking(self._descriptor, True)  # Somebody who shares the terminal made it so.
            except OSError as error:
                self.problem = error
        return count

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    @property
    def is_lost(self) -> bool:
        """Something was dropped that somebody may be waiting for: not because the reader of a pipe had enough."""
        return self.problem is not None and self.problem.errno != errno.EPIPE


def is_outlet(stream: object) -> bool:
    """Whether what is printed on the stream goes to an outlet."""
    return isinstance(getattr(getattr(stream, "buffer", None), "raw", None), Outlet)


def open_outlets() -> Outlet:
    """Let sys.stdout and sys.stderr be outlets; returns that of standard output.

    A descriptor of the three that is closed leads nowhere from now on: the next file to be opened would get its number, and what is
    printed would be written into a history.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, outlet = _text(1, sys.stdout)
    sys.stderr, _ = _text(2, sys.stderr)
    return outlet


def _text(descriptor: int, was: TextIO | None) -> tuple[io.TextIOWrapper, Outlet]:
    outlet = Outlet(descriptor)
    if was is not None:
        was.flush()
    encoding = getattr(was, "encoding", None) or "utf-8"
    is_prompt = descriptor == 2 or outlet.isatty() or bool(os.environ.get("PYTHONUNBUFFERED"))
    buffer = io.BufferedWriter(outlet)
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=is_prompt), outlet
