"""What a leader keeps (Raft figure 2, "volatile state on leaders"), from its election until it steps down."""

from __future__ import annotations

from collections.abc import Iterable

from targets.core import Effect, NodeId, Send
from targets.machines.machine import Command
from targets.raft.lease import Lease
from targets.raft.log import Log
from targets.raft.messages import AppendEntries, AppendEntriesReply, InstallSnapshot, InstallSnapshotReply
from targets.raft.options import RaftOptions
from targets.raft.progress import Progress
from targets.raft.quorum import reached_by_majority
from targets.raft.state_machine import StateMachine
from targets.raft.waiting import Reads


class Leadership:
    """The leadership of `node` in `term`; `log` and `state` are the node's own.

    sequence: of the last message that it sent. durable_index: how much of the leader's own log is on its disk.
    read_index_min: no read is answered before this index is applied. asks_before_reading: nor before a majority has answered
        what was sent after the read came; false only under the bug read-index-without-quorum. lease: None unless reads=lease.
    """

    __slots__ = (
        "_chunk_chars",
        "_entries_max",
        "_log",
        "_node",
        "_peers",
        "_state",
        "_syncing",
        "_term",
        "asks_before_reading",
        "durable_index",
        "lease",
        "read_index_min",
        "reads",
        "sequence",
    )

    def __init__(
        self, node: NodeId, term: int, log: Log, state: StateMachine, others: Iterable[NodeId], options: RaftOptions
    ) -> None:
        self._node = node
        self._term = term
        self._log = log
        self._state = state
        self._entries_max = options.entries_per_message_max
        self._chunk_chars = options.snapshot_chunk_chars
        self._peers = {other: Progress(other, log.last_index + 1) for other in others}
        self.sequence = 0
        self._syncing: dict[int, int] = {}
        # What was in the log before the election was persisted before the votes were asked for.
        self.durable_index = log.last_index
        self.read_index_min = 0
        self.asks_before_reading = True
        self.lease: Lease | None = None
        self.reads = Reads()

    # --- sending ------------------------------------------------------------------------------------------------------

    def replicate(self, commit_index: int, out: list[Effect]) -> None:
        """Send to every follower that has no replicating message left to answer; the others get theirs when they have answered."""
        for peer in self._peers.values():
            if not peer.inflight:
                self._send_entries(peer, commit_index, out)

    def send_heartbeats(self, commit_index: int, out: list[Effect]) -> None:
        """Send empty AppendEntries to all: they prevent elections (Raft §5.2) and show which messages were lost."""
        for peer in self._peers.values():
            self._send(peer, commit_index, False, out)

    def follow_up(self, node: NodeId, commit_index: int, out: list[Effect]) -> None:
        """After an answer of `node`, send more when it lacks entries, or when a read needs a later answer of it."""
        peer = self._peers[node]
        if not peer.inflight and (peer.next_index <= self._log.last_index or self.reads.newest_after >= peer.sent):
            self._send_entries(peer, commit_index, out)

    def _send_entries(self, peer: Progress, commit_index: int, out: list[Effect]) -> None:
        if peer.next_index <= self._log.base_index:
            self._send_chunk(peer, out)
        else:
            self._send(peer, commit_index, True, out)
        peer.inflight = peer.sent

    def _send(self, peer: Progress, commit_index: int, has_entries: bool, out: list[Effect]) -> None:
        log, next_index = self._log, peer.next_index
        entries = log.entries_from(next_index, self._entries_max) if has_entries else ()
        self.sequence = peer.sent = sequence = self.sequence + 1
        if self.lease is not None:
            self.lease.sent(sequence)
        prev = next_index - 1
        if prev >= log.base_index:
            message = AppendEntries(self._term, self._node, prev, log.term_at(prev), entries, commit_index, sequence)
        else:  # A heartbeat for one that needs the snapshot: it fits any log.
            message = AppendEntries(self._term, self._node, 0, 0, (), commit_index, sequence)
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
        )
        out.append(Send(peer.node, message))

    # --- hearing ------------------------------------------------------------------------------------------------------

    def answered(self, node: NodeId, reply: AppendEntriesReply) -> bool:
        """Advance or back up nextIndex (Raft §5.3), in any order of answers. Returns whether `node` holds more now."""
        peer = self._peers[node]
        sequence = reply.sequence
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
        peer = self._peers[node]
        sequence = reply.sequence
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
        """How many members, including the leader, gave a sign of life since the last call."""
        count = 1
        for peer in self._peers.values():
            count += peer.is_active
            peer.is_active = False
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
        marks = [peer.match_index for peer in self._peers.values()]
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
        marks = [peer.acknowledged for peer in self._peers.values()]
        marks.append(self.sequence + 1)  # The leader's own answer needs no message.
        return reached_by_majority(marks)

    def ready_reads(self, applied_index: int) -> list[tuple[int, Command]]:
        """(request id, command) of the reads that may be answered from what is applied up to `applied_index`."""
        return self.reads.take_ready(self._answered_by_majority(), applied_index)
