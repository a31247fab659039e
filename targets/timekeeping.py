"""A node's own clock, which a fault may shift or let run fast or slow, and timers, which a shift does not move.

True time here is one reading of the wall clock, continued by the monotonic clock: it never jumps by itself. Processes on one
machine that are given the same pair of readings share it exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from targets.skewed_clock import BILLION, SkewedClock


class Reading(msgspec.Struct, frozen=True):
    """The wall clock and the monotonic clock, in ns, read together."""

    wall_ns: int
    monotonic_ns: int

    @classmethod
    def now(cls) -> Reading:
        """Both clocks, read now."""
        return cls(time.time_ns(), time.monotonic_ns())

    @classmethod
    def parse(cls, text: str) -> Reading:
        """From "wall@monotonic". Raises ValueError."""
        wall, _, monotonic = text.partition("@")
        return cls(int(wall), int(monotonic))

    def __str__(self) -> str:
        return f"{self.wall_ns}@{self.monotonic_ns}"

    def true_ns(self) -> int:
        """True time now, as ns of the wall clock."""
        return self.wall_ns + time.monotonic_ns() - self.monotonic_ns


class NodeClock:
    """A SkewedClock in real time: it reads true time plus an offset, or runs at another rate from some moment on."""

    def __init__(self, origin: Reading, offset_ns: int = 0, rate: float = 1.0) -> None:
        self._origin = origin
        self._clock = SkewedClock()
        now_ns = origin.true_ns()
        self._clock.set_rate(now_ns, rate)
        self._clock.set_offset(now_ns, offset_ns)

    @property
    def rate(self) -> float:
        """Its seconds a true second."""
        return self._clock.rate_ppb / BILLION

    def true_ns(self) -> int:
        """True time, which no fault moves."""
        return self._origin.true_ns()

    def now_ns(self) -> int:
        """What this clock shows."""
        return self._clock.local_ns(self._origin.true_ns())

    def monotonic_ns(self) -> int:
        """What the node's monotonic clock shows, on which its timers run: it drifts with this clock and never jumps."""
        return self._clock.monotonic_ns(self._origin.true_ns())

    def set_offset_ns(self, offset_ns: int) -> None:
        """The clock jumps to true time plus this offset; the rate stays."""
        self._clock.set_offset(self._origin.true_ns(), offset_ns)

    def set_rate(self, rate: float) -> None:
        """From now on it runs at `rate` seconds a second, without a jump. Raises ValueError unless 0.001 <= rate <= 1000."""
        if not 0.001 <= rate <= 1000:
            raise ValueError(f"rate: {rate} is not between 0.001 and 1000")
        self._clock.set_rate(self._origin.true_ns(), rate)


class _Timer:
    """due_ns: on the node's monotonic clock. handle_due_ns: when the event loop's handle fires."""

    __slots__ = ("due_ns", "handle", "handle_due_ns")

    def __init__(self, due_ns: int, handle: asyncio.TimerHandle) -> None:
        self.due_ns = due_ns
        self.handle = handle
        self.handle_due_ns = due_ns


class Timers:
    """Named timers on a node's monotonic clock. A timer that is moved later keeps its handle in the event loop, which then checks
    the time again."""

    def __init__(self, clock: NodeClock, fire: Callable[[str], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, _Timer] = {}

    def set(self, name: str, delay_ns: int) -> None:
        """Fire `name` once, `delay_ns` from now on the node's monotonic clock; an earlier setting is forgotten."""
        due_ns = self._clock.monotonic_ns() + max(delay_ns, 0)
        timer = self._timers.get(name)
        if timer is None:
            self._timers[name] = _Timer(due_ns, self._schedule(name, due_ns))
        elif due_ns >= timer.handle_due_ns:
            timer.due_ns = due_ns
        else:
            self._move(name, timer, due_ns)

    def cancel(self, name: str) -> None:
        """Forget `name`; it need not be set."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.handle.cancel()

    def rate_changed(self) -> None:
        """The clock runs differently: every timer is due at the same reading, at another true time."""
        for name, timer in self._timers.items():
            self._move(name, timer, timer.due_ns)

    def close(self) -> None:
        """No timer fires any more."""
        for timer in self._timers.values():
            timer.handle.cancel()
        self._timers.clear()

    def _schedule(self, name: str, due_ns: int) -> asyncio.TimerHandle:
        delay_ns = (due_ns - self._clock.monotonic_ns()) / self._clock.rate
        return self._loop.call_later(max(delay_ns / 1e9, 0.001), self._look, name)

    def _move(self, name: str, timer: _Timer, due_ns: int) -> None:
        timer.handle.cancel()
        timer.due_ns = timer.handle_due_ns = due_ns
        timer.handle = self._schedule(name, due_ns)

    def _look(self, name: str) -> None:
        timer = self._timers[name]
        if self._clock.monotonic_ns() < timer.due_ns:  # Moved later, or the loop was early by its resolution.
            self._move(name, timer, timer.due_ns)
        else:
            del self._timers[name]
            self._fire(name)
