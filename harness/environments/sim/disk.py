"""One node's simulated disk: an append-only log of records, of which only those that were synced survive for certain.

A crash keeps every synced record, and of the others a prefix: none, some or all, since the operating system may have written
them out on its own; the record behind that prefix may be torn, which recovery drops as the real node's log does. What goes
beyond that (a lost or flipped byte of a synced record, a lost file) is damage, and recovery reports what a checksum can see.

A checkpoint supersedes the records before it once it is durable: they are dropped then, with any damage to them, and not before. It
was written to a file of its own, so a log that has lost it is damaged, however it was lost.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence

from harness.environments.sim.delays import QUANTILES
from targets.core import Record

FULL = "no space left on device"


class Disk:
    """Synced and unsynced records. The node starts syncs and tells when they are over.

    is_damaged: something was done to it that a crash cannot do.
    kinds: how many records of each type were ever written.
    begins_with_checkpoint: the first synced record is a checkpoint. checkpoints: positions of those that are not synced.
    Invariant: positions count records since the disk was first used, losses included; `synced_position` never falls.
    """

    __slots__ = (
        "added_ns",
        "begins_with_checkpoint",
        "checkpoints",
        "damaged_at",
        "in_flight",
        "is_damaged",
        "is_full",
        "is_gone",
        "is_rejoining",
        "kinds",
        "latencies_ns",
        "loses_unsynced",
        "position",
        "records",
        "restored",
        "rng",
        "synced_position",
        "tokens",
        "unsynced",
    )

    def __init__(self, rng: random.Random, latencies_ns: tuple[int, ...]) -> None:
        self.rng = rng
        self.latencies_ns = latencies_ns
        self.records: list[Record] = []
        self.unsynced: list[Record] = []
        self.kinds: Counter[type[Record]] = Counter()
        self.tokens: deque[tuple[int, int]] = deque()
        self.begins_with_checkpoint = False
        self.checkpoints: deque[int] = deque()
        self.position = 0
        self.synced_position = 0
        self.in_flight = False
        self.is_full = False
        self.added_ns = 0
        self.loses_unsynced = False
        self.damaged_at: int | None = None
        self.is_damaged = False
        self.restored = 0
        """The number of the restore that its records come from; 0: of none."""
        self.is_rejoining = False
        """It was wiped once: whoever starts on it is told so."""
        self.is_gone = False
        """A fault cut off the checkpoint, and nobody wiped the disk since."""

    def append(self, record: Record, token: int | None, is_checkpoint: bool = False) -> int:
        """The record stands behind all others, not yet durable; its position."""
        self.unsynced.append(record)
        self.kinds[record.__class__] += 1
        self.position += 1
        if token is not None:
            self.tokens.append((self.position, token))
        if is_checkpoint:
            self.checkpoints.append(self.position)
        return self.position

    def commonest_kind(self) -> type[Record] | None:
        """The type of most records that were ever written here; None while there is but one."""
        return self.kinds.most_common(1)[0][0] if len(self.kinds) > 1 else None

    def latency_ns(self) -> int:
        """How long the sync that starts now will take."""
        return self.latencies_ns[int(self.rng.random() * QUANTILES)] + self.added_ns

    def synced(self, position: int) -> None:
        """Every record up to `position` is durable."""
        count = len(self.unsynced) - (self.position - position)
        if count == len(self.unsynced):
            self.records += self.unsynced
            self.unsynced = []
        else:
            self.records += self.unsynced[:count]
            del self.unsynced[:count]
        self.synced_position = position
        if self.checkpoints and self.checkpoints[0] <= position:
            self._supersede(position)

    def _supersede(self, position: int) -> None:
        """Drop what stands before the last checkpoint up to `position`, which is that of the last record in `records`."""
        checkpoints = self.checkpoints
        last: int | None = None
        while checkpoints and checkpoints[0] <= position:
            last = checkpoints.popleft()
        if last is None:
            return
        dropped = len(self.records) - 1 - (position - last)
        assert dropped >= 0
        del self.records[:dropped]
        self.begins_with_checkpoint = True
        if self.damaged_at is not None:
            self.damaged_at = self.damaged_at - dropped if self.damaged_at >= dropped else None

    def crash(self) -> None:
        """The process is gone; what was not synced is undecided until `recover`, so that a fault may still decide it."""
        self.tokens.clear()
        self.in_flight = False

    def recover(self) -> tuple[tuple[Record, ...], str | None]:
        """What a restarted process finds: the records up to any damage, and the damage in words."""
        pending, self.unsynced = self.unsynced, []
        kept = 0
        if pending and not self.loses_unsynced:
            draw = self.rng.random()
            kept = len(pending) if draw < 0.4 else 0 if draw < 0.7 else self.rng.randrange(len(pending) + 1)
            self.records += pending[:kept]
        # The unsynced records have the last positions, whatever a fault took of them.
        self._supersede(self.synced_position + kept)
        self.checkpoints.clear()
        self.loses_unsynced = False
        self.synced_position = self.position
        if self.is_gone:
            return (), "the checkpoint is cut off"
        if self.damaged_at is not None and self.damaged_at < len(self.records):
            return (
                tuple(self.records[: self.damaged_at]),
                f"record {self.damaged_at + 1} of {len(self.records)}: its checksum does not match",
            )
        return tuple(self.records), None

    def lose_unsynced(self) -> int:
        """The next recovery finds only what was synced; how many records that loses."""
        self.loses_unsynced = True
        return len(self.unsynced)

    def tear(self) -> int:
        """The last unsynced record is torn, and so lost; without one, half a record that nobody waited for stands at the
        end. How many records that loses."""
        if not self.unsynced:
            return 0
        self.unsynced.pop()
        return 1

    def truncate(self, records: int) -> int:
        """So many records are cut off the end, the unsynced ones first; how many there were to cut."""
        before = len(self.records) + len(self.unsynced)
        self.is_damaged = self.is_damaged or before > 0
        for kept in (self.unsynced, self.records):
            cut = min(records, len(kept))
            del kept[len(kept) - cut :]
            records -= cut
        if self.begins_with_checkpoint and not self.records:
            self.is_gone = True
        return before - len(self.records) - len(self.unsynced)

    def flip(self) -> int | None:
        """One bit of one synced record is flipped: the number of that record from 0, or None when there is no record."""
        if not self.records:
            return None
        self.is_damaged = True
        flipped = self.rng.randrange(len(self.records))
        self.damaged_at = flipped if self.damaged_at is None else min(flipped, self.damaged_at)
        return flipped

    def restore(self, records: Sequence[Record], number: int) -> int:
        """These records, of which the first is a checkpoint, stand in the place of all that was there, durably; how many are gone.
        number: of the restore."""
        gone = len(self.records) + len(self.unsynced)
        self.records, self.unsynced = list(records), []
        self.checkpoints.clear()
        self.begins_with_checkpoint = True
        self.is_gone = self.is_rejoining = False
        self.damaged_at = None
        self.restored = number
        return gone

    def wipe(self) -> int:
        """Nothing is left, and nothing shows that there was anything; how many records are gone."""
        self.is_damaged = self.is_rejoining = True
        gone = len(self.records) + len(self.unsynced)
        self.restored = 0
        self.records, self.unsynced = [], []
        self.begins_with_checkpoint = self.is_gone = False
        self.damaged_at = None
        return gone
