"""What a node keeps on disk, or a group in its log. A coordinator forces what commits to disk and nothing of what aborts (presumed
abort)."""

from __future__ import annotations

from typing import Any

import msgspec

from targets.core import NodeId
from targets.machines.machine import Key
from targets.twopc.transactions import TxnId


class Reserved(msgspec.Struct, frozen=True, tag="reserved", forbid_unknown_fields=True, gc=False):
    """The coordinator may have used every number up to this one."""

    number: int


class Decided(msgspec.Struct, frozen=True, tag="decided", forbid_unknown_fields=True, gc=False):
    """The coordinator commits, and has to tell these participants."""

    txn: TxnId
    participants: tuple[NodeId, ...]
    timestamp: int


class Ended(msgspec.Struct, frozen=True, tag="ended", forbid_unknown_fields=True, gc=False):
    """Every participant knows of the commit: the coordinator may forget it."""

    txn: TxnId


class Prepared(msgspec.Struct, frozen=True, tag="prepared", forbid_unknown_fields=True, gc=False):
    """The participant has voted yes. writes: what the keys will hold. reads: keys that it has read under a lock. results: of its
    vote, which it may have to repeat."""

    txn: TxnId
    participants: tuple[NodeId, ...]
    writes: tuple[tuple[Key, Any], ...]
    reads: tuple[Key, ...]
    results: tuple[Any, ...]
    timestamp: int


class PreCommitted(msgspec.Struct, frozen=True, tag="pre-committed", forbid_unknown_fields=True, gc=False):
    """Three-phase commit: the participant knows that all have voted yes."""

    txn: TxnId
    timestamp: int


class Committed(msgspec.Struct, frozen=True, tag="committed", forbid_unknown_fields=True, gc=False):
    """The participant has carried out what it had prepared."""

    txn: TxnId
    timestamp: int


class Aborted(msgspec.Struct, frozen=True, tag="aborted", forbid_unknown_fields=True, gc=False):
    """The participant has dropped what it had prepared, or never will prepare it."""

    txn: TxnId


class Checkpoint(msgspec.Struct, frozen=True, tag="commit-checkpoint", forbid_unknown_fields=True, gc=False):
    """Supersedes every record before it. versions: of each key, (timestamp, value), the newest last. ended: transactions that
    ended here and that somebody may still ask about, with the timestamp of the commit, or 0. low: by coordinator, the number below
    which all are finished."""

    clock: int
    reserved: int
    decided: tuple[Decided, ...]
    versions: tuple[tuple[Key, tuple[tuple[int, Any], ...]], ...]
    prepared: tuple[Prepared, ...]
    pre_committed: tuple[PreCommitted, ...]
    ended: tuple[tuple[TxnId, int], ...]
    low: dict[NodeId, int]


CommitRecord = Reserved | Decided | Ended | Prepared | PreCommitted | Committed | Aborted | Checkpoint
