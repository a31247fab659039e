"""How long an explanation may take: a moment after which nothing new is begun, and what was found until then is told."""

from __future__ import annotations

import time


class OutOfTime(Exception):
    """The deadline passed."""


class Deadline:
    """A moment on the monotonic clock; `limit_s` seconds from its construction, or never (None)."""

    def __init__(self, limit_s: float | None = None) -> None:
        self._began_ns = time.monotonic_ns()
        self._at_ns = None if limit_s is None else self._began_ns + int(limit_s * 1e9)

    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return self._at_ns is not None and time.monotonic_ns() >= self._at_ns

    def require(self) -> None:
        """Raises OutOfTime when the moment has passed."""
        if self.is_over():
            raise OutOfTime

    def left_s(self) -> float | None:
        """Seconds until then, 0 when it has passed; None: without end."""
        return None if self._at_ns is None else max(0.0, (self._at_ns - time.monotonic_ns()) / 1e9)

    def share(self, part: float) -> Deadline:
        """A deadline after that part of the time that is left."""
        left_s = self.left_s()
        return Deadline(None if left_s is None else left_s * part)
