"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) during a run: the first asks it to end well, the second to be out at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to end."""


def is_heeded(number: signal.Signals) -> bool:
    """Whether the signal is to end a command: not where `nohup` told it to outlive its terminal."""
    return number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Inside, each of SIGNALS raises KeyboardInterrupt as Ctrl-C does: for commands that have nothing to heal.

    In a thread other than the main one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in SIGNALS if is_heeded(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interruption:
    """is_asked: the user wants the run to end. is_aborted: the user wants it to end at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self.is_aborted = False
        self._stop: Callable[[], None] | None = None
        self._is_shielded = False

    def on_ask(self, stop: Callable[[], None]) -> None:
        """Call `stop` at the first signal; immediately when it has come already."""
        self._stop = stop
        if self.is_asked:
            stop()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Inside, this object gets SIGNALS. In a thread other than the main one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._received) for number in SIGNALS if is_heeded(number)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if not self.is_asked:
            self.is_asked = True
            with suppress(OSError):  # The terminal may be gone.
                click.echo(
                    "\nthemis: ending the run: healing, then checking what there is (again to leave at once)", err=True
                )
            if self._stop is not None:
                self._stop()
        elif not self.is_aborted:
            self.is_aborted = True
            if not self._is_shielded:
                raise KeyboardInterrupt

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Inside, no signal cuts anything short; one that asked the run to end at once takes effect on the way out."""
        was_aborted, self._is_shielded = self.is_aborted, True
        try:
            yield
        finally:
            self._is_shielded = False
        if self.is_aborted and not was_aborted:
            raise KeyboardInterrupt
