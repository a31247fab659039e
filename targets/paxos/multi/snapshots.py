"""Snapshots of the replicated machine: when one is due, and how it travels in parts.

A snapshot stands for every slot up to its index. When it is due depends on the slots alone: so all members take theirs at the same
indexes, and the invariants can compare them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import msgspec

from targets.core import NodeId
from targets.machines.machine import Machine

STATE_CHARS_PER_ENTRY = 64
"""A snapshot of so many characters for each slot since the last costs about what writing the slots cost. A larger one waits until
there are more, so that the cost of all snapshots stays linear in the length of the log."""

NEVER = 2**62


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The machine's state after the slot `index`, as JSON in `text`."""

    index: int
    text: str

    @property
    def digest(self) -> int:
        """Equal for equal states."""
        return zlib.crc32(self.text.encode())


def take(machine: Machine, index: int) -> Snapshot:
    """The snapshot of this state."""
    return Snapshot(index, msgspec.json.encode(machine.snapshot()).decode())


def restored(snapshot: Snapshot, new_machine: Callable[[], Machine]) -> Machine:
    """A machine in this state."""
    machine = new_machine()
    machine.restore(msgspec.json.decode(snapshot.text))
    return machine


def due_index(snapshot: Snapshot | None, entries_min: int) -> int:
    """The index at which the next snapshot is due; NEVER with entries_min 0."""
    if not entries_min:
        return NEVER
    if snapshot is None:
        return entries_min
    return snapshot.index + max(entries_min, len(snapshot.text) // STATE_CHARS_PER_ENTRY)


class Incoming:
    """The parts that a learner has of one snapshot of one node. index: of the snapshot; 0: there is none. received: characters."""

    __slots__ = ("_digest", "_parts", "_source", "index", "received")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what there is."""
        self._source: NodeId | None = None
        self._parts: list[str] = []
        self._digest = self.index = self.received = 0

    def had_from(self, source: NodeId) -> tuple[int, int]:
        """(index, received) of the snapshot of this node; (0, 0) where there is none, as after another became leader."""
        return (self.index, self.received) if source == self._source else (0, 0)

    def take(self, source: NodeId, index: int, digest: int, offset: int, data: str, done: bool) -> Snapshot | None:
        """Take a part, in any order, also twice; the snapshot, when it is whole and sound.

        A part that does not follow what is there changes nothing: the learner asks for the one that does.
        """
        if (source, index, digest) != (self._source, self.index, self._digest):
            if offset:
                return None
            self.clear()
            self._source, self.index, self._digest = source, index, digest
        if offset != self.received:
            return None
        self._parts.append(data)
        self.received += len(data)
        if not done:
            return None
        snapshot = Snapshot(index, "".join(self._parts))
        is_sound = snapshot.digest == digest
        self.clear()
        return snapshot if is_sound else None
