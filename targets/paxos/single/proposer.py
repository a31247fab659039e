"""The proposer: it draws ballots, asks the acceptors, and learns with a quorum what is chosen (PMS §2.2).

It proposes for the clients that wait here. A client that only wants to know makes it run phase 1 as well: where a quorum has
accepted nothing, nothing was chosen before the question; otherwise phase 2 makes sure that what it found is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from targets.core import CancelTimer, Effect, NodeId, Persist, Reply, Send, SetTimer
from targets.machines.consensus import Learn, Propose
from targets.machines.machine import Answer, Key
from targets.paxos import bugs as zoo
from targets.paxos.ballots import NO_BALLOT, Ballot, above
from targets.paxos.quorums import Quorums
from targets.paxos.single.messages import Accept, AcceptReply, Chosen, Prepare, Promise, Proposal
from targets.paxos.single.options import SingleOptions
from targets.paxos.single.records import Drawn
from targets.paxos.single.slots import slot_of

_MS = 1_000_000
_UNKNOWN: Answer[Any] = Answer("unknown")
_NOTHING: Answer[Any] = Answer("ok")


class Round:
    """One ballot. promises: what each acceptor told, in order of arrival. proposal: what phase 2 asks for; None in phase 1.

    asked_by: the requests that waited when the round began, which it can answer with "nothing is chosen".
    """

    __slots__ = ("accepted_by", "asked_by", "ballot", "promises", "proposal")

    def __init__(self, ballot: Ballot, asked_by: frozenset[int]) -> None:
        self.ballot = ballot
        self.asked_by = asked_by
        self.promises: dict[NodeId, Proposal | None] = {}
        self.proposal: Proposal | None = None
        self.accepted_by: set[NodeId] = set()


class Attempt:
    """What clients want of one instance. waiting: request id -> the value that it proposes, None for one that only asks."""

    __slots__ = ("round", "tries_count", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, Any] = {}
        self.round: Round | None = None
        self.tries_count = 0


class Proposer:
    """The proposer of every instance on one node.

    `messages_to_self` is what it asks of its own node's acceptor: the core carries it there within the step.
    """

    def __init__(
        self,
        node: NodeId,
        others: Sequence[NodeId],
        quorums: Quorums,
        options: SingleOptions,
        bugs: frozenset[str],
        rng: random.Random,
    ) -> None:
        self._node = node
        self._others = others
        self._quorums = quorums
        self._options = options
        self._bugs = bugs
        self._rng = rng
        self._drawn: dict[Key, Ballot] = {}
        self._seen: dict[Key, Ballot] = {}
        """The highest ballot that an acceptor told of when it refused."""
        self._attempts: dict[Key, Attempt] = {}
        self._keys: dict[str, Key] = {}
        """Name of a timer -> its instance."""
        self.messages_to_self: list[Prepare | Accept] = []

    def recover(self, record: Drawn) -> None:
        """The disk holds this."""
        self._drawn[record.key] = record.ballot

    @property
    def attempts_count(self) -> int:
        """In how many instances it tries to get something chosen."""
        return len(self._attempts)

    # --- clients ------------------------------------------------------------------------------------------------------

    def ask(self, request_id: int, command: Propose | Learn, out: list[Effect]) -> None:
        """A client proposes, or asks what is chosen, and nobody here knows yet."""
        key = command.key
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = Attempt()
            self._keys[slot_of(key)] = key
        attempt.waiting[request_id] = command.value if isinstance(command, Propose) else None
        if attempt.round is None and attempt.tries_count == 0:
            self._begin(key, attempt, out)

    def answer_all(self, key: Key, value: Any, out: list[Effect]) -> None:
        """`value` is chosen: tell everyone who waits, and stop trying."""
        attempt = self._attempts.pop(key, None)
        if attempt is not None:
            del self._keys[slot_of(key)]
            out.append(CancelTimer(slot_of(key)))
            out.extend([Reply(request_id, Answer("ok", value)) for request_id in attempt.waiting])

    # --- rounds -------------------------------------------------------------------------------------------------------

    def _begin(self, key: Key, attempt: Attempt, out: list[Effect]) -> None:
        """Phase 1a: draw a ballot above every one that is known, and ask all acceptors for their promise."""
        ballot = above(max(self._drawn.get(key, NO_BALLOT), self._seen.get(key, NO_BALLOT)), self._node)
        self._drawn[key] = ballot
        if zoo.BALLOT_REUSED not in self._bugs:
            out.append(Persist(Drawn(key, ballot)))  # Before the Sends: no ballot is drawn twice.
        attempt.tries_count += 1
        attempt.round = Round(ballot, frozenset(attempt.waiting))
        request = Prepare(key, ballot, self._node)
        out.extend([Send(other, request) for other in self._others])
        out.append(SetTimer(slot_of(key), self._options.round_ms * _MS))
        self.messages_to_self.append(request)

    def on_timer(self, name: str, out: list[Effect]) -> None:
        """The round took too long, or the pause is over: try again, or tell the clients that nobody knows."""
        if name not in self._keys:
            return
        key = self._keys[name]
        attempt = self._attempts[key]
        if attempt.tries_count < self._options.tries_max:
            self._begin(key, attempt, out)
            return
        del self._attempts[key], self._keys[name]
        out.extend([Reply(request_id, _UNKNOWN) for request_id in attempt.waiting])

    def _back_off(self, key: Key, attempt: Attempt, promised: Ballot, out: list[Effect]) -> None:
        """A higher ballot has a promise: pause for a random while that grows with each try, then try with a higher one."""
        self._seen[key] = max(promised, self._seen.get(key, NO_BALLOT))
        attempt.round = None
        options = self._options
        highest_ms = min(options.backoff_ms_max, options.backoff_ms_min << min(attempt.tries_count, 20))
        pause_ms = options.backoff_ms_min + self._rng.random() * (highest_ms - options.backoff_ms_min)
        out.append(SetTimer(slot_of(key), int(pause_ms * _MS)))

    def on_promise(self, source: NodeId, reply: Promise, out: list[Effect]) -> None:
        """With the promises of a quorum, propose the value of the highest ballot among them, or one's own (PMS §2.2, P2c)."""
        key = reply.key
        attempt, round = self._round_of(key, reply.ballot)
        if attempt is None or round is None or round.proposal is not None:
            return
        if not reply.granted:
            self._back_off(key, attempt, reply.promised, out)
            return
        round.promises[source] = reply.accepted
        if len(round.promises) < self._quorums.phase_1:
            return
        value = self._value_for(attempt, round)
        if value is None:
            self._nothing_is_chosen(key, attempt, round, out)
            return
        round.proposal = Proposal(round.ballot, value)
        request = Accept(key, round.ballot, value, self._node)
        out.extend([Send(other, request) for other in self._others])
        self.messages_to_self.append(request)

    def _value_for(self, attempt: Attempt, round: Round) -> Any:
        """The only value that may be proposed, where the promises name one; else a client's; None: no client has one."""
        own = next((value for value in attempt.waiting.values() if value is not None), None)
        reported = [proposal for proposal in round.promises.values() if proposal is not None]
        if zoo.OWN_VALUE_WINS in self._bugs and own is not None:
            return own
        if not reported:
            return own
        if zoo.HIGHEST_BY_ARRIVAL in self._bugs:
            return reported[-1].value
        return max(reported, key=lambda proposal: proposal.ballot).value

    def _nothing_is_chosen(self, key: Key, attempt: Attempt, round: Round, out: list[Effect]) -> None:
        """No acceptor of a quorum had accepted anything: nothing was chosen when the round began."""
        for request_id in sorted(round.asked_by):
            if attempt.waiting.pop(request_id, 0) is None:
                out.append(Reply(request_id, _NOTHING))
        if attempt.waiting:
            self._begin(key, attempt, out)
        else:
            del self._attempts[key], self._keys[slot_of(key)]
            out.append(CancelTimer(slot_of(key)))

    def on_accept_reply(self, source: NodeId, reply: AcceptReply, out: list[Effect]) -> Any:
        """The value that is chosen, once a quorum has accepted it (PMS §2.2); None before."""
        key = reply.key
        attempt, round = self._round_of(key, reply.ballot)
        if attempt is None or round is None or round.proposal is None:
            return None
        if not reply.granted:
            self._back_off(key, attempt, reply.promised, out)
            return None
        round.accepted_by.add(source)
        if len(round.accepted_by) < self._quorums.phase_2:
            return None
        attempt.round = None
        value = round.proposal.value
        message = Chosen(key, value, self._node)
        out.extend([Send(other, message) for other in self._others])
        return value

    def _round_of(self, key: Key, ballot: Ballot) -> tuple[Attempt | None, Round | None]:
        """The round that asked under this ballot, while it lasts."""
        attempt = self._attempts.get(key)
        round = None if attempt is None else attempt.round
        return attempt, round if round is not None and round.ballot == ballot else None
