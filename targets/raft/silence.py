"""Measures how long a node has heard nothing from a leader, on its own clock: this says when to stand for election, and which
candidates to refuse.

The election timer is not moved by every message. When it fires, the node looks how long it has been quiet and waits for
the rest. A clock that jumps or runs fast costs an election too many or too late, never a wrong answer.
"""

from __future__ import annotations

import random


class Silence:
    """since_ns: when the leader was last heard, or a vote given. heard_ns: when a leader was last heard, or this process began,
    which may have heard one before. timeout_ns: how long this node waits; drawn anew for every election."""

    __slots__ = ("_max_ns", "_min_ns", "_rng", "heard_ns", "since_ns", "timeout_ns")

    def __init__(self, min_ns: int, max_ns: int, rng: random.Random) -> None:
        self._min_ns = min_ns
        self._max_ns = max_ns
        self._rng = rng
        self.since_ns = 0
        self.heard_ns = 0
        self.timeout_ns = max_ns

    def begin(self, now_ns: int) -> int:
        """Silence begins now, with a new time-out from the fixed interval (Raft §5.2), which is returned."""
        self.since_ns = now_ns
        self.timeout_ns = self._min_ns + int(self._rng.random() * (self._max_ns - self._min_ns))
        return self.timeout_ns

    def remaining_ns(self, now_ns: int) -> int:
        """How much of the time-out is left; 0 or less when the time-out has passed."""
        if now_ns < self.since_ns:  # The clock was set back: when the last word came is not known any more.
            self.since_ns = now_ns
        return self.since_ns + self.timeout_ns - now_ns

    def is_short(self, now_ns: int) -> bool:
        """A leader was heard within the least time-out: nobody has a reason to stand for election (thesis §4.2.3)."""
        return 0 <= now_ns - self.since_ns < self._min_ns

    def is_sworn(self, now_ns: int) -> bool:
        """A leader may count on it that this node votes for nobody yet: it was heard within the least time-out (thesis §6.4.1).

        Also while the clock stands before that, as after a jump: nobody knows then how long ago it was, and to wait is safe.
        """
        return now_ns - self.heard_ns < self._min_ns
