"""The machine's own clock, moved against the one that counts since its start, and put back. Standard library only.

After a new start of the machine there is nothing to put back: it has read its hardware clock, and the counting began anew.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEP_S = 0.02
"""How often a clock that runs fast or slow is set."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _read_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def _steady_ns() -> int:
    # Nobody sets it; it is slewed as the wall clock is, so that the two stay as far apart; and it counts on in a suspension.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _set_ns(ns: int) -> None:
    time.clock_settime_ns(time.CLOCK_REALTIME, ns)


def boot_id() -> str:
    """Which start of which kernel this is: all that have the same one share one clock."""
    return BOOT_ID.read_text().strip()


class SystemClock:
    """Moves the clock. What it showed before is in a file before it is moved, so that it can be put back by others.

    Raises OSError where the clock cannot be set.
    """

    def __init__(
        self,
        path: Path,
        read_ns: Callable[[], int] = _read_ns,
        steady_ns: Callable[[], int] = _steady_ns,
        set_ns: Callable[[int], None] = _set_ns,
        boot_id: Callable[[], str] = boot_id,
    ) -> None:
        """path: the file, which is there as long as the clock may be wrong."""
        self._path = path
        self._read_ns = read_ns
        self._steady_ns = steady_ns
        self._set_ns = set_ns
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._rate = 1.0
        self._anchor = (0, 0)
        """(steady, shown) where the rate began."""
        self._stop = threading.Event()
        self._drift: threading.Thread | None = None

    def shift(self, offset_ns: int) -> None:
        """The clock shows what it would have shown plus this offset; its rate stays."""
        with self._lock:
            true_ns = self._difference_ns() + self._steady_ns()
            self._set_ns(true_ns + offset_ns)
            self._anchor = (self._steady_ns(), self._read_ns())

    def run_at(self, rate: float) -> None:
        """From now on it runs at so many seconds a second, by small steps. Raises ValueError unless 0.001 <= rate <= 1000."""
        if not 0.001 <= rate <= 1000:
            raise ValueError(f"rate: {rate} is not between 0.001 and 1000")
        with self._lock:
            self._difference_ns()
            self._anchor = (self._steady_ns(), self._read_ns())
            self._rate = rate
        if rate == 1.0:
            self._end_drift()
        elif self._drift is None:
            self._stop.clear()
            self._drift = threading.Thread(target=self._drive, name="clock", daemon=True)
            self._drift.start()

    def restore(self) -> None:
        """The clock shows what it would have shown. Idempotent; does nothing when it was never moved."""
        self._end_drift()
        with self._lock:
            self._rate = 1.0
            if (noted := self._noted()) is not None:
                if noted["boot_id"] == self._boot_id():
                    self._set_ns(noted["difference_ns"] + self._steady_ns())
                self._path.unlink()

    def _difference_ns(self) -> int:
        """How far the true clock was ahead of the steady one before the first move."""
        noted = self._noted()
        if noted is None:
            noted = {"boot_id": self._boot_id(), "difference_ns": self._read_ns() - self._steady_ns()}
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(noted))
            new.replace(self._path)
        found: int = noted["difference_ns"]
        return found

    def _noted(self) -> dict[str, Any] | None:
        """What the file holds; None when there is none."""
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        return found

    def _drive(self) -> None:
        while not self._stop.wait(STEP_S):
            with self._lock:
                since_ns = self._steady_ns() - self._anchor[0]
                self._set_ns(self._anchor[1] + int(since_ns * self._rate))

    def _end_drift(self) -> None:
        self._stop.set()
        if self._drift is not None:
            self._drift.join()
            self._drift = None
