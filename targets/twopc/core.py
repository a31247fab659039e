"""A node of the commit protocols: `step` routes events to the roles that it has, and keeps the log short.

It reads no clock: what takes time is a timer on the node's monotonic clock, and versions are numbered by a logical one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from histories.tracing import Custom
from targets.core import (
    DiskFailed,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.machines.machine import Key
from targets.twopc import messages as told
from targets.twopc.coordinator import RESEND, VOTING, Coordinator
from targets.twopc.doubt import Doubt
from targets.twopc.logical_clock import LogicalClock
from targets.twopc.options import CommitOptions
from targets.twopc.participant import DOUBT, LOCK, Participant
from targets.twopc.records import (
    Aborted,
    Checkpoint,
    Committed,
    Decided,
    Ended,
    PreCommitted,
    Prepared,
    Reserved,
)
from targets.twopc.transactions import TxnId

Effects = list[Effect]


class CommitNode:
    """One node. node_of: the participant that holds a key. coordinators, participants: nodes with these roles, sorted; a node alone
    has both."""

    def __init__(
        self,
        node: NodeId,
        options: CommitOptions,
        bugs: frozenset[str],
        coordinators: Sequence[NodeId],
        participants: Sequence[NodeId],
        node_of: Callable[[Key], NodeId],
    ) -> None:
        self._node = node
        self._options = options
        self._bugs = bugs
        self._members = frozenset((*coordinators, *participants))
        self._coordinators = tuple(coordinators)
        self._is_coordinator = node in coordinators
        self._is_participant = node in participants
        self._clock = LogicalClock()
        self.coordinator = Coordinator(node, options, bugs, self._clock, participants, node_of)
        self.participant = Participant(node, options, bugs, self._clock)
        self._doubt = Doubt(node, options, bugs, self.participant)
        self._records_count = 0
        self._redirects_count = 0
        self._is_started = False

    def step(self, now_ns: int, event: Event) -> Effects:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        assert self._is_started != (type(event) is Started), "Started is the first event, and comes once"
        out: Effects = []
        match event:
            case Started():
                self._on_started(event, out)
            case Received():
                if event.source in self._members and isinstance(event.message, told.MESSAGES):
                    self._on_message(event.source, event.message, out)
            case Request():
                self._on_request(event, out)
            case TimerFired():
                self._on_timer(event.name, out)
            case DiskFailed():
                out.append(Halt(f"the disk failed: {event.reason}"))
            case SyncDone():
                pass  # No record has a token.
        return self._finished(out)

    def _finished(self, out: Effects) -> Effects:
        """The effects, with what the node tells itself carried out in its place, and a checkpoint where one is due."""
        if len(self._members) > 1:
            done = out
        else:
            done, told_itself = [], deque(out)
            while told_itself:
                effect = told_itself.popleft()
                if type(effect) is Send:
                    further: Effects = []
                    self._on_message(self._node, effect.message, further)
                    told_itself.extendleft(reversed(further))
                else:
                    done.append(effect)
        self._records_count += sum(type(effect) is Persist for effect in done)
        if self._records_count >= self._options.checkpoint_records:
            self._records_count = 1
            done.append(Persist(self._checkpoint(), is_checkpoint=True))
        return done

    def status(self) -> dict[str, Any]:
        """For people, `GET /status`, and whether the cluster has come to rest."""
        locks = self.participant.locks
        return {
            "role": "coordinator" if self._is_coordinator else "participant",
            "term": 0,
            "leader": None,
            "commit_index": self.coordinator.committed_count
            if self._is_coordinator
            else self.participant.committed_count,
            "log_length": self._records_count,
            "protocol": self._options.protocol,
            "isolation": self._options.isolation,
            "unfinished": self.coordinator.unfinished_count,
            "in_doubt": len(self.participant.in_doubt),
            "holding_locks": locks.held_count,
            "waiting_for_locks": locks.waiting_count,
            "bugs": sorted(self._bugs),
        }

    # --- start ----------------------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, out: Effects) -> None:
        """Go on with what the disk holds. A damaged disk ends the node: it may have forgotten a vote or a decision."""
        self._is_started = True
        if event.damage is not None:
            out.append(Halt(f"the disk is damaged: {event.damage}"))
            return
        for record in event.records:
            if not self._recover(record):
                out.append(Halt(f"the disk is damaged: {type(record).__name__} is no record of a commit protocol"))
                return
        self._records_count = len(event.records)
        fields = {**self.coordinator.resume(out), **self.participant.resume(out)}
        out.append(Trace(Custom("recovered-transactions", fields)))

    def _recover(self, record: Record) -> bool:
        """Take a record from the disk; False for one of another kind."""
        if isinstance(record, Reserved | Decided | Ended):
            self.coordinator.recover(record)
        elif isinstance(record, Prepared | PreCommitted | Committed | Aborted):
            self.participant.recover(record)
        elif isinstance(record, Checkpoint):
            self._restore(record)
        else:
            return False
        return True

    def _restore(self, checkpoint: Checkpoint) -> None:
        """The state is that of the checkpoint; it is the first record where there is one."""
        participant = self.participant
        self._clock.witness(checkpoint.clock)
        participant.store.restore(checkpoint.versions)
        participant.outcomes.low.update(checkpoint.low)
        for txn, timestamp in checkpoint.ended:
            participant.outcomes.add(txn, timestamp)
        for record in (
            Reserved(checkpoint.reserved),
            *checkpoint.decided,
            *checkpoint.prepared,
            *checkpoint.pre_committed,
        ):
            self._recover(record)

    def _checkpoint(self) -> Checkpoint:
        coordinator, participant = self.coordinator, self.participant
        in_doubt = participant.in_doubt
        return Checkpoint(
            self._clock.now,
            coordinator.reserved,
            coordinator.decided,
            participant.store.snapshot(),
            tuple(doubt.record for doubt in in_doubt.values()),
            tuple(PreCommitted(txn, at) for txn, doubt in in_doubt.items() if (at := doubt.pre_committed) is not None),
            participant.outcomes.all(),
            dict(participant.outcomes.low),
        )

    # --- events ---------------------------------------------------------------------------------------------------------

    def _on_request(self, event: Request, out: Effects) -> None:
        """A coordinator begins a transaction; a participant names one, another one each time."""
        if self._is_coordinator:
            self.coordinator.begin(event.request_id, event.body, out)  # type: ignore[arg-type]
            return
        self._redirects_count += 1
        other = self._coordinators[self._redirects_count % len(self._coordinators)]
        out.append(Reply(event.request_id, told.TxnAnswer("not-leader", leader=other)))

    def _on_message(self, source: NodeId, message: Any, out: Effects) -> None:
        """Each message goes to the role that it is for; what a node of another role could not have sent is dropped."""
        txn: TxnId = message.txn
        if txn[1] == self._node and self._is_coordinator:
            self._on_message_to_coordinator(source, message, out)
        if not self._is_participant:
            return
        match message:
            case told.Prepare() if source == txn[1]:
                self.participant.on_prepare(source, message, out)
            case told.Commit() if source == txn[1]:
                self.participant.on_commit(message, out)
            case told.Abort() if source == txn[1]:
                self.participant.on_abort(message, out)
            case told.PreCommit():
                self._doubt.on_pre_commit(source, message, out)
            case told.Inquire() if txn[1] != self._node:
                self._doubt.on_inquire(source, message, out)
            case told.Standing():
                self._doubt.on_standing(source, message, out)

    def _on_message_to_coordinator(self, source: NodeId, message: Any, out: Effects) -> None:
        match message:
            case told.Vote():
                self.coordinator.on_vote(source, message, out)
            case told.PreCommitted():
                self.coordinator.on_pre_committed(source, message, out)
            case told.Acknowledge():
                self.coordinator.on_acknowledge(source, message, out)
            case told.Inquire():
                self.coordinator.on_inquire(source, message, out)

    def _on_timer(self, name: str, out: Effects) -> None:
        if name == RESEND:
            self.coordinator.on_resend(out)
        elif name.startswith(VOTING):
            self.coordinator.on_voting_timer(int(name.removeprefix(VOTING)), out)
        elif name.startswith(LOCK):
            self.participant.on_lock_timer(_txn_of(name, LOCK), out)
        elif name.startswith(DOUBT):
            self._doubt.on_timer(_txn_of(name, DOUBT), out)


def _txn_of(timer: str, kind: str) -> TxnId:
    """What participant.timer_of made the name of."""
    number, _, coordinator = timer.removeprefix(kind).partition(" ")
    return int(number), coordinator
