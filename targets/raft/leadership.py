"""What a leader keeps (Raft figure 2, "volatile state on leaders"), from its election until it steps down."""

from __future__ import annotations

from targets.core import Effect, NodeId, Send
from targets.machines.machine import Command
from targets.raft.configuration import Change, Configuration
from targets.raft.lease import Lease
from targets.raft.log import Log
from targets.raft.messages import AppendEntries, AppendEntriesReply, InstallSnapshot, InstallSnapshotReply
from targets.raft.options import RaftOptions
from targets.raft.progress import Progress
from targets.raft.quorum import reached_by_majority
from targets.raft.state_machine import StateMachine
from targets.raft.waiting import Reads

CAUGHT_UP_ENTRIES = 64
"""A learner that lacks no more than this gets it within a few messages: it may vote."""


class Heir:
    """The voter to whom leadership is being handed over, for the client's request of this id. beats_left: so many more heartbeats
    the leader waits for it. is_asked: it was told to stand."""

    __slots__ = ("beats_left", "is_asked", "node", "request_id")

    def __init__(self, node: NodeId, request_id: int, beats_left: int) -> None:
        self.node = node
        self.request_id = request_id
        self.beats_left = beats_left
        self.is_asked = False


class AskedChange:
    """A change of the membership that takes a vote away, asked for by the client's request of this id. It waits until a majority of
    those who would vote after it has answered what was sent behind `after_sequence`. beats_left: for so many more heartbeats."""

    __slots__ = ("after_sequence", "beats_left", "change", "request_id")

    def __init__(self, change: Change, request_id: int, after_sequence: int, beats_left: int) -> None:
        self.change = change
        self.request_id = request_id
        self.after_sequence = after_sequence
        self.beats_left = beats_left


