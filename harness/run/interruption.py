"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) during a run: the first asks it to end well, the second to be out at once."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from harness.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to end."""


def is_heeded(number: signal.Signals) -> bool:
    """Whether the signal is to end a command: not where `nohup` told it to outlive its terminal."""
    return number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


def raise_interrupts(
    times_max: float = math.inf, leave: Callable[[int], NoReturn] | None = None
) -> dict[signal.Signals, Any]:
    """From now on each of SIGNALS raises Interrupted: for commands that have nothing to heal. Returns the handlers before.

    times_max: so often; the next signal calls `leave` with its number.
    """
    times = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        if leave is not None and times > times_max:
            leave(number)
        if _held is not None:
            _held.append(number)
        else:
            raise Interrupted(number)

    return {number: signal.signal(number, interrupt) for number in SIGNALS if is_heeded(number)}


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Inside, each of SIGNALS raises Interrupted. In a thread other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = raise_interrupts()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_held: list[int] | None = None
"""Signals that came where interrupts_waiting holds them up; None elsewhere."""


@contextmanager
def interrupts_waiting() -> Iterator[None]:
    """What raising_interrupts raises for a signal that comes inside is raised on the way out, whatever else happened there.

    In a thread other than the main one nothing changes: Python runs no handler there.
    """
    global _held
    if threading.current_thread() is not threading.main_thread() or _held is not None:
        yield
        return
    came: list[int] = []
    _held = came
    try:
        yield
    finally:
        _held = None
        if came:
            raise Interrupted(came[0])


SENT_AGAIN_S = 0.02


def send_again(lost: Interrupted) -> None:
    """Send a signal to this process once more, soon: what it raised came where an object was removed, and Python passes on nothing
    that is raised there. Loading a module removes objects, too."""
    main = threading.main_thread().ident
    assert main is not None, "the main thread has begun"
    timer = threading.Timer(SENT_AGAIN_S, signal.pthread_kill, (main, lost.number))
    timer.daemon = True
    timer.start()


class Interruption:
    """number: the first signal that asked the run to end; None: none did. is_aborted: a second one asked it to end at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_aborted = False
        self._stop: Callable[[], None] | None = None
        self._is_preparing = False
        self._is_shielded = False

    @property
    def is_asked(self) -> bool:
        """Somebody wants the run to end."""
        return self.number is not None

    @property
    def signal_name(self) -> str:
        """Of the first signal, such as SIGINT; "" when there was none."""
        return "" if self.number is None else signal.Signals(self.number).name

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Inside, nothing has begun that could end well: the first signal raises Interrupted."""
        self._is_preparing = True
        try:
            yield
        finally:
            self._is_preparing = False

    def on_ask(self, stop: Callable[[], None]) -> None:
        """Call `stop` at the first signal; immediately when it has come already."""
        self._stop = stop
        if self.is_asked:
            stop()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Inside, this object gets the signals. In a thread other than the main one nothing changes."""
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
        if self._is_preparing:
            raise Interrupted(number, "the run had not begun, and nothing is left of it")
        if not self.is_asked:
            self.number = number
            with suppress(OSError):  # The terminal may be gone.
                click.echo(
                    "\nthemis: ending the run: healing, then checking what there is (again to leave at once)", err=True
                )
            if self._stop is not None:
                self._stop()
        elif not self.is_aborted:
            self.is_aborted = True
            if not self._is_shielded:
                raise Interrupted(number)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Inside, no signal cuts anything short; one that asked the run to end at once takes effect on the way out."""
        was_aborted, self._is_shielded = self.is_aborted, True
        try:
            yield
        finally:
            self._is_shielded = False
        if self.is_aborted and not was_aborted:
            raise Interrupted(self.number or signal.SIGINT)

    @contextmanager
    def unshielded(self) -> Iterator[None]:
        """Inside, within a shield, a signal takes effect at once, or on the way in where it came before. So there is no moment
        between what a signal may cut short and the shielded tear-down that follows it."""
        self._is_shielded = False
        if self.is_aborted:
            raise Interrupted(self.number or signal.SIGINT)
        try:
            yield
        finally:
            self._is_shielded = True
