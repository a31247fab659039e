"""The messages of Multi-Paxos (PMS §3). Every reply repeats the ballot, or the number, of what it answers."""

from __future__ import annotations

from typing import Generic

import msgspec

from targets.core import NodeId
from targets.paxos.ballots import Ballot, Natural
from targets.paxos.multi.entries import C, Entry, Held


class Poll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Have you, too, heard no leader lately? It changes nothing; who asks draws a ballot only when a quorum says yes."""

    node_id: NodeId
    number: Natural


class PollReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """base_index: up to here the receiver has only a snapshot, which who lacks it must have before it can lead."""

    number: Natural
    is_silent: bool
    base_index: Natural


class Prepare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 1a, for every slot from `from_slot` on at once: the proposer knows what is chosen in those before."""

    ballot: Ballot
    proposer_id: NodeId
    from_slot: Natural


class Promise(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Phase 1b. promised: the highest ballot that the acceptor has promised. held: what it has accepted from `from_slot` on.
    base_index: as in PollReply."""

    ballot: Ballot
    granted: bool
    promised: Ballot
    base_index: Natural = 0
    held: tuple[Held[C], ...] = ()


class Accept(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 2a: accept these entries in the slots from `slot` on; without entries, a heartbeat.

    chosen_index: the leader knows what is chosen up to here. number: counts the leader's messages within its ballot.
    """

    ballot: Ballot
    leader_id: NodeId
    slot: Natural
    entries: tuple[Entry[C], ...]
    chosen_index: Natural
    number: Natural


class AcceptReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 2b: slot, count: which slots the answered message was about. promised: as in Promise."""

    ballot: Ballot
    granted: bool
    promised: Ballot
    number: Natural
    slot: Natural
    count: Natural


class Learn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is chosen from `from_slot` on? snapshot_index, offset: of the snapshot up to there I have so many characters."""

    learner_id: NodeId
    from_slot: Natural
    snapshot_index: Natural = 0
    offset: Natural = 0


class Learned(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Chosen entries from `from_slot` on; or, where the log begins later, a part of a snapshot.

    chosen_index: the sender knows what is chosen up to here. snapshot_index: the snapshot stands for the log up to here; 0: there
    is none in this message. digest: of its whole text. offset: where `data` stands in it, in characters. done: it is the last part.
    """

    from_slot: Natural
    chosen_index: Natural
    entries: tuple[Entry[C], ...] = ()
    snapshot_index: Natural = 0
    digest: Natural = 0
    offset: Natural = 0
    data: str = ""
    done: bool = False
