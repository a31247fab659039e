"""The peer RPCs of Raft figures 2 and 13, field by field, and PreVote (thesis §9.6).

One field is ours: `sequence`. The paper pairs a response with its request by the RPC; here both are messages that may be lost,
repeated or late, so the leader numbers its AppendEntries within its term and the response repeats the number. The number tells
which rejections are news, and that a response answers a message that was sent after a read arrived (thesis §6.4). A number says
something only to the leadership that gave it. So who refuses an old term answers with number 0, which no message has: the asker may
lead again, in the very term that the refusal names, and number its messages from 1 anew.

`receiver` is ours too: the identity of the member that a request is for (targets/raft/configuration.py). A node that lost its data
is another member, and does not take what was meant for the one that it was.

The other replies need no such care. A vote, a pre-vote's yes and a match index name the term they were asked in, and a node
stands and leads at most once in a term. (A late yes to a pre-vote may belong to an earlier round of the same term: it costs at most
an election.)
"""

from __future__ import annotations

from typing import Generic

import msgspec

from targets.core import NodeId
from targets.raft.configuration import Configuration
from targets.raft.log import C, Entry, Natural


class RequestVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The candidate asks for the receiver's vote of `term` (Raft §5.2). is_transfer: the leader asked it to stand, so that it
    disturbs nobody (thesis §3.10)."""

    term: Natural
    candidate_id: NodeId
    last_log_index: Natural
    last_log_term: Natural
    receiver: Natural = 0
    is_transfer: bool = False


class RequestVoteReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`term` is the receiver's, for a candidate that is behind."""

    term: Natural
    vote_granted: bool


class PreVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Would the receiver vote for me in `term`, which I have not begun? It changes nothing (thesis §9.6)."""

    term: Natural
    candidate_id: NodeId
    last_log_index: Natural
    last_log_term: Natural
    receiver: Natural = 0


class PreVoteReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`term` repeats the request's when the vote would be granted, and is the receiver's own when not."""

    term: Natural
    vote_granted: bool


class AppendEntries(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The leader of `term` replicates `entries` behind prev_log_index; without entries, a heartbeat (Raft §5.3)."""

    term: Natural
    leader_id: NodeId
    prev_log_index: Natural
    prev_log_term: Natural
    entries: tuple[Entry[C], ...]
    leader_commit: Natural
    sequence: Natural
    receiver: Natural = 0


class InstallSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The leader of `term` sends one chunk of its snapshot to a follower that lacks entries which the leader's log no longer holds
    (Raft figure 13).

    last_index, last_term: of the entry that the snapshot ends with. digest: of the whole text. offset: where `data` stands in the
    text, in characters. done: it is the last chunk. config: the configuration at last_index.
    """

    term: Natural
    leader_id: NodeId
    last_index: Natural
    last_term: Natural
    digest: Natural
    offset: Natural
    data: str
    done: bool
    sequence: Natural
    receiver: Natural = 0
    config: Configuration | None = None


class InstallSnapshotReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """received: how much of the snapshot that ends at `last_index` the receiver has, in characters from its beginning.

    match_index: the receiver's log agrees with the leader's up to here; 0: it does not have the snapshot yet. A refusal of an old
    term has sequence 0, as that of AppendEntries.
    """

    term: Natural
    sequence: Natural
    last_index: Natural = 0
    received: Natural = 0
    match_index: Natural = 0


class AppendEntriesReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """success: the receiver's log agrees with the leader's up to match_index.

    Otherwise where they part (Raft §5.3, "if desired"): conflict_term is the receiver's term at prev_log_index and
    conflict_index its first index of that term; without an entry there, conflict_term is 0 and conflict_index just
    behind its last. Both are 0 when the request's term was an old one, and so is the sequence: the number belongs to an earlier
    leadership.
    """

    term: Natural
    success: bool
    sequence: Natural
    match_index: Natural = 0
    conflict_index: Natural = 0
    conflict_term: Natural = 0


class TimeoutNow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The leader of `term` asks a voter that holds its whole log to stand for election at once (thesis §3.10)."""

    term: Natural
    leader_id: NodeId
    receiver: Natural = 0


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A node that lost its data asks to be taken in under its new identity, in place of the one that it was."""

    node_id: NodeId
    identity: Natural
