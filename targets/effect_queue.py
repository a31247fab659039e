"""The rules that say when a core's effects may be visible (targets.core, rules 1, 2 and 4), without I/O or a clock.

Records are numbered as they are put. An effect that comes after a record waits until that record is durable, with the effects of
later steps behind it. Three kinds never wait. A `Persist` goes to the disk at once: the others wait for it. Timers concern only the
node itself, and a heartbeat's time-out needs no disk; so a timer that was moved never fires for its old time. And a `Halt` stops
the node at once: what waits is lost, as in a crash.

When records become durable, first the effects that waited for them are performed, in order. Then their tokens are announced, in
order: so the effects that answer a token come after the earlier ones.

The real node runs on this queue (targets/outbox.py). The simulated one has the same rules written out, because a call for each
effect would cost it a tenth of its speed; harness/tests/test_sim_effects.py compares it with this queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from targets.core import CancelTimer, Effect, Halt, Persist, SetTimer

E = TypeVar("E")
"""A driver's own effects beside those of cores."""


class EffectQueue(Generic[E]):
    """The effects of one process that may not be visible yet.

    persisted_count, durable_count: how many of its records were put, and how many are durable. Invariant: something waits only
    while durable_count < persisted_count.
    """

    def __init__(self) -> None:
        self.persisted_count = 0
        self.durable_count = 0
        self._waiting: deque[tuple[int, Effect | E]] = deque()
        self._tokens: deque[tuple[int, int]] = deque()

    @property
    def is_idle(self) -> bool:
        """Nothing waits for the disk."""
        return not self._waiting and self.persisted_count == self.durable_count

    def put(self, effects: Iterable[Effect | E]) -> list[Effect | E]:
        """Take the effects of one step; return those to be performed now, in order. Nothing after a Halt is taken."""
        now: list[Effect | E] = []
        for effect in effects:
            match effect:
                case Persist():
                    self.persisted_count += 1
                    if effect.token is not None:
                        self._tokens.append((self.persisted_count, effect.token))
                    now.append(effect)
                case SetTimer() | CancelTimer():
                    now.append(effect)
                case Halt():
                    now.append(effect)
                    break
                case _ if self.durable_count < self.persisted_count:
                    self._waiting.append((self.persisted_count, effect))
                case _:
                    now.append(effect)
        return now

    def synced(self, count: int) -> tuple[list[Effect | E], list[int]]:
        """The first `count` records are durable. Returns the effects to be performed now, and the tokens to be announced after
        them."""
        assert self.durable_count <= count <= self.persisted_count
        self.durable_count = count
        effects, tokens = [], []
        while self._waiting and self._waiting[0][0] <= count:
            effects.append(self._waiting.popleft()[1])
        while self._tokens and self._tokens[0][0] <= count:
            tokens.append(self._tokens.popleft()[1])
        return effects, tokens

    def drop(self) -> None:
        """The disk refused, or the process is gone: effects that wait will never be visible, and later ones wait for nothing."""
        self._waiting.clear()
        self._tokens.clear()
        self.durable_count = self.persisted_count
