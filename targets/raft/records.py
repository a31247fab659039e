"""What a Raft node keeps on disk, as a sequence of changes: term, vote and log (Raft figure 2, "persistent state")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple

import msgspec

from targets.core import NodeId, Record
from targets.raft.log import C, Entry, Log
from targets.raft.snapshots import Snapshot


class HardState(msgspec.Struct, frozen=True, tag="hard_state", forbid_unknown_fields=True, gc=False):
    """From here on the node is in `term`, and has given its vote of that term to `voted_for` (None: to nobody yet)."""

    term: int
    voted_for: NodeId | None


class Append(msgspec.Struct, Generic[C], frozen=True, tag="append", forbid_unknown_fields=True, gc=False):
    """`entries` follow the log, which ended just before `index`."""

    index: int
    entries: tuple[Entry[C], ...]


class Truncate(msgspec.Struct, frozen=True, tag="truncate", forbid_unknown_fields=True, gc=False):
    """The log ends before `from_index`."""

    from_index: int


class Checkpoint(
    msgspec.Struct,
    Generic[C],
    frozen=True,
    tag="checkpoint",
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
):
    """Supersedes every record before it: term, vote, a snapshot, the entries that follow it in the log, and the identity."""

    term: int
    voted_for: NodeId | None
    snapshot: Snapshot
    entries: tuple[Entry[C], ...]
    identity: int = 0


class Identity(msgspec.Struct, frozen=True, tag="identity", forbid_unknown_fields=True, gc=False):
    """The node lost its data, and is another member from now on (targets/raft/configuration.py)."""

    identity: int


RaftRecord = HardState | Append[Any] | Truncate | Checkpoint[Any] | Identity


class Recovered(NamedTuple):
    """What the records add up to."""

    state: HardState
    snapshot: Snapshot | None
    log: Log
    identity: int


def record_type(command_type: Any) -> Any:
    """The union of records whose entries carry commands of this type."""
    append: Any = Append
    checkpoint: Any = Checkpoint
    return HardState | append[command_type] | Truncate | checkpoint[command_type] | Identity


class RecordsError(ValueError):
    """The records cannot have been written by this core in this order; the message says which and why."""


def replay(records: Sequence[Record]) -> Recovered:
    """The state that the records add up to; term 0, no vote, no snapshot, an empty log and identity 0 when there are none.

    Raises RecordsError when a record does not fit those before it: the disk is not what this node wrote.
    """
    state = HardState(0, None)
    snapshot: Snapshot | None = None
    base_index = 0
    kept: list[Entry[Any]] = []
    identity = 0
    # Every restart reads every record, and nearly all of them are of the first kind.
    for position, record in enumerate(records):
        if record.__class__ is Append or isinstance(record, Append):
            entries = record.entries
            if record.index != base_index + len(kept) + 1 or not entries:
                last_index = base_index + len(kept)
                raise RecordsError(
                    f"record {position}: {len(entries)} entries at {record.index}, log ends at {last_index}"
                )
            kept += entries
        elif isinstance(record, HardState):
            if record.term < state.term:
                raise RecordsError(f"record {position}: term {record.term} after term {state.term}")
            state = record
        elif isinstance(record, Truncate):
            if not base_index < record.from_index <= base_index + len(kept):
                raise RecordsError(
                    f"record {position}: truncation at {record.from_index}, "
                    f"log begins behind {base_index} and ends at {base_index + len(kept)}"
                )
            del kept[record.from_index - base_index - 1 :]
        elif isinstance(record, Checkpoint):
            if record.term < state.term:
                raise RecordsError(f"record {position}: term {record.term} after term {state.term}")
            state, snapshot = HardState(record.term, record.voted_for), record.snapshot
            base_index, kept = snapshot.last_index, list(record.entries)
            identity = record.identity
        elif isinstance(record, Identity):
            identity = record.identity
        else:
            raise RecordsError(f"record {position}: {type(record).__name__} is no record of Raft")
    log = Log() if snapshot is None else Log(snapshot.last_index, snapshot.last_term, snapshot.config)
    if kept:
        log.append(kept)
    return Recovered(state, snapshot, log, identity)
