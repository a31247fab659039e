"""The acceptor: one promise for all slots, and what it accepted in each (PMS §2.2, §3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from histories.tracing import Accepted as AcceptedEvent
from histories.tracing import Promised as PromisedEvent
from targets.core import Effect, Persist, Trace
from targets.paxos import bugs as zoo
from targets.paxos.ballots import NO_BALLOT, Ballot
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
            self._untold.add(one.slot)

    def recover_accepted(self, record: Accepted[Any]) -> None:
        """The disk holds these acceptances."""
        ballot, slot = record.ballot, record.slot
        self.promised = max(ballot, self.promised)
        for entry in record.entries:
            self.held[slot] = (ballot, entry)
            self._untold.add(slot)
            slot += 1

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
        return [Held(each, *self.held[each]) for each in sorted(self.held) if each >= slot]

    def accept(self, ballot: Ballot, slot: int, entries: Sequence[Entry[Any]], out: list[Effect]) -> bool:
        """Accept these entries from `slot` on, unless a higher ballot has a promise (PMS §2.2, P1a). Returns whether it did."""
        if ballot < self.promised and zoo.ACCEPT_BELOW_PROMISE not in self._bugs:
            return False
        if ballot > self.promised:
            self.promised = ballot
        held = self.held
        count = len(entries)
        # What it has already under this ballot came twice, and needs no second record.
        while count and held.get(slot + count - 1) == (ballot, entries[count - 1]):
            count -= 1
        if self._untold:
            self._tell(ballot, slot + count, entries[count:], out)
        if not count:
            return True
        for at, entry in enumerate(entries[:count], slot):
            held[at] = (ballot, entry)
            out.append(Trace(AcceptedEvent(at, ballot, entry.command)))
        if zoo.FORGET_ACCEPTED in self._bugs:
            out.append(Persist(Promised(ballot)))
        else:  # Before the answer: what is chosen outlives every crash.
            out.append(Persist(Accepted(ballot, slot, tuple(entries[:count]))))
        return True

    def _tell(self, ballot: Ballot, slot: int, entries: Sequence[Entry[Any]], out: list[Effect]) -> None:
        """It says again that it accepted these, and may have traced that in no life: it does so now."""
        for at, entry in enumerate(entries, slot):
            if at in self._untold:
                self._untold.discard(at)
                out.append(Trace(AcceptedEvent(at, ballot, entry.command)))
