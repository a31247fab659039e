"""Backups of a target whose leader gives them: all its nodes replicate one machine.

The leader takes a backup as it takes a read, so one piece holds the machine's state after one index of the log. A restore gives
every member the same state. Only the whole cluster can be restored: a member that forgot its votes or promises must not vote again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets.core import NodeId, Record
from targets.machines.backup import piece_of
from targets.machines.machine import Answer, TakeBackup


class LeaderBackups(ABC):
    """The members of targets.target.Restorable, for a target to inherit from; it says who leads, and what a disk then holds.

    algorithm: its name in messages.
    """

    algorithm: str

    @abstractmethod
    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """The node that leads, by these statuses."""

    @abstractmethod
    def checkpoint(self, piece: str, number: int, interface: str, options: msgspec.Struct) -> Record:
        """What each node's disk holds after the restore of this number. Raises ValueError for a piece that cannot be restored."""

    def backup_requests(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Mapping[NodeId, msgspec.Struct]:
        """The leader takes it, as it takes a read."""
        leader = self.primary(statuses)
        return {} if leader is None else {leader: TakeBackup()}

    def backup_piece(self, reply: msgspec.Struct) -> str:
        """What the leader answered. Raises ValueError where it does not lead any more."""
        assert isinstance(reply, Answer)
        return piece_of(reply, "the node that led")

    def restored(
        self,
        pieces: Mapping[NodeId, str],
        nodes: Sequence[NodeId],
        number: int,
        *,
        since: int,
        interface: str,
        options: msgspec.Struct,
    ) -> Mapping[NodeId, Sequence[Record]]:
        """All members begin with the same state. Raises ValueError for a restore of some of them."""
        if since != number:
            raise ValueError(
                "only the whole cluster can be restored: a member that forgot its votes must not vote again"
            )
        if len(pieces) != 1:
            raise ValueError(f"a backup of {self.algorithm} has one piece, and this one has {len(pieces)}")
        record = self.checkpoint(next(iter(pieces.values())), number, interface, options)
        return dict.fromkeys(nodes, (record,))