class Leadership:
    """The leadership of `node` in `term`; `log` and `state` are the node's own.

    sequence: of the last message that it sent. durable_index: how much of the leader's own log is on its disk.
    heir: to whom leadership is being handed over; None: to nobody. asked_changes: at most one, but under the bug
        membership-two-at-once. read_index_min: no read is answered before this index is
    applied. asks_before_reading: nor before a majority has answered
        what was sent after the read came; false only under the bug read-index-without-quorum. lease: None unless reads=lease.
    """

    __slots__ = (
        "_chunk_chars",
        "_counts_itself",
        "_entries_max",
        "_log",
        "_node",
        "_peers",
        "_pipeline_max",
        "_state",
        "_syncing",
        "_term",
        "_voters",
        "asked_changes",
        "asks_before_reading",
        "durable_index",
        "heir",
        "lease",
        "read_index_min",
        "reads",
        "sequence",
    )

    def __init__(
        self, node: NodeId, term: int, log: Log, state: StateMachine, config: Configuration, options: RaftOptions
    ) -> None:
        self._node = node
        self._term = term
        self._log = log
        self._state = state
        self._entries_max = options.entries_per_message_max
        self._chunk_chars = options.snapshot_chunk_chars
        self._pipeline_max = options.pipeline_messages_max
        self._peers: dict[NodeId, Progress] = {}
        self.sequence = 0
        self.configure(config)
        self._syncing: dict[int, int] = {}
        # What was in the log before the election was persisted before the votes were asked for.
        self.durable_index = log.last_index
        self.read_index_min = 0
        self.asks_before_reading = True
        self.lease: Lease | None = None
        self.reads = Reads()
        self.heir: Heir | None = None
        self.asked_changes: list[AskedChange] = []

    # --- the membership -----------------------------------------------------------------------------------------------

    def configure(self, config: Configuration) -> None:
        """From now on these nodes get the log, and these voters make a majority. Whoever is new, or is a new member under an old
        name, begins anew: answers to what the old one was sent do not count for it."""
        before, self._peers = self._peers, {}
        seats = {**config.voters, **config.learners}
        for other in sorted(seats):
            if other != self._node:
                peer = before.get(other)
                if peer is None or peer.identity != seats[other]:
                    peer = Progress(other, self._log.last_index + 1, seats[other], self.sequence)
                self._peers[other] = peer
        self._voters = [peer for other, peer in self._peers.items() if other in config.voters]
        self._counts_itself = self._node in config.voters

    def answering(self) -> set[NodeId]:
        """The nodes that gave a sign of life since the last count but one, or are new; the leader itself among them."""
        return {self._node, *(peer.node for peer in self._peers.values() if peer.is_active or peer.was_active)}

    def answered_after(self, sequence: int) -> set[NodeId]:
        """The nodes that answered a message sent behind that of this number; the leader itself among them. None of them had lost
        its data by then: a node that has takes no message for the member that it was."""
        return {self._node, *(peer.node for peer in self._peers.values() if peer.acknowledged > sequence)}

    def match_index_of(self, node: NodeId) -> int:
        """Up to here, the node is known to hold the log; 0 for a node that does not get it."""
        peer = self._peers.get(node)
        return 0 if peer is None else peer.match_index

    def identity_of(self, node: NodeId) -> int:
        """Under which the node gets its messages."""
        return self._peers[node].identity

    def has_caught_up(self, node: NodeId) -> bool:
        """The node lacks so little of the log that it will soon have all of it (thesis §4.2.1)."""
        peer = self._peers[node]
        return peer.is_active and peer.match_index > 0 and self._log.last_index - peer.match_index <= CAUGHT_UP_ENTRIES

    # --- sending ------------------------------------------------------------------------------------------------------

    def replicate(self, commit_index: int, out: list[Effect]) -> None:
        """Send to every follower that may be sent a replicating message now; the others get theirs when they have answered."""
        for peer in self._peers.values():
            if not peer.inflight:
                self._send_entries(peer, commit_index, out)

    def send_heartbeats(self, commit_index: int, out: list[Effect]) -> None:
        """Send empty AppendEntries to all: they prevent elections (Raft §5.2) and show which messages were lost."""
        for peer in self._peers.values():
            self._send(peer, commit_index, False, out)

    def follow_up(self, node: NodeId, commit_index: int, out: list[Effect]) -> None:
        """After an answer of `node`, send more when it lacks entries, or when a read needs a later answer of it."""
        peer = self._peers.get(node)
        if peer is None:
            return
        while not peer.inflight and (peer.next_index <= self._log.last_index or self.reads.newest_after >= peer.sent):
            self._send_entries(peer, commit_index, out)

    def _send_entries(self, peer: Progress, commit_index: int, out: list[Effect]) -> None:
        if peer.next_index <= self._log.base_index:
            self._send_chunk(peer, out)
            peer.inflight = peer.sent
            return
        first = peer.next_index
        self._send(peer, commit_index, True, out)
        if self._pipeline_max == 1:
            peer.inflight = peer.sent
        else:
            peer.sends_ahead(min(self._entries_max, self._log.last_index + 1 - first), self._pipeline_max)

    def _send(self, peer: Progress, commit_index: int, has_entries: bool, out: list[Effect]) -> None:
        log, next_index = self._log, peer.next_index
        entries = log.entries_from(next_index, self._entries_max) if has_entries else ()
        self.sequence = peer.sent = sequence = self.sequence + 1
        if self.lease is not None:
            self.lease.sent(sequence)
        prev = next_index - 1
        if prev >= log.base_index:
            message = AppendEntries(
                self._term, self._node, prev, log.term_at(prev), entries, commit_index, sequence, peer.identity
            )
        else:  # A heartbeat for one that needs the snapshot: it fits any log.
            message = AppendEntries(self._term, self._node, 0, 0, (), commit_index, sequence, peer.identity)
        out.append(Send(peer.node, message))

    def _send_chunk(self, peer: Progress, out: list[Effect]) -> None:
        """Send the next chunk of the snapshot that `peer` is being sent, or the first of the newest (Raft figure 13)."""
        snapshot = peer.snapshot
        if snapshot is None:
            snapshot = peer.snapshot = self._state.snapshot
            peer.snapshot_offset = 0
        assert snapshot is not None, "a log without its beginning has a snapshot"
        self.sequence = peer.sent = self.sequence + 1
        if self.lease is not None:
            self.lease.sent(self.sequence)
        offset = peer.snapshot_offset
        end = offset + self._chunk_chars
        message = InstallSnapshot(
            self._term,
            self._node,
            snapshot.last_index,
            snapshot.last_term,
            snapshot.digest,
            offset,
            snapshot.text[offset:end],
            end >= len(snapshot.text),
            peer.sent,
            peer.identity,
            snapshot.config,
        )
        out.append(Send(peer.node, message))

    # --- hearing ------------------------------------------------------------------------------------------------------

    def answered(self, node: NodeId, reply: AppendEntriesReply) -> bool:
        """Advance or back up nextIndex (Raft §5.3), in any order of answers. Returns whether `node` holds more now."""
        peer = self._peers.get(node)
        sequence = reply.sequence
        if peer is None or sequence <= peer.since:
            return False
        peer.hears(sequence)
        if reply.success:
            # Never beyond the log, but in a term that a planted bug made this node lead twice.
            return peer.matches(min(reply.match_index, self._log.last_index), self.sequence)
        if sequence > peer.next_since:
            own_index = self._log.last_index_of_term(reply.conflict_term) if reply.conflict_term else 0
            peer.back_up(own_index + 1 if own_index else reply.conflict_index, self.sequence)
        return False

    def snapshot_answered(self, node: NodeId, reply: InstallSnapshotReply) -> bool:
        """Go on with the snapshot from where `node` is, or with the log behind it. Returns whether `node` holds more now."""
        peer = self._peers.get(node)
        sequence = reply.sequence
        if peer is None or sequence <= peer.since:
            return False
        peer.hears(sequence)
        if reply.match_index:
            if peer.snapshot is not None and peer.snapshot.last_index <= reply.match_index:
                peer.snapshot = None
            return peer.matches(min(reply.match_index, self._log.last_index), self.sequence)
        snapshot = peer.snapshot
        if snapshot is not None and snapshot.last_index == reply.last_index and sequence > peer.snapshot_since:
            peer.snapshot_since = sequence
            peer.snapshot_offset = reply.received if reply.received < len(snapshot.text) else 0
        return False

    def count_active(self) -> int:
        """How many voters, including the leader, gave a sign of life since the last call."""
        count = int(self._counts_itself) + sum(peer.is_active for peer in self._voters)
        for peer in self._peers.values():
            peer.was_active, peer.is_active = peer.is_active, False
        return count

    def writing(self, index: int, token: int) -> None:
        """The entry at `index` is on its way to the leader's own disk."""
        self._syncing[token] = index

    def written(self, token: int) -> bool:
        """The entry is on the disk. Returns whether that is news; tokens of earlier leaderships are not."""
        index = self._syncing.pop(token, 0)
        if index <= self.durable_index:
            return False
        self.durable_index = index
        return True

    def held_by_majority(self) -> int:
        """The highest index that a majority of disks holds."""
        marks = [peer.match_index for peer in self._voters]
        if self._counts_itself:
            marks.append(self.durable_index)
        return reached_by_majority(marks)

    # --- reads --------------------------------------------------------------------------------------------------------

    def begin_read(self, request_id: int, command: Command, commit_index: int) -> bool:
        """Wait until a majority has answered something that is sent from now on (Raft §8, thesis §6.4).

        Reads that come while such a message is under way share the next. Under a lease the majority has answered already. Returns
        whether a message is needed.
        """
        needs_round = self.asks_before_reading and not (self.lease is not None and self.has_lease(self.lease))
        after = self.sequence if needs_round else -1
        self.reads.add(after, max(commit_index, self.read_index_min), request_id, command)
        return needs_round

    def has_lease(self, lease: Lease) -> bool:
        """Whether a majority has answered so lately that nobody else can have been elected."""
        lease.answered(self._answered_by_majority())
        return lease.is_held

    def _answered_by_majority(self) -> int:
        """The highest sequence such that a majority has answered that message or later ones."""
        marks = [peer.acknowledged for peer in self._voters]
        if self._counts_itself:
            marks.append(self.sequence + 1)  # The leader's own answer needs no message.
        return reached_by_majority(marks)

    def ready_reads(self, applied_index: int) -> list[tuple[int, Command]]:
        """(request id, command) of the reads that may be answered from what is applied up to `applied_index`."""
        return self.reads.take_ready(self._answered_by_majority(), applied_index)
