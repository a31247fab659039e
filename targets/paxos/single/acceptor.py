"""The acceptor: what it promised it keeps, and what it accepted it tells (PMS §2.2)."""

from __future__ import annotations

from typing import Any

from histories.tracing import Accepted as AcceptedEvent
from histories.tracing import Promised as PromisedEvent
from targets.core import Effect, Persist, Trace
from targets.machines.machine import Key
from targets.paxos import bugs as zoo
from targets.paxos.ballots import NO_BALLOT, Ballot
from targets.paxos.single.messages import Accept, AcceptReply, Prepare, Promise, Proposal
from targets.paxos.single.records import Accepted, Promised
from targets.paxos.single.slots import slot_of


class Acceptor:
    """The acceptor of every instance on one node.

    Invariant: promised(key) never falls; accepted(key).ballot <= promised(key).
    """

    def __init__(self, bugs: frozenset[str]) -> None:
        self._bugs = bugs
        self._promised: dict[Key, Ballot] = {}
        self._accepted: dict[Key, Proposal] = {}
        self._untold: set[Key] = set()
        """Instances whose acceptance came from the disk: a crash may have come between its record and its trace."""

    def promised(self, key: Key) -> Ballot:
        """It accepts nothing below this."""
        return self._promised.get(key, NO_BALLOT)

    def accepted(self, key: Key) -> Proposal | None:
        """The highest proposal that it accepted."""
        return self._accepted.get(key)

    @property
    def accepted_count(self) -> int:
        """In how many instances it accepted something."""
        return len(self._accepted)

    def recover(self, record: Promised | Accepted) -> None:
        """The disk holds this, behind all that was recovered before it."""
        self._promised[record.key] = max(record.ballot, self.promised(record.key))
        if isinstance(record, Accepted):
            self._accepted[record.key] = Proposal(record.ballot, record.value)
            self._untold.add(record.key)

    def tell_recovered(self, out: list[Effect]) -> None:
        """Trace what the disk held: a crash may have come between a trace and its record."""
        for key, ballot in self._promised.items():
            out.append(Trace(PromisedEvent(ballot, slot_of(key))))

    def on_prepare(self, request: Prepare, out: list[Effect]) -> Promise:
        """Promise, unless a higher ballot has a promise (PMS §2.2, phase 1b). An equal one is the same question again."""
        key, ballot = request.key, request.ballot
        promised = self.promised(key)
        if ballot < promised:
            return Promise(key, ballot, False, promised)
        if ballot > promised:
            self._promised[key] = ballot
            out.append(Trace(PromisedEvent(ballot, slot_of(key))))
            if zoo.FORGET_PROMISE not in self._bugs:
                out.append(Persist(Promised(key, ballot)))  # Before the answer: a restarted acceptor keeps its promise.
        return Promise(key, ballot, True, ballot, self._accepted.get(key))

    def on_accept(self, request: Accept, out: list[Effect]) -> AcceptReply:
        """Accept, unless a higher ballot has a promise (PMS §2.2, phase 2b and P1a)."""
        key, ballot, value = request.key, request.ballot, request.value
        promised = self.promised(key)
        if ballot < promised and zoo.ACCEPT_BELOW_PROMISE not in self._bugs:
            return AcceptReply(key, ballot, False, promised)
        proposal = Proposal(ballot, value)
        if self._accepted.get(key) != proposal:
            self._promised[key] = max(ballot, promised)
            self._accepted[key] = proposal
            out.append(Trace(AcceptedEvent(slot_of(key), ballot, value)))
            self._persist_accepted(key, ballot, value, out)
        elif key in self._untold:
            out.append(Trace(AcceptedEvent(slot_of(key), ballot, value)))
        self._untold.discard(key)
        return AcceptReply(key, ballot, True, max(ballot, promised))

    def _persist_accepted(self, key: Key, ballot: Ballot, value: Any, out: list[Effect]) -> None:
        if zoo.FORGET_ACCEPTED in self._bugs:
            out.append(Persist(Promised(key, ballot)))
        else:
            out.append(Persist(Accepted(key, ballot, value)))  # Before the answer: what is chosen outlives every crash.
