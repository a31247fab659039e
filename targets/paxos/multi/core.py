"""The Multi-Paxos core: `step` routes events to the roles, and each `_on_x` is one rule of the protocol.

It reads no clock. What takes time is a timer on the node's monotonic clock, which neither jumps nor stops while the process is
paused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from histories.tracing import Custom, Recovered
from histories.tracing import Promised as PromisedEvent
from histories.tracing import Role as RoleEvent
from targets.core import (
    CancelTimer,
    DiskFailed,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.machines.machine import Answer, Command, Machine, TakeBackup
from targets.paxos import bugs as zoo
from targets.paxos.ballots import NO_BALLOT, Ballot, above
from targets.paxos.multi import backup, traces
from targets.paxos.multi.acceptor import Acceptor
from targets.paxos.multi.catching_up import CatchingUp
from targets.paxos.multi.entries import Entry, Held
from targets.paxos.multi.leadership import Leadership
from targets.paxos.multi.learner import Learner
from targets.paxos.multi.leases import GRANT, LEASE, LEASED_READ, Grant, Lease
from targets.paxos.multi.messages import Accept, AcceptReply, Learn, Learned, Poll, PollReply, Prepare, Promise
from targets.paxos.multi.options import MultiOptions
from targets.paxos.multi.proposer import Candidacy
from targets.paxos.multi.records import Accepted, Checkpoint, Drawn, Promised
from targets.paxos.quorums import in_force

Role = Literal["follower", "candidate", "leader"]
Effects = list[Effect]

SILENCE = "silence"
HEARTBEAT = "heartbeat"
CHECK = "check"

_MS = 1_000_000


class MultiPaxos:
    """One member of a cluster of fixed membership.

    Invariants: it leads only under a ballot that it drew, and drew once; what it promised as acceptor never falls.
    """

    def __init__(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: MultiOptions,
        bugs: frozenset[str],
        rng: random.Random,
        new_machine: Callable[[], Machine],
    ) -> None:
        """new_machine: makes the machine that is replicated. Raises ValueError for quorums that do not fit the cluster."""
        assert node in members, f"{node} is not one of {members}"
        self._node = node
        self._options = options
        self._bugs = bugs
        self._rng = rng
        self._others = tuple(sorted(member for member in members if member != node))
        self._stated, self._quorums = in_force(len(members), options.phase_1_quorum, options.phase_2_quorum, bugs)
        self._is_started = False

        self.acceptor = Acceptor(bugs)
        self.learner = Learner(new_machine, options.snapshot_entries, bugs)
        self._catching_up = CatchingUp(node, options)
        self._grant = Grant(node, options)
        self._lease = Lease(options, bugs)
        self._drawn: Ballot = NO_BALLOT
        self._seen: Ballot = NO_BALLOT
        """The highest ballot that anyone told of."""
        self._role: Role = "follower"
        self._leader: NodeId | None = None
        self._is_silent = False
        """No leader was heard for silence_ms_min."""
        self._poll_number = 0
        self._polled: set[NodeId] = set()
        self._candidacy: Candidacy | None = None
        self._leadership: Leadership | None = None
        """Not None exactly while the role is leader."""

        self._on_event: dict[type, Callable[[Any, Effects], None]] = {
            Started: self._on_started,
            Received: self._on_received,
            Request: self._on_request,
            TimerFired: self._on_timer,
            SyncDone: self._on_sync_done,
            DiskFailed: self._on_disk_failed,
        }
        self._on_message: dict[type, Callable[[NodeId, Any, Effects], None]] = {
            Accept: self._on_accept,
            AcceptReply: self._on_accept_reply,
            Prepare: self._on_prepare,
            Promise: self._on_promise,
            Poll: self._on_poll,
            PollReply: self._on_poll_reply,
            Learn: self._on_learn,
            Learned: self._on_learned,
        }

    def step(self, now_ns: int, event: Event) -> Effects:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        assert self._is_started != (type(event) is Started), "Started is the first event, and comes once"
        out: Effects = []
        self._on_event[type(event)](event, out)
        if self.learner.is_unsaved:
            self._save_checkpoint(out)
        return out

    def status(self) -> dict[str, Any]:
        """For people, `GET /status` and the choice of a primary."""
        learner = self.learner
        return {
            "role": self._role,
            "ballot": list(self.acceptor.promised),
            "leader": self._leader,
            "commit_index": learner.chosen_index,
            "snapshot_index": 0 if learner.snapshot is None else learner.snapshot.index,
            "log_length": max([learner.chosen_index, *self.acceptor.held]),
            "quorums": [self._quorums.phase_1, self._quorums.phase_2],
            "reads": self._options.reads,
            "bugs": sorted(self._bugs),
        }

    def _on_received(self, event: Received, out: Effects) -> None:
        """Route a member's message; a stranger's is dropped."""
        if event.source in self._others:
            self._on_message[type(event.message)](event.source, event.message, out)

    # --- start and stop -------------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, out: Effects) -> None:
        """Begin as a follower with what the disk holds. A damaged disk ends the node: it may have forgotten a promise."""
        self._is_started = True
        if event.damage is not None:
            out.append(Halt(f"the disk is damaged: {event.damage}"))
            return
        accepted: list[Accepted[Any]] = []
        for record in event.records:
            if record.__class__ is Accepted:  # As nearly always.
                accepted.append(record)
                continue
            match record:
                case Promised():
                    self.acceptor.recover(record.ballot)
                case Drawn():
                    self._drawn = record.ballot
                case Checkpoint():
                    self.acceptor.recover_accepted(accepted)
                    accepted.clear()
                    self._drawn = record.drawn
                    self.acceptor.held.clear()
                    self.acceptor.recover(record.promised, record.held)
                    self.learner.restore(record.snapshot)
                case _:
                    out.append(Halt(f"the disk is damaged: {type(record).__name__} is no record of Paxos"))
                    return
        self.acceptor.recover_accepted(accepted)
        index = self.learner.chosen_index
        self.acceptor.recovered(index)
        out.append(Trace(Custom("quorums", {"phase_1": self._stated.phase_1, "phase_2": self._stated.phase_2})))
        out.append(Trace(Recovered(index, (), (), index, 0)))
        out.append(Trace(PromisedEvent(self.acceptor.promised)))
        out.append(Trace(RoleEvent("follower", self.acceptor.promised[0])))
        self._grant.begin(None, out)  # It may have granted a lease just before it stopped.
        self._hear(out)

    def _on_disk_failed(self, event: DiskFailed, out: Effects) -> None:
        """Stop: the disk does not hold what this node would promise from now on."""
        out.append(Halt(f"the disk failed: {event.reason}"))

    def _on_sync_done(self, event: SyncDone, out: Effects) -> None:
        """No record has a token."""

    def _save_checkpoint(self, out: Effects) -> None:
        """The last snapshot, and what the acceptor holds behind it, take the place of all records."""
        snapshot = self.learner.snapshot
        assert snapshot is not None
        self.learner.is_unsaved = False
        self.acceptor.forget(snapshot.index)
        held = tuple(self.acceptor.held_from(snapshot.index + 1))
        if zoo.FORGET_ACCEPTED in self._bugs:
            held = ()
        drawn = NO_BALLOT if zoo.BALLOT_REUSED in self._bugs else self._drawn
        promised = NO_BALLOT if zoo.FORGET_PROMISE in self._bugs else self.acceptor.promised
        out.append(Persist(Checkpoint(drawn, promised, snapshot, held), is_checkpoint=True))

    # --- timers ---------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerFired, out: Effects) -> None:
        name, leadership = event.name, self._leadership
        if name == SILENCE:
            self._on_silence(out)
        elif name == GRANT:
            self._grant.ended()
        elif name.startswith(LEASE):
            self._lease.ran_out(int(name.removeprefix(LEASE)))
        elif leadership is None:
            pass
        elif name == HEARTBEAT:
            self._send_heartbeats(leadership, out)
        elif name == LEASED_READ:
            self._answer_leased_reads(leadership, out)
        elif name == CHECK:
            self._check_quorum(leadership, out)

    def _hear(self, out: Effects) -> None:
        """A leader was heard, or one is being elected: be quiet for a while."""
        self._is_silent = False
        out.append(SetTimer(SILENCE, self._options.silence_ms_min * _MS))

    def _on_silence(self, out: Effects) -> None:
        """No leader was heard for a while: wait a random time more, then ask whether others heard none either."""
        options = self._options
        spread_ns = (options.silence_ms_max - options.silence_ms_min) * _MS
        if self._leadership is not None:
            return
        if not self._is_silent:
            self._is_silent = True
            out.append(SetTimer(SILENCE, int(self._rng.random() * spread_ns)))
            return
        out.append(SetTimer(SILENCE, options.silence_ms_min * _MS + int(self._rng.random() * spread_ns)))
        self._candidacy = None
        self._leader = None
        if self._role != "follower":
            self._set_role("follower", out)
        self.learner.give_up(out)  # No leader is in reach to tell how they end.
        self._poll_number += 1
        self._polled = {self._node}
        message = Poll(self._node, self._poll_number)
        out.extend([Send(other, message) for other in self._others])
        if self._quorums.phase_1 == 1:
            self._stand(out)

    # --- standing for leader --------------------------------------------------------------------------------------------

    def _on_poll(self, source: NodeId, request: Poll, out: Effects) -> None:
        """Say whether this node heard a leader lately; a candidate would only disturb one that others hear."""
        is_silent = self._is_silent and self._leadership is None and not self._grant.forbids(source)
        out.append(Send(source, PollReply(request.number, is_silent, self.learner.base_index)))

    def _on_poll_reply(self, source: NodeId, reply: PollReply, out: Effects) -> None:
        """Stand when a quorum of phase 1 is silent, unless someone's log begins behind what this node knows: it learns first."""
        if reply.number != self._poll_number or not self._is_silent or self._candidacy or self._leadership:
            return
        if self._is_behind(source, reply.base_index, out) or not reply.is_silent:
            return
        self._polled.add(source)
        if len(self._polled) >= self._quorums.phase_1:
            self._stand(out)

    def _is_behind(self, source: NodeId, base_index: int, out: Effects) -> bool:
        if base_index <= self.learner.chosen_index:
            return False
        self._catching_up.ask(source, self.learner, out)
        return True

    def _stand(self, out: Effects) -> None:
        """Phase 1a: draw a ballot above every one that is known, and ask for the promises of all (PMS §2.2)."""
        promised = self.acceptor.promised
        if self._grant.forbids(self._node):
            return
        ballot = above(max(self._drawn, self._seen, promised), self._node)
        if zoo.BALLOT_REUSED in self._bugs:
            if self._drawn == NO_BALLOT and promised[1] == self._node and self._seen <= promised:
                ballot = promised  # It is the last that this node drew: nothing on disk says that it did.
        else:
            out.append(Persist(Drawn(ballot)))  # Before the Sends: no ballot is drawn twice.
        self._drawn = ballot
        self._poll_number += 1  # Later answers to the poll count for nothing.
        from_slot = self.learner.chosen_index + 1
        self._candidacy = Candidacy(ballot, from_slot)
        self._set_role("candidate", out, ballot)
        message = Prepare(ballot, self._node, from_slot)
        out.extend([Send(other, message) for other in self._others])
        if self.acceptor.promise(ballot, out):
            own = Promise(ballot, True, ballot, 0, tuple(self.acceptor.held_from(from_slot)))
            self._on_promise(self._node, own, out)

    def _on_prepare(self, source: NodeId, request: Prepare, out: Effects) -> None:
        """Phase 1b: promise, unless a higher ballot or, for a while, a leader's lease has a promise (PMS §2.2)."""
        ballot, promised = request.ballot, self.acceptor.promised
        if self._grant.forbids(source) or not self.acceptor.promise(ballot, out):
            out.append(Send(source, Promise(ballot, False, max(promised, self._seen))))
            return
        if ballot > promised:
            self._step_down(None, out)
            self._hear(out)
        known = self.learner.chosen_from(request.from_slot)
        held = {one.slot: one for one in self.acceptor.held_from(request.from_slot)}
        held.update({slot: Held(slot, ballot, entry, True) for slot, entry in known.items()})
        told = tuple([held[slot] for slot in sorted(held)])
        out.append(Send(source, Promise(ballot, True, ballot, self.learner.base_index, told)))

    def _on_promise(self, source: NodeId, reply: Promise[Any], out: Effects) -> None:
        """Lead with the promises of a quorum of phase 1 (PMS §3)."""
        candidacy = self._candidacy
        self._seen = max(self._seen, reply.promised)
        if candidacy is None or reply.ballot != candidacy.ballot:
            return
        if not reply.granted or self._is_behind(source, reply.base_index, out):
            self._step_down(
                None, out
            )  # The next try comes after a random while, so that of two candidates one gets through.
            return
        candidacy.promises[source] = reply
        if len(candidacy.promises) >= self._quorums.phase_1:
            self._lead(candidacy, out)

    def _lead(self, candidacy: Candidacy, out: Effects) -> None:
        """Propose again what may have been chosen, fill the gaps between with no-ops, and go on behind (PMS §3).

        One no-op more stands behind it all: a command of this leader's own ballot, which tells at the latest what was chosen
        before.
        """
        self._candidacy = None
        self._leader = self._node
        self._set_role("leader", out, candidacy.ballot)
        candidacy.begin_behind(self.learner.base_index)
        known = self.learner.chosen_from(candidacy.from_slot)
        values = candidacy.values(known, self._bugs)
        leadership = Leadership(
            self._node,
            candidacy.ballot,
            candidacy.from_slot,
            self._others,
            self._quorums.phase_2,
            self.learner,
            self._options,
        )
        self._leadership = leadership
        self._lease.begin()
        out.append(CancelTimer(SILENCE))
        out.append(SetTimer(CHECK, self._options.silence_ms_max * _MS))
        self._propose(leadership, [*values, Entry(candidacy.ballot)], out)
        leadership.read_index_min = leadership.last_slot
        self._send_heartbeats(leadership, out)

    def _set_role(self, role: Role, out: Effects, ballot: Ballot | None = None) -> None:
        self._role = role
        out.append(Trace(RoleEvent(role, (self.acceptor.promised if ballot is None else ballot)[0])))

    def _step_down(self, leader: NodeId | None, out: Effects) -> None:
        """Follow. Reads that wait fail at once; commands go on waiting for news of their slots."""
        leadership, self._leadership, self._candidacy = self._leadership, None, None
        self._leader = leader
        if self._role != "follower":
            self._set_role("follower", out)
        if leadership is not None:
            waiting = [*leadership.drain_reads(), *[request_id for request_id, _ in self._lease.drain()]]
            out.extend([Reply(request_id, Answer("not-leader", leader=leader)) for request_id in waiting])
            out.append(CancelTimer(HEARTBEAT))
            self._hear(out)

    # --- leading --------------------------------------------------------------------------------------------------------

    def _propose(self, leadership: Leadership, entries: Sequence[Entry[Any]], out: Effects) -> int:
        """Propose these entries in the next slots: send them, and write them to the node's own disk while they travel.

        Returns the first slot. The node's own acceptance counts at once: what is told because of it stands behind its record.
        """
        first = leadership.last_slot + 1
        for entry in entries:
            leadership.propose(entry)
        leadership.replicate(out)
        if self.acceptor.accept(leadership.ballot, first, entries, out):
            leadership.accepted_by_self(first, len(entries), out)
            if self._quorums.phase_2 == 1:
                self._advance(out)
            self._learn_from_one(first, entries, out)
        return first

    def _send_heartbeats(self, leadership: Leadership, out: Effects) -> None:
        out.append(SetTimer(HEARTBEAT, self._options.heartbeat_ms * _MS))
        self._lease.ask(leadership, out)
        leadership.send_heartbeats(out)
        self._confirm(leadership, out)

    def _check_quorum(self, leadership: Leadership, out: Effects) -> None:
        """A leader that a quorum leaves unanswered steps down, so that its clients ask elsewhere."""
        if leadership.count_active() < self._quorums.phase_2:
            self._step_down(None, out)
        else:
            out.append(SetTimer(CHECK, self._options.silence_ms_max * _MS))

    def _on_accept_reply(self, source: NodeId, reply: AcceptReply, out: Effects) -> None:
        """Count the acceptance, for what is chosen and for reads (PMS §2.2). A refusal tells of a higher ballot."""
        self._seen = max(self._seen, reply.promised)
        leadership = self._leadership
        if leadership is None or reply.ballot != leadership.ballot:
            return
        if not reply.granted:
            self._step_down(None, out)
            return
        if reply.number > leadership.number:
            out.append(traces.acknowledged_unsent(source, reply, leadership.number, leadership.last_slot))
        leadership.answered(source, reply, out)
        if reply.count:
            self._advance(out)
        self._confirm(leadership, out)
        leadership.ask_again(source, out)
        leadership.replicate(out)

    def _confirm(self, leadership: Leadership, out: Effects) -> None:
        """A lease may begin, and reads may be ready."""
        self._lease.confirm(leadership, out)
        if leadership.has_reads:
            self._answer_reads(leadership, out)

    def _advance(self, out: Effects) -> None:
        """Carry out what is chosen, and answer the reads that waited for it."""
        if self.learner.advance(out) and self._leadership is not None and self._leadership.has_reads:
            self._answer_reads(self._leadership, out)

    # --- accepting and learning -----------------------------------------------------------------------------------------

    def _on_accept(self, source: NodeId, request: Accept[Any], out: Effects) -> None:
        """Phase 2b: accept, unless a higher ballot has a promise; learn how far the leader is (PMS §2.2, §2.3)."""
        ballot, slot, entries, number = request.ballot, request.slot, request.entries, request.number
        count = len(entries)
        base_index = self.learner.base_index
        if count and slot <= base_index:  # A snapshot stands for these: they are chosen, and cannot be anything else.
            slot, entries = base_index + 1, entries[base_index + 1 - slot :]
        known = self.acceptor.promised
        if (not entries and ballot < known) or (entries and not self.acceptor.accept(ballot, slot, entries, out)):
            out.append(Send(source, AcceptReply(ballot, False, max(known, self._seen), number, request.slot, 0)))
            return
        if not entries and ballot > known:
            self.acceptor.promise(ballot, out)
        if ballot >= known:
            self._follow(source, out)
        out.append(Send(source, AcceptReply(ballot, True, max(ballot, known), number, request.slot, count)))
        self._learn_from_one(slot, entries, out)
        self._learn_up_to(source, request, out)

    def _follow(self, leader: NodeId, out: Effects) -> None:
        if self._leadership is not None or self._candidacy is not None:
            self._step_down(leader, out)
        self._leader = leader
        self._hear(out)
        self._grant.begin(leader, out)

    def _learn_up_to(self, source: NodeId, request: Accept[Any], out: Effects) -> None:
        """What this acceptor accepted under the leader's ballot is what the leader proposed: up to its index, that is chosen.

        Where it holds nothing of that ballot, another value may be chosen: it asks, when the next heartbeat still finds it behind.
        """
        learner, held, ballot = self.learner, self.acceptor.held, request.ballot
        entries: list[Entry[Any]] = []
        for slot in range(learner.chosen_index + 1, request.chosen_index + 1):
            own = held.get(slot)
            if own is not None and own[0] == ballot:
                entries.append(own[1])
            elif learner.knows(slot):
                entries.append(learner.entry_ahead(slot))
            else:
                break
        if entries:
            learner.learn(learner.chosen_index + 1, entries, out)
        learner.advance(out)
        if not request.entries and request.chosen_index > learner.chosen_index:
            self._catching_up.ask(source, learner, out)

    def _learn_from_one(self, slot: int, entries: Sequence[Entry[Any]], out: Effects) -> None:
        if zoo.LEARN_FROM_ONE in self._bugs:
            self.learner.learn(slot, entries, out)
            self._advance(out)

    def _on_learn(self, source: NodeId, request: Learn, out: Effects) -> None:
        """Tell a learner that is behind what is chosen (PMS §2.3)."""
        out.append(Send(source, self._catching_up.answer(request, self.learner)))

    def _on_learned(self, source: NodeId, reply: Learned[Any], out: Effects) -> None:
        """Learn what another learner knows: entry by entry, or by a snapshot in parts."""
        before = self._catching_up.known(source, self.learner)
        snapshot = self._catching_up.take(source, reply, self.learner, out)
        if snapshot is not None:
            self.learner.install(snapshot, out)
            self.learner.is_unsaved = True
        self._advance(out)
        self._catching_up.go_on(source, reply, before, self.learner, out)

    # --- clients --------------------------------------------------------------------------------------------------------

    def _on_request(self, event: Request, out: Effects) -> None:
        """The leader serves; others name the leader that they know."""
        command, request_id, leadership = event.body, event.request_id, self._leadership
        assert isinstance(command, Command), f"a request carries a Command, not {type(command).__name__}"
        if leadership is None:
            out.append(Reply(request_id, Answer("not-leader", leader=self._leader)))
        elif command.__class__ is TakeBackup:
            leadership.begin_read(request_id, command, out)
            self._answer_reads(leadership, out)
        elif not command.is_read or self._options.reads == "log":
            # It waits before it is proposed: a cluster of one may have it chosen within the step.
            self.learner.await_slot(leadership.last_slot + 1, leadership.ballot, request_id)
            self._propose(leadership, (Entry(leadership.ballot, command),), out)
        elif self._lease.holds:
            self._lease.add(request_id, command, out)
        else:
            leadership.begin_read(request_id, command, out)
            self._answer_reads(leadership, out)

    def _answer_reads(self, leadership: Leadership, out: Effects) -> None:
        index = self.learner.chosen_index
        for request_id, command in leadership.take_ready():
            if command.__class__ is TakeBackup:
                highest = max(self.acceptor.promised, self._seen, self._drawn)
                out.append(
                    Reply(request_id, Answer("ok", backup=backup.take(highest, self.learner.machine, index)), index)
                )
            else:
                out.append(Reply(request_id, self.learner.query(command), index))

    def _answer_leased_reads(self, leadership: Leadership, out: Effects) -> None:
        """Answer alone, where the lease still lasts; else ask a quorum, as without one."""
        may_answer = self._lease.holds and self.learner.chosen_index >= leadership.read_index_min
        for request_id, command in self._lease.drain():
            if may_answer:
                out.append(Reply(request_id, self.learner.query(command), self.learner.chosen_index))
            else:
                leadership.begin_read(request_id, command, out)
        self._answer_reads(leadership, out)
