"""The leader's lease (thesis §6.4.1): for a while after a majority has answered it, no other node can have been elected, and a read
needs no round of messages.

It rests on clocks. A member that hears from a leader votes for nobody until the least election time-out has passed on its own
clock; so does one that has just started, which may have heard from one before. The leader counts from when it *sent* what a
majority has answered, on its own clock, and divides by how much faster than its own another clock may run. Clocks may be apart by
any offset; they must not jump, and the fastest must run at most `lease_drift` times as fast as the slowest: the stated bound.
"""

from __future__ import annotations

from collections import deque


class Lease:
    """One leadership's. length_ns: how long it lasts, on the leader's clock."""

    __slots__ = ("_length_ns", "_sent", "_since_ns", "now_ns")

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._since_ns: int | None = None
        self._sent: deque[tuple[int, int]] = deque()
        """(sequence, when it was sent) of what is not answered yet; the first of each moment."""
        self.now_ns = 0

    def sent(self, sequence: int) -> None:
        """The message of this number is sent now."""
        if not self._sent or self._sent[-1][1] != self.now_ns:
            self._sent.append((sequence, self.now_ns))

    def answered(self, sequence: int) -> None:
        """A majority has answered messages of this number or later ones."""
        sent = self._sent
        while sent and sent[0][0] <= sequence:
            self._since_ns = sent.popleft()[1]

    @property
    def is_held(self) -> bool:
        """Nobody else can have been elected yet."""
        return self._since_ns is not None and 0 <= self.now_ns - self._since_ns < self._length_ns
