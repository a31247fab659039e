"""What a Raft node keeps on disk, as a sequence of changes: term, vote and log (Raft figure 2, "persistent state")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

import msgspec

from targets.core import NodeId, Record
from targets.raft.log import C, Entry, Log


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


RaftRecord = HardState | Append[Any] | Truncate


def record_type(command_type: Any) -> Any:
    """The union of records whose entries carry commands of this type."""
    generic: Any = Append
    return HardState | generic[command_type] | Truncate


class RecordsError(ValueError):
    """The records cannot have been written by this core in this order; the message says which and why."""


def replay(records: Sequence[Record]) -> tuple[HardState, Log]:
    """The state that the records add up to; term 0, no vote and an empty log when there are none.

    Raises RecordsError when a record does not fit those before it: the disk is not what this node wrote.
    """
    state = HardState(0, None)
    kept: list[Entry[Any]] = []
    # Every restart reads every record, and nearly all of them are of the first kind.
    for position, record in enumerate(records):
        if record.__class__ is Append or isinstance(record, Append):
            entries = record.entries
            if record.index != len(kept) + 1 or not entries:
                raise RecordsError(
                    f"record {position}: {len(entries)} entries at {record.index}, log ends at {len(kept)}"
                )
            kept += entries
        elif isinstance(record, HardState):
            if record.term < state.term:
                raise RecordsError(f"record {position}: term {record.term} after term {state.term}")
            state = record
        elif isinstance(record, Truncate):
            if not 1 <= record.from_index <= len(kept):
                raise RecordsError(f"record {position}: truncation at {record.from_index}, log ends at {len(kept)}")
            del kept[record.from_index - 1 :]
        else:
            raise RecordsError(f"record {position}: {type(record).__name__} is no record of Raft")
    log = Log()
    if kept:
        log.append(kept)
    return state, log
