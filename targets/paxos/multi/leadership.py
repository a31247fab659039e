"""Phase 2 for every slot of one ballot: what a leader proposes, who accepted it, and who still leads (PMS §3).

A leader does not wait for one slot before it proposes the next: each peer is sent a few messages at a time. What got lost is sent
again after a heartbeat. So acceptors may have gaps, and a new leader may find some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from targets.core import Effect, NodeId, Send
from targets.machines.machine import Command
from targets.paxos.ballots import Ballot
from targets.paxos.multi.entries import Entry
from targets.paxos.multi.learner import Learner
from targets.paxos.multi.messages import Accept, AcceptReply
from targets.paxos.multi.options import MultiOptions
from targets.paxos.multi.traces import rows
from targets.paxos.quorums import reached_by


class Peer:
    """next_slot: the first slot that it was not sent. match: it has accepted every slot from the leadership's first up to here.
    acked: those that it has accepted behind that. inflight: numbers of messages with entries that it has not answered.

    sent: number of the last message to it. acknowledged: the highest number that it has answered with a yes. asked: number of the
    heartbeat that reads wait for; 0: none. beat: number of the last heartbeat but one. is_active: it answered since the leader last
    asked whether it still has a quorum.
    """

    __slots__ = (
        "acked",
        "acknowledged",
        "asked",
        "beat",
        "inflight",
        "is_active",
        "match",
        "next_slot",
        "node",
        "sent",
    )

    def __init__(self, node: NodeId, first_slot: int) -> None:
        self.node = node
        self.next_slot = first_slot
        self.match = first_slot - 1
        self.acked: set[int] = set()
        self.inflight: set[int] = set()
        self.sent = self.acknowledged = self.asked = self.beat = 0
        self.is_active = True


class Leadership:
    """The leadership of `node` under `ballot`, for the slots from `first_slot` on.

    read_index_min: no read is answered before this slot is carried out: it is the last that an earlier leader may have got chosen.
    """

    __slots__ = (
        "_commands_max",
        "_inflight_max",
        "_learner",
        "_node",
        "_number",
        "_peers",
        "_phase_2",
        "_reads",
        "_votes",
        "ballot",
        "entries",
        "last_slot",
        "leases",
        "read_index_min",
    )

    def __init__(
        self,
        node: NodeId,
        ballot: Ballot,
        first_slot: int,
        others: Sequence[NodeId],
        phase_2: int,
        learner: Learner,
        options: MultiOptions,
    ) -> None:
        self._node = node
        self.ballot = ballot
        self._phase_2 = phase_2
        self._learner = learner
        self._commands_max = options.commands_per_message_max
        self._inflight_max = options.messages_in_flight_max
        self._peers = {other: Peer(other, first_slot) for other in others}
        self._number = 0
        self.last_slot = first_slot - 1
        self.entries: dict[int, Entry[Any]] = {}
        """What it has proposed and does not know to be chosen yet."""
        self._votes: dict[int, set[NodeId]] = {}
        self.read_index_min = 0
        self._reads: deque[tuple[int, int, int, Command]] = deque()
        self.leases: deque[tuple[int, int]] = deque()
        """(lease, number after which an answer confirms it), oldest first."""

    # --- proposing --------------------------------------------------------------------------------------------------------

    def propose(self, entry: Entry[Any]) -> int:
        """Propose `entry` in the next slot, which is returned. The caller lets the node's own acceptor accept it."""
        self.last_slot += 1
        self.entries[self.last_slot] = entry
        self._votes[self.last_slot] = set()
        return self.last_slot

    def replicate(self, out: list[Effect]) -> None:
        """Send every peer what it was not sent, as far as it has answered enough."""
        last = self.last_slot
        for peer in self._peers.values():
            while peer.next_slot <= last and len(peer.inflight) < self._inflight_max:
                self._send_entries(peer, out)

    def _send_entries(self, peer: Peer, out: list[Effect]) -> None:
        learner = self._learner
        if peer.next_slot <= learner.base_index:  # It learns by the snapshot what is chosen there.
            peer.next_slot = learner.base_index + 1
            peer.match = max(peer.match, learner.base_index)
        slot = peer.next_slot
        count = min(self.last_slot + 1 - slot, self._commands_max)
        entries = learner.entries_from(slot, count) if slot <= learner.chosen_index else ()
        own = self.entries
        rest = range(slot + len(entries), slot + count)
        entries += tuple([own[at] if at in own else learner.entry_ahead(at) for at in rest])
        self._number += 1
        peer.sent = self._number
        peer.inflight.add(self._number)
        peer.next_slot = slot + count
        out.append(Send(peer.node, Accept(self.ballot, self._node, slot, entries, learner.chosen_index, self._number)))

    def send_heartbeats(self, out: list[Effect]) -> None:
        """Tell all that the leader is there, and send again what was lost: what was unanswered at the last heartbeat but one."""
        for peer in self._peers.values():
            if peer.inflight and min(peer.inflight) <= peer.beat:
                peer.inflight.clear()
                peer.next_slot = peer.match + 1
            peer.beat = self._number
            self._send_empty(peer, out)
        self.replicate(out)

    def _send_empty(self, peer: Peer, out: list[Effect]) -> None:
        self._number += 1
        peer.sent = peer.asked = self._number
        out.append(Send(peer.node, Accept(self.ballot, self._node, 0, (), self._learner.chosen_index, self._number)))

    # --- hearing ------------------------------------------------------------------------------------------------------------

    def accepted_by_self(self, slot: int, count: int, out: list[Effect]) -> None:
        """The node's own acceptor accepted these slots; whatever is told because of it waits for its record."""
        self._count(range(slot, slot + count), self._node, out)

    def answered(self, source: NodeId, reply: AcceptReply, out: list[Effect]) -> None:
        """`source` accepted what the answered message was about."""
        peer = self._peers[source]
        peer.is_active = True
        number = reply.number
        peer.acknowledged = max(peer.acknowledged, number)
        if number >= peer.asked:
            peer.asked = 0
        peer.inflight.discard(number)
        if not reply.count:
            return
        slots = range(reply.slot, reply.slot + reply.count)
        self._count(slots, source, out)
        if slots[0] <= peer.match + 1:
            peer.match = max(peer.match, slots[-1])
        else:
            peer.acked.update(slots)
        if peer.acked:
            while peer.match + 1 in peer.acked:
                peer.match += 1
            peer.acked = {slot for slot in peer.acked if slot > peer.match}

    def _count(self, slots: Sequence[int], node: NodeId, out: list[Effect]) -> None:
        """`node` has accepted what was proposed in these slots: what a quorum has accepted is chosen."""
        chosen = []
        for slot in slots:
            votes = self._votes.get(slot)
            if votes is None:
                continue
            votes.add(node)
            if len(votes) >= self._phase_2:
                del self._votes[slot]
                chosen.append((slot, self.entries.pop(slot)))
        for first, entries in rows(chosen):
            self._learner.learn(first, entries, out)

    def count_active(self) -> int:
        """How many members, the leader with them, gave a sign of life since the last call."""
        count = 1
        for peer in self._peers.values():
            count += peer.is_active
            peer.is_active = False
        return count

    def confirmed_number(self) -> int:
        """The highest number that a quorum of phase 2 has answered; the leader itself needs no message.

        Such a quorum shares a member with every one of phase 1: when those answers were given, nobody else had been elected.
        """
        marks = [peer.acknowledged for peer in self._peers.values()]
        marks.append(self._number + 1)
        return reached_by(marks, self._phase_2)

    # --- reads --------------------------------------------------------------------------------------------------------------

    @property
    def has_reads(self) -> bool:
        """Whether a read waits."""
        return bool(self._reads)

    @property
    def number(self) -> int:
        """Of the last message."""
        return self._number

    def begin_read(self, request_id: int, command: Command, out: list[Effect]) -> None:
        """Wait until a quorum has answered something that is sent from now on. Reads that come meanwhile share the next round."""
        self._reads.append((self._number, max(self._learner.chosen_index, self.read_index_min), request_id, command))
        for peer in self._peers.values():
            if not peer.asked:
                self._send_empty(peer, out)

    def ask_again(self, source: NodeId, out: list[Effect]) -> None:
        """After an answer of `source`: ask once more when the newest read came after the last question."""
        peer = self._peers[source]
        if self._reads and not peer.asked and self._reads[-1][0] >= peer.sent:
            self._send_empty(peer, out)

    def take_ready(self) -> list[tuple[int, Command]]:
        """(request id, command) of the reads that may be answered now; they wait no more."""
        reads, ready = self._reads, []
        if reads:
            confirmed, applied = self.confirmed_number(), self._learner.chosen_index
            while reads and reads[0][0] < confirmed and reads[0][1] <= applied:
                _, _, request_id, command = reads.popleft()
                ready.append((request_id, command))
        return ready

    def drain_reads(self) -> list[int]:
        """All request ids that wait; none waits after it."""
        request_ids = [request_id for _, _, request_id, _ in self._reads]
        self._reads.clear()
        return request_ids
