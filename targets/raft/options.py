"""What a user may set on a Raft node."""

from __future__ import annotations

from typing import Literal

import msgspec

CHUNK_CHARS_MAX = 262_144
"""Escaped as JSON, it is still far below what a node takes as one body."""


class RaftOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are on the node's own clock.

    reads: how a read is made linearizable. `read-index`: a majority confirms that the leader leads (thesis §6.4).
        `log`: the read goes through the log. `lease`: as read-index, without the round while a majority has answered so lately
        that nobody else can have been elected (thesis §6.4.1); this trusts clocks not to jump, and to run within lease_drift.
        `local`: it is not; any node answers at once from what it has applied.
    lease_drift: the fastest clock runs at most so many times as fast as the slowest; a lease lasts election_ms_min / lease_drift.
    heartbeat_ms: between a leader's heartbeats.
    election_ms_min, election_ms_max: bounds of the random election time-out (Raft §9.3); busy machines need more.
    entries_per_message_max: batch size of AppendEntries.
    pipeline_messages_max: so many messages with entries may be unanswered by one follower (thesis §10.2.1). With 1, entries that
    come
        meanwhile wait, and go together.
    pre_vote: ask before beginning a term (thesis §9.6).
    snapshot_entries: the node takes a snapshot after so many entries, or more when its state is large beside them; 0: never.
    snapshot_chunk_chars: how much of a snapshot one message carries.
    voters: so many nodes vote from the beginning (n1, n2, ...), the others wait to be added; 0: all.
    sessions: clients number their commands in sessions and ask again until they know how a command ended; the state machine carries
        each out once (thesis §6.3).
    sessions_max: one more session ends the one that was used least lately.
    check_quorum: a leader that a majority leaves unanswered for election_ms_max steps down (thesis §6.2).
    """

    reads: Literal["read-index", "log", "lease", "local"] = "read-index"
    lease_drift: float = 4.0
    heartbeat_ms: int = 50
    election_ms_min: int = 150
    election_ms_max: int = 300
    entries_per_message_max: int = 64
    pipeline_messages_max: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    snapshot_entries: int = 1000
    snapshot_chunk_chars: int = 65_536
    voters: int = 0
    sessions: bool = False
    sessions_max: int = 10_000

    def __post_init__(self) -> None:
        if self.heartbeat_ms < 1:
            raise ValueError(f"heartbeat_ms is {self.heartbeat_ms}; it must be at least 1")
        if not 1.0 <= self.lease_drift <= 100.0:
            raise ValueError(f"lease_drift is {self.lease_drift}; it must be from 1 to 100")
        if self.election_ms_min <= self.heartbeat_ms:
            raise ValueError(
                f"election_ms_min is {self.election_ms_min}; it must exceed heartbeat_ms, {self.heartbeat_ms}"
            )
        if self.election_ms_max < self.election_ms_min:
            raise ValueError(
                f"election_ms_max is {self.election_ms_max}, below election_ms_min, {self.election_ms_min}"
            )
        if self.snapshot_entries < 0:
            raise ValueError(f"snapshot_entries is {self.snapshot_entries}; it must be at least 0, which means never")
        if not 1 <= self.snapshot_chunk_chars <= CHUNK_CHARS_MAX:
            raise ValueError(
                f"snapshot_chunk_chars is {self.snapshot_chunk_chars}; it must be from 1 to {CHUNK_CHARS_MAX}"
            )
        if self.pipeline_messages_max < 1:
            raise ValueError(f"pipeline_messages_max is {self.pipeline_messages_max}; it must be at least 1")
        if self.sessions_max < 1:
            raise ValueError(f"sessions_max is {self.sessions_max}; it must be at least 1")
        if self.voters < 0:
            raise ValueError(f"voters is {self.voters}; it must be at least 0, which means all nodes")
        if self.entries_per_message_max < 1:
            raise ValueError(f"entries_per_message_max is {self.entries_per_message_max}; it must be at least 1")
