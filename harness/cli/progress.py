"""Shows how far a long command is: one line that renews itself in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_EVERY_S = 0.5
PLAIN_EVERY_S = 30.0
_ERASED = "\r\x1b[K"


class ProgressLine:
    """Shows how many of `total` are done. In a terminal the line is drawn over itself, and `clear` removes it before anything else
    is printed. Elsewhere, as in a log, it prints whole lines, but seldom."""

    def __init__(self, stream: TextIO, noun: str, total: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._noun = noun
        self._total = total
        self._clock_s = clock_s
        self._is_terminal = stream.isatty()
        self._began_s = self._shown_s = clock_s()
        self._is_drawn = False

    def show(self, done: int) -> None:
        """Let the line say `done`, unless it was drawn a moment ago."""
        now_s = self._clock_s()
        if now_s < self._shown_s + (TERMINAL_EVERY_S if self._is_terminal else PLAIN_EVERY_S):
            return
        self._shown_s = now_s
        text = f"{done} of {self._total} {self._noun}s, {done / (now_s - self._began_s):.1f} a second"
        self._stream.write(f"{_ERASED}{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()
        self._is_drawn = self._is_terminal

    def clear(self) -> None:
        """Remove the line from the terminal."""
        if self._is_drawn:
            self._stream.write(_ERASED)
            self._stream.flush()
            self._is_drawn = False
