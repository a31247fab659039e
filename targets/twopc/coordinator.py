"""The coordinator: asks the shards of a transaction to prepare it, counts their votes, decides, and tells.

Presumed abort (Mohan, Lindsay and Obermarck 1986, §3): only a commit is forced to disk. Of what is not known here, it is certain
that it aborted, or that all its participants know that it committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from histories.tracing import Custom
from targets.core import CancelTimer, Effect, NodeId, Persist, Reply, Send, SetTimer, Trace
from targets.machines.machine import Key
from targets.twopc import bugs as zoo
from targets.twopc.logical_clock import LogicalClock
from targets.twopc.messages import (
    Abort,
    Acknowledge,
    Commit,
    Inquire,
    PreCommit,
    PreCommitted,
    Prepare,
    Standing,
    TxnAnswer,
    Vote,
)
from targets.twopc.options import CommitOptions
from targets.twopc.records import Decided, Ended, Reserved
from targets.twopc.transactions import NO_VOTE, REFUSALS, Commands, Step, TxnId, answer_of, name_of, steps_of

Effects = list[Effect]

VOTING = "voting "
RESEND = "resend"

NUMBERS_AT_ONCE = 1000
"""So many numbers are reserved on disk with one record."""

_MS = 1_000_000


class Active:
    """A transaction without decision. parts: by participant, its steps. places: of each step, its participant and its place there.

    acknowledged: three-phase commit: who knows that all have voted yes; None before that.
    """

    __slots__ = ("acknowledged", "command", "parts", "places", "request_id", "votes")

    def __init__(self, request_id: int, command: Commands, nodes_of: Callable[[Step], Sequence[NodeId]]) -> None:
        self.request_id = request_id
        self.command = command
        self.parts: dict[NodeId, list[Step]] = {}
        self.places: list[tuple[NodeId, int]] = []
        self.votes: dict[NodeId, Vote] = {}
        self.acknowledged: set[NodeId] | None = None
        for step in steps_of(command):
            for node in nodes_of(step):
                part = self.parts.setdefault(node, [])
                self.places.append((node, len(part)))
                part.append(step)

    def results(self) -> list[Any]:
        """What each step saw, in the order of the command."""
        return [self.votes[node].results[place] if node in self.votes else None for node, place in self.places]

    @property
    def timestamp(self) -> int:
        """The greatest of the votes: a snapshot from then on sees the transaction, and none before."""
        return max((vote.timestamp for vote in self.votes.values()), default=0)


class Coordinator:
    """The role's state. node_of: the participant that holds a key. clock: the node's.

    Invariant: no number above `reserved` is in use.
    """

    def __init__(
        self,
        node: NodeId,
        options: CommitOptions,
        bugs: frozenset[str],
        clock: LogicalClock,
        participants: Sequence[NodeId],
        node_of: Callable[[Key], NodeId],
    ) -> None:
        self._node = node
        self._options = options
        self._bugs = bugs
        self._clock = clock
        self._participants = tuple(participants)
        self._node_of = node_of
        self._active: dict[int, Active] = {}
        self._committed: dict[int, tuple[Decided, set[NodeId]]] = {}
        """What commits, with those who have not acknowledged it."""
        self._ended: list[str] = []
        self._born = 0
        """Numbers up to this one were used before the node started."""
        self._is_resending = False
        self.reserved = 0
        self.committed_count = 0

    @property
    def unfinished_count(self) -> int:
        """Transactions that are not decided, or that somebody has to be told of."""
        return len(self._active) + len(self._committed)

    @property
    def decided(self) -> tuple[Decided, ...]:
        """The commits that somebody has to be told of."""
        return tuple(decided for decided, _ in self._committed.values())

    # --- from the disk --------------------------------------------------------------------------------------------------

    def recover(self, record: Reserved | Decided | Ended) -> None:
        """Take a record from the disk."""
        match record:
            case Reserved():
                self.reserved = record.number
            case Decided():
                self._committed[record.txn[0]] = record, {*self._told(record.participants)}
                self._clock.witness(record.timestamp)
            case Ended():
                self._committed.pop(record.txn[0], None)
                self._ended.append(name_of(record.txn))

    def resume(self, out: Effects) -> dict[str, Any]:
        """Every number that may have been used is behind the clock; commits are told again. The result is for the trace."""
        if zoo.NUMBERS_REUSED not in self._bugs:
            self._clock.witness(self.reserved)
        self._born = self._clock.now
        self._resend_soon(out)
        ended, self._ended = self._ended, []
        return {"unfinished": [name_of(decided.txn) for decided in self.decided], "ended": ended}

    # --- a transaction --------------------------------------------------------------------------------------------------

    def begin(self, request_id: int, command: Commands, out: Effects) -> None:
        """Ask every shard that the command concerns to prepare its part."""
        number = self._clock.tick()
        if number > self.reserved:
            self.reserved = number + NUMBERS_AT_ONCE
            out.append(Persist(Reserved(self.reserved)))
        active = self._active[number] = Active(request_id, command, self._nodes_of)
        out.append(SetTimer(f"{VOTING}{number}", self._options.vote_ms * _MS))
        self._send_prepares(number, active, out)
        self._resend_soon(out)

    def _nodes_of(self, step: Step) -> Sequence[NodeId]:
        """Who carries the step out: the holder of its key, or everybody for a scan."""
        return self._participants if step[0] == "scan" else (self._node_of(step[1]),)

    def _send_prepares(self, number: int, active: Active, out: Effects) -> None:
        participants = tuple(active.parts)
        low = self._low()
        for node, steps in active.parts.items():
            if node not in active.votes:
                out.append(Send(node, Prepare((number, self._node), tuple(steps), participants, number, low)))

    def _low(self) -> int:
        """No unfinished transaction has a smaller number."""
        return min(min(self._active, default=self._clock.now + 1), min(self._committed, default=self._clock.now + 1))

    def on_vote(self, source: NodeId, vote: Vote, out: Effects) -> None:
        """Commit when all have voted yes, abort at the first no."""
        self._clock.witness(vote.timestamp)
        number = vote.txn[0]
        active = self._active.get(number)
        if active is None or source not in active.parts or active.acknowledged is not None:
            return
        if not vote.yes:
            self._abort(number, active, vote.reason, out)
            return
        active.votes[source] = vote
        needed = len(active.parts)
        if zoo.WITHOUT_ALL_VOTES in self._bugs:
            needed = max(1, needed - 1)
        if len(active.votes) < needed:
            return
        if self._options.protocol == "3pc":
            active.acknowledged = set()
            out.append(SetTimer(f"{VOTING}{number}", self._options.vote_ms * _MS))
            out.extend(Send(node, PreCommit(vote.txn, active.timestamp)) for node in active.parts)
            return
        self._commit(number, active, out)

    def on_pre_committed(self, source: NodeId, message: PreCommitted, out: Effects) -> None:
        """Commit when all know that all have voted yes (Skeen 1981, §5)."""
        number = message.txn[0]
        active = self._active.get(number)
        if active is None or active.acknowledged is None or source not in active.parts:
            return
        active.acknowledged.add(source)
        if len(active.acknowledged) == len(active.parts):
            self._commit(number, active, out)

    def on_voting_timer(self, number: int, out: Effects) -> None:
        """Abort what lacks votes. In three-phase commit, who does not say that it knows of all votes has crashed: commit without
        it."""
        active = self._active.get(number)
        if active is None:
            return
        if active.acknowledged is not None:
            self._commit(number, active, out)
        else:
            self._abort(number, active, NO_VOTE, out)

    def _commit(self, number: int, active: Active, out: Effects) -> None:
        """The decision is on disk before anybody is told of it."""
        txn: TxnId = (number, self._node)
        del self._active[number]
        out.append(CancelTimer(f"{VOTING}{number}"))
        decided = Decided(txn, tuple(active.parts), active.timestamp)
        if zoo.DECISION_TOLD_FIRST not in self._bugs:
            out.append(Persist(decided))
        self.committed_count += 1
        self._committed[number] = decided, {*self._told(decided.participants)}
        out.append(
            Trace(
                Custom(
                    "decided",
                    {
                        "txn": name_of(txn),
                        "decision": "commit",
                        "as": "coordinator",
                        "participants": sorted(active.parts),
                        "votes": sorted(active.votes),
                    },
                )
            )
        )
        out.append(Reply(active.request_id, TxnAnswer("ok", answer_of(active.command, active.results()))))
        out.extend(Send(node, Commit(txn, decided.timestamp)) for node in self._told(decided.participants))
        if zoo.DECISION_TOLD_FIRST in self._bugs:
            out.append(Persist(decided))
        self._resend_soon(out)

    def _told(self, participants: Sequence[NodeId]) -> Sequence[NodeId]:
        if zoo.PARTICIPANT_FORGOTTEN in self._bugs and len(participants) > 1:
            return participants[:-1]
        return participants

    def _abort(self, number: int, active: Active, reason: str, out: Effects) -> None:
        """Tell everybody once, and forget it: who does not hear it asks, and what is not known here has aborted."""
        txn: TxnId = (number, self._node)
        del self._active[number]
        out.append(CancelTimer(f"{VOTING}{number}"))
        out.append(Trace(Custom("decided", {"txn": name_of(txn), "decision": "abort", "as": "coordinator"})))
        out.append(Reply(active.request_id, TxnAnswer("refused" if reason in REFUSALS else "aborted", reason=reason)))
        out.extend(Send(node, Abort(txn)) for node in active.parts)

    def on_acknowledge(self, source: NodeId, message: Acknowledge, out: Effects) -> None:
        """Forget the commit when nobody is left to be told."""
        self._clock.witness(message.timestamp)
        number = message.txn[0]
        if number not in self._committed:
            return
        decided, untold = self._committed[number]
        untold.discard(source)
        if not untold:
            del self._committed[number]
            out.append(Persist(Ended(decided.txn)))
            out.append(Trace(Custom("ended", {"txn": name_of(decided.txn)})))

    def on_inquire(self, source: NodeId, message: Inquire, out: Effects) -> None:
        """Tell one who is in doubt. What is not known here has aborted."""
        number = message.txn[0]
        if number in self._committed:
            decided, _ = self._committed[number]
            out.append(Send(source, Standing(message.txn, "committed", decided.timestamp)))
        elif number in self._active:
            out.append(Send(source, Standing(message.txn, "undecided")))
        elif self._options.protocol == "3pc" and number <= self._born:
            # The participants may have committed it while this node was down.
            out.append(Send(source, Standing(message.txn, "uncertain")))
        elif zoo.PRESUMED_COMMIT in self._bugs and number <= self._born:
            out.append(Send(source, Standing(message.txn, "committed", self._clock.now)))
        else:
            out.append(Send(source, Standing(message.txn, "aborted")))

    # --- again ----------------------------------------------------------------------------------------------------------

    def _resend_soon(self, out: Effects) -> None:
        if not self._is_resending and (self._active or self._committed):
            self._is_resending = True
            out.append(SetTimer(RESEND, self._options.resend_ms * _MS))

    def on_resend(self, out: Effects) -> None:
        """Say again what was not answered."""
        self._is_resending = False
        for number, active in self._active.items():
            if active.acknowledged is None:
                self._send_prepares(number, active, out)
            else:
                again = PreCommit((number, self._node), active.timestamp)
                out.extend(Send(node, again) for node in active.parts if node not in active.acknowledged)
        for decided, untold in self._committed.values():
            out.extend(Send(node, Commit(decided.txn, decided.timestamp)) for node in sorted(untold))
        self._resend_soon(out)
