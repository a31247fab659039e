"""Snapshots of the replicated machine: when one is due, and how it travels in chunks (thesis §5, Raft §7).

A snapshot stands for the log up to its last index. When it is due depends on the log alone: so all members take theirs at the same
indexes, whatever batches they apply, and the invariants can compare them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import msgspec

from targets.core import NodeId
from targets.machines.machine import Machine
from targets.raft.configuration import Configuration
from targets.raft.messages import InstallSnapshot

STATE_CHARS_PER_ENTRY = 64
"""A snapshot of so many characters for each entry since the last costs about what writing the entries cost. A larger one waits
until there are more entries (thesis §5.1.2), so that the cost of all snapshots stays linear in the length of the log."""

NEVER = 2**62


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The machine's state after the entry at `last_index`, of `last_term`, as JSON in `text`, and the configuration there (None:
    still that with which the cluster began)."""

    last_index: int
    last_term: int
    text: str
    config: Configuration | None = None

    @property
    def digest(self) -> int:
        """Equal for equal states."""
        return zlib.crc32(self.text.encode())

    def state(self) -> object:
        """What Machine.restore takes."""
        return msgspec.json.decode(self.text)


def take(machine: Machine, last_index: int, last_term: int, config: Configuration | None) -> Snapshot:
    """The snapshot of this state."""
    return Snapshot(last_index, last_term, msgspec.json.encode(machine.snapshot()).decode(), config)


def restored(snapshot: Snapshot, new_machine: Callable[[], Machine]) -> Machine:
    """A machine in this state."""
    machine = new_machine()
    machine.restore(snapshot.state())
    return machine


def due_index(snapshot: Snapshot | None, entries_min: int) -> int:
    """The index at which the next snapshot is due; NEVER with entries_min 0."""
    if not entries_min:
        return NEVER
    if snapshot is None:
        return entries_min
    return snapshot.last_index + max(entries_min, len(snapshot.text) // STATE_CHARS_PER_ENTRY)


class Incoming:
    """The chunks that a follower has of one snapshot. They belong to one leadership: another leader begins anew."""

    __slots__ = ("_chunks", "_digest", "_last_index", "_last_term", "_leader", "_term", "received")

    def __init__(self) -> None:
        self.received = 0
        """How many characters there are, from the beginning without a gap."""
        self._chunks: list[str] = []
        self._leader: NodeId | None = None
        self._term = self._last_index = self._last_term = self._digest = 0

    def clear(self) -> None:
        """Forget what there is."""
        self._leader, self._chunks, self.received = None, [], 0

    def take(self, chunk: InstallSnapshot) -> tuple[int, Snapshot | None]:
        """Take a chunk in any order, also twice. Returns (how many characters of its snapshot there are, it if it is whole).

        A chunk that does not follow what is there changes nothing: the answer tells the leader where to go on.
        """
        is_same = (chunk.leader_id, chunk.term, chunk.last_index) == (self._leader, self._term, self._last_index)
        if not is_same:
            is_late = (chunk.leader_id, chunk.term) == (
                self._leader,
                self._term,
            ) and chunk.last_index < self._last_index
            if chunk.offset or is_late:
                return 0, None
            self.clear()
            self._leader, self._term = chunk.leader_id, chunk.term
            self._last_index, self._last_term, self._digest = chunk.last_index, chunk.last_term, chunk.digest
        if chunk.offset == self.received:
            self._chunks.append(chunk.data)
            self.received += len(chunk.data)
            if chunk.done:
                snapshot = Snapshot(self._last_index, self._last_term, "".join(self._chunks), chunk.config)
                is_sound = snapshot.digest == self._digest
                self.clear()
                return (len(snapshot.text), snapshot) if is_sound else (0, None)
        return self.received, None
