"""The acceptor: one promise for all slots, and what it accepted in each (PMS §2.2, §3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, repeat
from typing import Any

from histories.tracing import Promised as PromisedEvent
from targets.core import Effect, Persist, Trace
from targets.paxos import bugs as zoo
from targets.paxos.ballots import NO_BALLOT, Ballot
from targets.paxos.multi import traces
from targets.paxos.multi.entries import Entry, Held
from targets.paxos.multi.records import Accepted, Promised


class Acceptor:
    """promised: it accepts nothing below this; it never falls. held: slot -> (ballot, entry), behind the last snapshot.

    Invariant: the ballot of what is held never exceeds `promised`.
    """

    __slots__ = ("_bugs", "_untold", "held", "promised")

    def __init__(self, bugs: frozenset[str]) -> None:
        self._bugs = bugs
        self.promised: Ballot = NO_BALLOT
        self.held: dict[int, tuple[Ballot, Entry[Any]]] = {}
        self._untold: set[int] = set()
        """Slots whose acceptance came from the disk: a crash may have come between its record and its trace."""

    # --- from the disk --------------------------------------------------------------------------------------------------

    def recover(self, ballot: Ballot, held: Iterable[Held[Any]] = ()) -> None:
        """The disk holds this promise, and these acceptances."""
        self.promised = max(ballot, self.promised)
        for one in held:
            self.held[one.slot] = (one.ballot, one.entry)

    def recover_accepted(self, records: Sequence[Accepted[Any]]) -> None:
        """The disk holds these acceptances, in this order. Every restart reads them all, and most are of one slot."""
        held = self.held
        ballot = max([record.ballot for record in records], default=NO_BALLOT)
        self.promised = max(ballot, self.promised)
        for record in records:
            ballot, slot, entries = record.ballot, record.slot, record.entries
            if len(entries) == 1:
                held[slot] = ballot, entries[0]
            else:
                held.update(zip(count(slot), zip(repeat(ballot), entries, strict=False), strict=False))

    def recovered(self, index: int) -> None:
        """That is all of the disk; a snapshot stands for the slots up to `index`."""
        self.forget(index)
        self._untold = set(self.held)

    def forget(self, index: int) -> None:
        """A snapshot stands for the slots up to `index`."""
        for slot in [slot for slot in self.held if slot <= index]:
            del self.held[slot]

    # --- phases ---------------------------------------------------------------------------------------------------------

    def promise(self, ballot: Ballot, out: list[Effect]) -> bool:
        """Promise, unless a higher ballot has one; an equal one is the same question again. Returns whether it is promised."""
        if ballot < self.promised:
            return False
        if ballot > self.promised:
            self.promised = ballot
            out.append(Trace(PromisedEvent(ballot)))
            if zoo.FORGET_PROMISE not in self._bugs:
                out.append(Persist(Promised(ballot)))  # Before the answer: a restarted acceptor keeps its promise.
        return True

    def held_from(self, slot: int) -> list[Held[Any]]:
        """What is held from `slot` on, in order."""
        held = self.held
        return [Held(each, *held[each]) for each in sorted([each for each in held if each >= slot])]

    def accept(self, ballot: Ballot, slot: int, entries: Sequence[Entry[Any]], out: list[Effect]) -> bool:
        """Accept these entries from `slot` on, unless a higher ballot has a promise (PMS §2.2, P1a). Returns whether it did."""
        if ballot < self.promised and zoo.ACCEPT_BELOW_PROMISE not in self._bugs:
            return False
        if ballot > self.promised:
            self.promised = ballot
        held = self.held
        left = len(entries)
        # What it has already under this ballot came twice, and needs no second record.
        while left and held.get(slot + left - 1) == (ballot, entries[left - 1]):
            left -= 1
        if self._untold:
            self._tell(ballot, slot + left, entries[left:], out)
        if not left:
            return True
        news = tuple(entries[:left])
        held.update(zip(count(slot), zip(repeat(ballot), news, strict=False), strict=False))
        out.append(traces.accepted(slot, ballot, news))
        if zoo.FORGET_ACCEPTED in self._bugs:
            out.append(Persist(Promised(ballot)))
        else:  # Before the answer: what is chosen outlives every crash.
            out.append(Persist(Accepted(ballot, slot, news)))
        return True

    def _tell(self, ballot: Ballot, slot: int, entries: Sequence[Entry[Any]], out: list[Effect]) -> None:
        """It says again that it accepted these, and may have traced that in no life: it does so now."""
        if self._untold.isdisjoint(range(slot, slot + len(entries))):
            return
        again = [(at, entry) for at, entry in enumerate(entries, slot) if at in self._untold]
        self._untold.difference_update([at for at, _ in again])
        out.extend([traces.accepted(first, ballot, row) for first, row in traces.rows(again)])
