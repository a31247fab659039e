"""What an analysis of the values finds before any cycle is looked for: anomalies, and the dependencies with their reasons."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Anomaly(msgspec.Struct, frozen=True):
    """One anomaly that is no cycle.

    words: one sentence, with T1, T2, ... for transactions[0], [1], ... transactions: their numbers.
    """

    name: str
    key: Any
    words: str
    transactions: tuple[int, ...]


class Reason(msgspec.Struct, frozen=True):
    """Why one transaction comes before another by the data.

    before, after: the version of `key` on each side: the last element of a list, the value of a register; None for the initial
    state. unseen: no read shows `after`, so that it comes after all that was read. witness: numbers of the transactions that
    show the order of the two versions, where the two transactions alone do not. rule: of registers, the assumption behind the
    order.
    """

    type: int
    key: Any
    before: Any
    after: Any
    unseen: bool = False
    witness: tuple[int, ...] = ()
    rule: str = ""


Overtaken = tuple[int, ...]
"""Transactions, from the reader to the writer: each but the reader wrote the key, and a later version than the one before it."""


class Dependencies(Protocol):
    """What explains an edge again after a cycle was found. It may look at the whole history: it is asked a few times only."""

    @property
    def assumed(self) -> tuple[str, ...]:
        """The assumptions that edges may rest on: those asked for, without those that the history contradicts."""
        ...

    @property
    def unordered(self) -> list[tuple[Any, list[int]]]:
        """Keys, each with transactions that succeeded and wrote it one after the other, in an order that nothing shows."""
        ...

    def reason(self, type: int, before: int, after: int) -> Reason:
        """Why there is an edge of this type between these transactions."""
        ...

    def overtaken(self, reader: int, writer: int, since: int = -1) -> Overtaken | None:
        """How a version of a key that `reader` read, at a step behind `since`, comes before one of `writer`'s; None: nothing shows
        it. What a transaction reads of a key after it wrote it does not count."""
        ...

    def met_at(self, reader: int, writer: int) -> int:
        """The number of the first step at which `reader` read what `writer` wrote, where an edge wr joins them."""
        ...
