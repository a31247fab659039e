"""What a leader knows of one follower."""

from __future__ import annotations

from collections import deque

from targets.core import NodeId
from targets.raft.snapshots import Snapshot


class Progress:
    """next_index: the first entry to send. match_index: up to here its log is known to agree with the leader's.

    sent: the sequence of the last message to it. acknowledged: the highest sequence that it answered in this term.
    inflight: the sequence of the replicating message that must be answered before the next is sent, 0 when the next may go; while
        there is one, new entries wait and go together in the next. heartbeats are not held back by it, and an answer to a later
        one ends it, so a lost message costs one heartbeat.
    window: with a pipeline, the sequences of the replicating messages that are unanswered. next_index then runs ahead of what was
        answered, as if all of them would arrive; a rejection, also of a heartbeat, brings it back.
    next_since: the leader's sequence when next_index last changed; a rejection of an older message is not news.
    snapshot, snapshot_offset: what it is sent because the log no longer holds what it lacks, and how much of it it has. Both as of
        the answer with the sequence snapshot_since.
    is_active, was_active: it answered since the leader last asked whether it still has a quorum, and before that.
    identity: of the member. since: answers up to this sequence are not this member's, but of the one that was there before.

    Invariant: 0 <= match_index < next_index (as long as no member loses what it had persisted).
    """

    __slots__ = (
        "acknowledged",
        "identity",
        "inflight",
        "is_active",
        "match_index",
        "next_index",
        "next_since",
        "node",
        "sent",
        "since",
        "snapshot",
        "snapshot_offset",
        "snapshot_since",
        "was_active",
        "window",
    )

    def __init__(self, node: NodeId, next_index: int, identity: int = 0, since: int = 0) -> None:
        """The state at the beginning of a leadership (Raft figure 2, "reinitialized after election")."""
        self.node = node
        self.next_index = next_index
        self.match_index = 0
        self.identity = identity
        self.since = since
        self.sent = since
        self.acknowledged = 0
        self.inflight = 0
        self.next_since = 0
        self.window: deque[int] = deque()
        self.is_active = True
        self.was_active = False
        self.snapshot: Snapshot | None = None
        self.snapshot_offset = 0
        self.snapshot_since = 0

    def hears(self, sequence: int) -> None:
        """It answered the message with this sequence."""
        self.is_active = True
        if sequence > self.acknowledged:
            self.acknowledged = sequence
        if sequence >= self.inflight:
            self.inflight = 0
        window = self.window
        while window and window[0] <= sequence:
            window.popleft()

    def sends_ahead(self, entries_count: int, messages_max: int) -> None:
        """The message just sent, one of a pipeline, carries so many entries."""
        self.next_index += entries_count
        self.window.append(self.sent)
        self.inflight = self.window[0] if len(self.window) >= messages_max else 0

    def matches(self, index: int, sequence: int) -> bool:
        """Its log agrees up to `index`. Returns whether that is more than was known."""
        if index >= self.next_index:
            self.next_index = index + 1
            self.next_since = sequence
        if index <= self.match_index:
            return False
        self.match_index = index
        return True

    def back_up(self, index: int, sequence: int) -> None:
        """It rejected the last message; go on from `index`, which is at least one lower and at least 1."""
        self.next_index = max(1, min(index, self.next_index - 1))
        self.next_since = sequence
        if self.window:  # What is under way follows what was rejected.
            self.window.clear()
            self.inflight = 0
