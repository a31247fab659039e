"""The learner: what is chosen, slot by slot; the machine that carries it out in order; and the snapshots of that (PMS §3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from histories.tracing import Applied, Committed, Installed, Snapshotted
from targets.core import Effect, Reply, Trace
from targets.machines.machine import Answer, Command, Machine, answer_with, apply, query
from targets.paxos import bugs as zoo
from targets.paxos.ballots import Ballot
from targets.paxos.multi import snapshots, traces
from targets.paxos.multi.entries import Entry
from targets.paxos.multi.snapshots import Snapshot

_UNKNOWN: Answer[Any] = Answer("unknown")
_SUPERSEDED: Answer[Any] = Answer("superseded")

SKIPPED: Entry[Any] = Entry((0, ""))
"""What the bug gap-skipped puts where it does not know what is chosen."""


class Learner:
    """chosen_index: what is chosen in every slot up to here is known, and carried out. base_index: the log begins behind this.

    snapshot: the last one. is_unsaved: it is not on its way to disk yet.
    """

    __slots__ = (
        "_ahead",
        "_bugs",
        "_due_index",
        "_log",
        "_new_machine",
        "_snapshot_entries",
        "_waiting",
        "base_index",
        "chosen_index",
        "is_unsaved",
        "machine",
        "snapshot",
    )

    def __init__(self, new_machine: Callable[[], Machine], snapshot_entries: int, bugs: frozenset[str]) -> None:
        self._new_machine = new_machine
        self._snapshot_entries = snapshot_entries
        self._bugs = bugs
        self.machine = new_machine()
        self.chosen_index = 0
        self.base_index = 0
        self.snapshot: Snapshot | None = None
        self.is_unsaved = False
        self._log: list[Entry[Any]] = []
        self._ahead: dict[int, Entry[Any]] = {}
        """What is chosen behind a gap."""
        self._waiting: dict[int, tuple[Ballot, int]] = {}
        """Slot -> (origin of this node's own proposal there, the request that waits for it)."""
        self._due_index = snapshots.due_index(None, snapshot_entries)

    # --- what is known --------------------------------------------------------------------------------------------------

    def knows(self, slot: int) -> bool:
        """Whether it knows what is chosen in this slot."""
        return slot <= self.chosen_index or slot in self._ahead

    def entries_from(self, slot: int, count_max: int) -> tuple[Entry[Any], ...]:
        """Chosen entries from `slot` on, which is behind base_index, without a gap."""
        assert slot > self.base_index, f"slot {slot} is in a snapshot; the log begins behind {self.base_index}"
        at = slot - self.base_index - 1
        return tuple(self._log[at : at + count_max])

    def entry_ahead(self, slot: int) -> Entry[Any]:
        """What is chosen in `slot`, which is behind a gap."""
        return self._ahead[slot]

    def chosen_from(self, slot: int) -> dict[int, Entry[Any]]:
        """All that it knows to be chosen from `slot` on, behind base_index."""
        first = max(slot, self.base_index + 1)
        known = dict(enumerate(self._log[first - self.base_index - 1 :], first))
        known.update({ahead: entry for ahead, entry in self._ahead.items() if ahead >= slot})
        return known

    def query(self, command: Command) -> Answer[Any]:
        """The answer to a read, from what is carried out."""
        return answer_with(query(self.machine, command))

    # --- learning -------------------------------------------------------------------------------------------------------

    def learn(self, first: int, entries: Sequence[Entry[Any]], out: list[Effect]) -> None:
        """In the slots from `first` on, these entries are chosen; `advance` carries them out."""
        ahead, known = self._ahead, self.chosen_index
        slots = range(first, first + len(entries))
        if first > known and entries and ahead.keys().isdisjoint(slots):  # As nearly always.
            ahead.update(zip(slots, entries, strict=True))
            out.append(traces.chosen(first, entries))
            return
        news = [(slot, entry) for slot, entry in zip(slots, entries, strict=True) if slot > known and slot not in ahead]
        ahead.update(news)
        out.extend([traces.chosen(start, row) for start, row in traces.rows(news)])

    def advance(self, out: list[Effect]) -> bool:
        """Carry out, in order, all that is chosen up to the first gap (PMS §3), and answer who waits. Returns whether any was."""
        ahead, first = self._ahead, self.chosen_index + 1
        if zoo.GAP_SKIPPED in self._bugs and ahead and first not in ahead:
            self._skip_gap(first)
        if first not in ahead:
            return False
        entries = []
        slot = first
        while (entry := ahead.pop(slot, None)) is not None:
            entries.append(entry)
            slot += 1
        self._log += entries
        out.append(Trace(Committed(slot - 1)))
        done = 0
        while done < len(entries):
            start = first + done
            last = min(slot - 1, self._due_index)
            self._carry_out(start, entries[done : last - first + 1], out)
            done = last - first + 1
            if last == self._due_index:
                self._take_snapshot(out)
        return True

    def _skip_gap(self, first: int) -> None:
        for slot in range(first, min(self._ahead)):
            self._ahead[slot] = SKIPPED

    def _carry_out(self, first: int, entries: list[Entry[Any]], out: list[Effect]) -> None:
        last = first + len(entries) - 1
        self.chosen_index = last
        out.append(Trace(Applied(first, last, 0, entries[-1].command)))
        waiting = self._waiting
        for slot, entry in enumerate(entries, first):
            result = None if entry.command is None else apply(self.machine, entry.command)
            if waiting and (own := waiting.pop(slot, None)) is not None:
                origin, request_id = own
                # Another entry was chosen in the only slot in which this command was ever proposed.
                out.append(
                    Reply(request_id, answer_with(result), slot)
                    if entry.origin == origin
                    else Reply(request_id, _SUPERSEDED)
                )

    # --- snapshots --------------------------------------------------------------------------------------------------------

    def _take_snapshot(self, out: list[Effect]) -> None:
        """Take one, and keep the log behind the one before it, for learners that are a little behind."""
        kept = 0 if self.snapshot is None else self.snapshot.index
        self.snapshot = snapshots.take(self.machine, self.chosen_index)
        self._due_index = snapshots.due_index(self.snapshot, self._snapshot_entries)
        self.is_unsaved = True
        out.append(Trace(Snapshotted(self.snapshot.index, 0, self.snapshot.digest)))
        if kept > self.base_index:
            del self._log[: kept - self.base_index]
            self.base_index = kept

    def restore(self, snapshot: Snapshot) -> None:
        """The state is that of `snapshot`, which is on disk, or will be."""
        self.machine = snapshots.restored(snapshot, self._new_machine)
        self.chosen_index = self.base_index = snapshot.index
        self.snapshot = snapshot
        self.is_unsaved = False
        self._log = []
        self._ahead = {slot: entry for slot, entry in self._ahead.items() if slot > snapshot.index}
        self._due_index = snapshots.due_index(snapshot, self._snapshot_entries)

    def install(self, snapshot: Snapshot, out: list[Effect]) -> None:
        """Another node's snapshot takes the place of state and log. Who waits for a slot in it never learns how that ended."""
        out.append(Trace(Installed(snapshot.index, 0, snapshot.digest)))
        for slot in sorted(slot for slot in self._waiting if slot <= snapshot.index):
            out.append(Reply(self._waiting.pop(slot)[1], _UNKNOWN))
        self.restore(snapshot)

    # --- clients ------------------------------------------------------------------------------------------------------------

    def await_slot(self, slot: int, origin: Ballot, request_id: int) -> None:
        """`request_id` is answered when `slot` is carried out: with the result, where the entry of this origin was chosen."""
        self._waiting[slot] = (origin, request_id)

    def give_up(self, out: list[Effect]) -> None:
        """Nobody here will learn soon how the commands that wait end."""
        for _, request_id in self._waiting.values():
            out.append(Reply(request_id, _UNKNOWN))
        self._waiting.clear()
