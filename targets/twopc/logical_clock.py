"""A logical clock (Lamport 1978): later than everything that the node has heard of."""

from __future__ import annotations


class LogicalClock:
    """Invariant: `now` never falls."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def tick(self) -> int:
        """A time that is later than all before."""
        self.now += 1
        return self.now

    def witness(self, timestamp: int) -> None:
        """Whatever happens here from now on is later than `timestamp`."""
        self.now = max(self.now, timestamp)
