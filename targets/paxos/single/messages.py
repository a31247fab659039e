"""The messages of PMS §2.2 and §2.3, each of one instance, which `key` names.

A reply repeats the ballot that it answers. Ballots are never drawn twice, so that a late reply is never taken for one to another
question.
"""

from __future__ import annotations

from typing import Any

import msgspec

from targets.core import NodeId
from targets.machines.machine import Key
from targets.paxos.ballots import Ballot


class Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A value under a ballot."""

    ballot: Ballot
    value: Any


class Prepare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 1a: promise to accept nothing below `ballot`, and tell the highest proposal that you have accepted."""

    key: Key
    ballot: Ballot
    proposer_id: NodeId


class Promise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Phase 1b. promised: the highest ballot that the acceptor has promised, this one where it is granted. accepted: of the
    proposals that it has accepted, the highest."""

    key: Key
    ballot: Ballot
    granted: bool
    promised: Ballot
    accepted: Proposal | None = None


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 2a: accept `value` under `ballot`."""

    key: Key
    ballot: Ballot
    value: Any
    proposer_id: NodeId


class AcceptReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Phase 2b. promised: as in Promise."""

    key: Key
    ballot: Ballot
    granted: bool
    promised: Ballot


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The proposer saw a quorum accept `value`: learners may learn it (PMS §2.3). Nobody answers it."""

    key: Key
    value: Any
    proposer_id: NodeId
