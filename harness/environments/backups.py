"""How faults and `themis cluster` save and restore the data of a target: implements nemesis.capabilities.Backups.

Saving is a client's request to some nodes, and restoring is writing their disks while they do not run. The environment says how a
request reaches a node, and how a disk is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from harness.environments.membership import Ask
from nemesis.capabilities import Backup, FaultError, NodeId
from targets.core import Record
from targets.target import Restorable

ANSWERED_WITHIN_S = 2.0
"""How long a node has to answer with its data."""

Write = Callable[[Mapping[NodeId, Sequence[Record]], int], Mapping[NodeId, object]]
"""Puts these records in the place of all that the disks of these dead nodes hold, durably, under the number of the restore; returns
what was done to each."""


class TargetBackups:
    """statuses: what each node that answers says of itself. ask, write: see Ask and Write."""

    def __init__(
        self,
        target: Restorable,
        nodes: Sequence[NodeId],
        interface: str,
        options: msgspec.Struct,
        statuses: Callable[[], Mapping[NodeId, Mapping[str, Any]]],
        ask: Ask,
        write: Write,
    ) -> None:
        self._target = target
        self._nodes = tuple(nodes)
        self._interface = interface
        self._options = options
        self._statuses = statuses
        self._ask = ask
        self._write = write
        self._taken_count = 0
        self._restores_count = 0
        self._since = 0
        """The number of the last restore of the whole cluster."""

    def take(self) -> Backup:
        """The data as the nodes have it now. Raises FaultError where not every node that must answer did."""
        requests = self._target.backup_requests(self._statuses())
        if not requests:
            raise FaultError("no node can give a backup now: nobody leads")
        numbers = {number: (node, body) for number, (node, body) in enumerate(requests.items())}
        replies = self._ask(numbers, ANSWERED_WITHIN_S)
        pieces: dict[NodeId, str] = {}
        for number, (node, _) in numbers.items():
            if number not in replies:
                raise FaultError(f"{node} did not answer within {ANSWERED_WITHIN_S:g} s")
            try:
                pieces[node] = self._target.backup_piece(replies[number])
            except ValueError as error:
                raise FaultError(str(error)) from error
        self._taken_count += 1
        return Backup(self._taken_count, pieces, self._since)

    def refusal(self, backup: Backup, nodes: Collection[NodeId]) -> str | None:
        """Why these nodes cannot be restored from it; None where they can. Nothing is changed."""
        try:
            self._records(backup, nodes)
        except FaultError as error:
            return str(error)
        return None

    def restore(self, backup: Backup, nodes: Collection[NodeId]) -> Mapping[NodeId, object]:
        """These nodes, which are dead, have the data of the backup on their disks, and nothing else. Raises FaultError for a backup
        that does not fit; then nothing has changed."""
        number, since, records = self._records(backup, nodes)
        self._restores_count, self._since = number, since
        return self._write(records, number)

    def _records(self, backup: Backup, nodes: Collection[NodeId]) -> tuple[int, int, Mapping[NodeId, Sequence[Record]]]:
        number = self._restores_count + 1
        since = number if set(nodes) == set(self._nodes) else self._since
        ordered = [node for node in self._nodes if node in nodes]
        try:
            records = self._target.restored(
                backup.pieces, ordered, number, since=since, interface=self._interface, options=self._options
            )
            return number, since, records
        except ValueError as error:
            raise FaultError(f"the backup cannot be restored: {error}") from error
