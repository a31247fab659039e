"""What a node keeps on disk: its promise, what it accepted, the highest ballot that it drew; a checkpoint sums them up."""

from __future__ import annotations

from typing import Any, Generic

import msgspec

from targets.paxos.ballots import Ballot
from targets.paxos.multi.entries import C, Entry, Held
from targets.paxos.multi.snapshots import Snapshot


class Drawn(msgspec.Struct, frozen=True, tag="drawn", forbid_unknown_fields=True, gc=False):
    """This node's proposer has used this ballot, and never draws it again."""

    ballot: Ballot


class Promised(msgspec.Struct, frozen=True, tag="promised", forbid_unknown_fields=True, gc=False):
    """The acceptor accepts nothing below this ballot, in any slot."""

    ballot: Ballot


class Accepted(msgspec.Struct, Generic[C], frozen=True, tag="accepted", forbid_unknown_fields=True, gc=False):
    """The acceptor has accepted these entries, in the slots from `slot` on, and accepts nothing below this ballot."""

    ballot: Ballot
    slot: int
    entries: tuple[Entry[C], ...]


class Checkpoint(msgspec.Struct, Generic[C], frozen=True, tag="checkpoint", forbid_unknown_fields=True, gc=False):
    """Supersedes every record before it. held: what the acceptor has accepted behind the snapshot."""

    drawn: Ballot
    promised: Ballot
    snapshot: Snapshot
    held: tuple[Held[C], ...]


MultiRecord = Drawn | Promised | Accepted[Any] | Checkpoint[Any]


def record_type(command_type: Any) -> Any:
    """The union of records whose entries carry commands of this type."""
    accepted: Any = Accepted
    checkpoint: Any = Checkpoint
    return Drawn | Promised | accepted[command_type] | checkpoint[command_type]
