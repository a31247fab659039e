"""Shows how far a long command is: one line that renews itself in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from harness.report.summary import counted

TERMINAL_EVERY_S = 0.5
SILENT_S = 5.0
"""What takes no longer is done without a word."""
PLAIN_EVERY_S = 30.0
_ERASED = "\r\x1b[K"


def is_terminal(stream: TextIO) -> bool:
    """Whether a line can be drawn over itself there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def fitted(text: str) -> str:
    """As much of the text as stands on one line of the terminal: a second line would stay when the first is drawn again."""
    width = max(1, shutil.get_terminal_size().columns - 1)
    return text if len(text) <= width else text[: width - 1] + "…"


class StatusLine:
    """Shows the latest of many states. In a terminal the line is drawn over itself, and `clear` removes it before anything else is
    printed. Elsewhere, as in a log, it prints whole lines, but seldom."""

    def __init__(self, stream: TextIO, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock_s = clock_s
        self._is_terminal = is_terminal(stream)
        self._shown_s = clock_s()
        self._is_drawn = False

    def show(self, text: str) -> None:
        """Let the line say `text`, unless it was drawn a moment ago."""
        now_s = self._clock_s()
        if now_s < self._shown_s + (TERMINAL_EVERY_S if self._is_terminal else PLAIN_EVERY_S):
            return
        self._shown_s = now_s
        self._stream.write(f"{_ERASED}{fitted(text)}" if self._is_terminal else f"{text}\n")
        self._stream.flush()
        self._is_drawn = self._is_terminal

    def clear(self) -> None:
        """Remove the line from the terminal."""
        if self._is_drawn:
            self._stream.write(_ERASED)
            self._stream.flush()
            self._is_drawn = False


class ProgressLine:
    """Shows how many of `total` are done, in a status line."""

    def __init__(self, stream: TextIO, noun: str, total: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._line = StatusLine(stream, clock_s)
        self._noun = noun
        self._total = total
        self._clock_s = clock_s
        self._began_s = clock_s()

    def show(self, done: int) -> None:
        """Let the line say `done`, unless it was drawn a moment ago."""
        rate_hz = done / max(self._clock_s() - self._began_s, 1e-9)
        self._line.show(f"{done} of {counted(self._total, self._noun)}, {rate_hz:.1f} a second")

    def clear(self) -> None:
        """Remove the line from the terminal."""
        self._line.clear()


@contextmanager
def waiting(stream: TextIO, what: str, silent_s: float = SILENT_S) -> Iterator[None]:
    """From `silent_s` on, a terminal shows what is being done inside and for how long; the line is gone at the end."""
    if not is_terminal(stream):
        yield
        return
    over, began_s = threading.Event(), time.monotonic()

    def show() -> None:
        patience_s = silent_s
        with suppress(OSError, ValueError):  # The terminal may go away.
            while not over.wait(patience_s):
                patience_s = TERMINAL_EVERY_S
                stream.write(f"{_ERASED}{fitted(f'{what}: {time.monotonic() - began_s:.0f} s')}")
                stream.flush()
            if patience_s != silent_s:
                stream.write(_ERASED)
                stream.flush()

    shower = threading.Thread(target=show, name="themis-waiting", daemon=True)
    shower.start()
    try:
        yield
    finally:
        over.set()
        shower.join(timeout=SILENT_S)
