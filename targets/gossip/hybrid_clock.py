"""A hybrid logical clock (Kulkarni et al. 2014): near the wall clock, and always later than whatever the node has seen.

A stamp is one integer: milliseconds times 65,536 plus a counter. So stamps follow causes, however wrong the wall clock is.
"""

from __future__ import annotations

NS_PER_MS = 1_000_000
COUNTER_BITS = 16


class HybridClock:
    """latest: the greatest stamp that the node gave or saw."""

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = 0

    def stamp(self, now_ns: int) -> int:
        """A stamp later than every one before."""
        self.latest = max((now_ns // NS_PER_MS) << COUNTER_BITS, self.latest + 1)
        return self.latest

    def observe(self, stamp: int) -> None:
        """Later stamps are later than this one."""
        self.latest = max(self.latest, stamp)
