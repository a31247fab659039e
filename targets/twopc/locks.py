"""Locks by key, and who waits for them.

A transaction asks for all its locks of a shard at once, and gets all or none. Nobody overtakes one that waits for the same key, so
that a stream of readers starves no writer. Within a shard there is no deadlock; over several the policy prevents it
(Rosenkrantz, Stearns and Lewis 1978: wait-die) or a time-out ends it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from targets.machines.machine import Key
from targets.twopc.transactions import TxnId


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """The locks of one transaction: keys that it shares with other readers, and keys that it has alone."""

    txn: TxnId
    shared: tuple[Key, ...]
    exclusive: tuple[Key, ...]


class LockTable:
    """Invariant: a key has one exclusive holder, or any number of holders that share it."""

    __slots__ = ("_alone", "_held", "_sharing", "_waiting")

    def __init__(self) -> None:
        self._alone: dict[Key, TxnId] = {}
        self._sharing: dict[Key, dict[TxnId, None]] = {}
        self._held: dict[TxnId, Wanted] = {}
        self._waiting: dict[TxnId, Wanted] = {}

    @property
    def held_count(self) -> int:
        """Transactions that hold locks."""
        return len(self._held)

    @property
    def waiting_count(self) -> int:
        """Transactions that wait for locks."""
        return len(self._waiting)

    def conflicts(self, wanted: Wanted) -> tuple[TxnId, ...]:
        """Those that hold what `wanted` cannot have, or wait for it and came before; sorted."""
        found = {*self._holders(wanted)}
        shared, exclusive = {*wanted.shared}, {*wanted.exclusive}
        for other in self._waiting.values():
            if other.txn == wanted.txn:
                break
            if not exclusive.isdisjoint((*other.shared, *other.exclusive)) or not shared.isdisjoint(other.exclusive):
                found.add(other.txn)
        found.discard(wanted.txn)
        return tuple(sorted(found))

    def _holders(self, wanted: Wanted) -> Iterable[TxnId]:
        for key in (*wanted.shared, *wanted.exclusive):
            if key in self._alone:
                yield self._alone[key]
        for key in wanted.exclusive:
            yield from self._sharing.get(key, ())

    def hold(self, wanted: Wanted) -> None:
        """The transaction has these locks. Nothing in the healthy protocol asks for one that another has."""
        self._waiting.pop(wanted.txn, None)
        self._held[wanted.txn] = wanted
        for key in wanted.exclusive:
            self._alone[key] = wanted.txn
        for key in wanted.shared:
            self._sharing.setdefault(key, {})[wanted.txn] = None

    def wait(self, wanted: Wanted) -> None:
        """The transaction stands in line, behind all that do."""
        self._waiting[wanted.txn] = wanted

    def release(self, txn: TxnId, *, shared_only: bool = False) -> None:
        """The transaction has no locks, or only those that it does not share, and waits for none."""
        self._waiting.pop(txn, None)
        wanted = self._held.get(txn)
        if wanted is None:
            return
        for key in wanted.shared:
            holders = self._sharing.get(key, {})
            holders.pop(txn, None)
            if not holders:
                self._sharing.pop(key, None)
        if shared_only:
            self._held[txn] = msgspec.structs.replace(wanted, shared=())
            return
        del self._held[txn]
        for key in wanted.exclusive:
            if self._alone.get(key) == txn:
                del self._alone[key]

    def grantable(self) -> TxnId | None:
        """The first in line that nobody stands before any more."""
        return next((txn for txn, wanted in self._waiting.items() if not self.conflicts(wanted)), None)
