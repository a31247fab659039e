"""The log of a shard that is a Raft group: the records that a lone node would keep on its disk, as commands of a machine."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from targets.machines.machine import Command, ReadCommand
from targets.twopc.records import Checkpoint, CommitRecord


class Keep(Command, frozen=True, kw_only=True, tag="keep"):
    """The record follows those that the group has; a checkpoint supersedes them."""

    record: CommitRecord


class Recall(ReadCommand, frozen=True, tag="recall"):
    """The records, in order, for a new leader to go on with."""


class Confirm(ReadCommand, frozen=True, tag="confirm"):
    """Nothing: the answer says that this node still leads."""


GroupCommand = Keep | Recall | Confirm


class RecordsMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "commit-records"
    command_type: ClassVar[Any] = GroupCommand
    result_type: ClassVar[Any] = Any

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: list[CommitRecord] = []

    def apply(self, command: GroupCommand) -> Any:
        """Keep the record."""
        if not isinstance(command, Keep):
            return self.query(command)
        if isinstance(command.record, Checkpoint):
            self._records.clear()
        self._records.append(command.record)
        return None

    def query(self, command: GroupCommand) -> Any:
        """All records, or nothing."""
        return tuple(self._records) if isinstance(command, Recall) else None

    def snapshot(self) -> list[CommitRecord]:
        """All records."""
        return list(self._records)

    def restore(self, snapshot: Any) -> None:
        """Exactly these records are kept."""
        self._records = msgspec.convert(snapshot, list[CommitRecord])
