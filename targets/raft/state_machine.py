"""What a node made of the committed log: the machine, how far it is, who waits for it, and its last snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from targets.core import Effect, Reply
from targets.machines.machine import Answer, Command, Machine, answer_with, apply, apply_all, query
from targets.raft import snapshots, traces
from targets.raft.log import Log
from targets.raft.snapshots import Snapshot
from targets.raft.waiting import Writes

_UNKNOWN: Answer[Any] = Answer("unknown")
_SUPERSEDED: Answer[Any] = Answer("superseded")


class StateMachine:
    """applied_index: the machine's state is that after the entry at this index.

    snapshot: the last one. kept_index: that of the one before: what is behind it stays in the log for slow followers.
    is_unsaved: the snapshot is not on its way to disk yet.
    """

    __slots__ = (
        "_ahead",
        "_due_index",
        "_new_machine",
        "_snapshot_entries",
        "applied_index",
        "is_unsaved",
        "kept_index",
        "machine",
        "snapshot",
        "writes",
    )

    def __init__(self, new_machine: Callable[[], Machine], snapshot_entries: int) -> None:
        self._new_machine = new_machine
        self._snapshot_entries = snapshot_entries
        self.machine = new_machine()
        self.applied_index = 0
        self.writes = Writes()
        self.snapshot: Snapshot | None = None
        self.kept_index = 0
        self.is_unsaved = False
        self._due_index = snapshots.due_index(None, snapshot_entries)
        self._ahead: tuple[int, Machine, int] = (0, self.machine, 0)
        """For the bug reply-before-commit: (term, a machine that ran ahead in it, up to which index)."""

    def query(self, command: Command) -> Answer[Any]:
        """The answer to a read, from what is applied."""
        return answer_with(query(self.machine, command))

    def advance(self, log: Log, commit_index: int, out: list[Effect]) -> None:
        """Apply what is committed, in order (Raft §5.3), answer who waits for it, and take the snapshots that are due."""
        first = self.applied_index + 1
        while first <= commit_index:
            last = commit_index if commit_index < self._due_index else self._due_index
            self._apply(log, first, last, out)
            if last == self._due_index:
                self._take_snapshot(log)
            first = last + 1

    def _apply(self, log: Log, first: int, last: int, out: list[Effect]) -> None:
        self.applied_index = last
        out.append(traces.apply(first, last, log))
        entries = log.entries_from(first, last + 1 - first)
        if not self.writes:  # Nobody waits, as after a restart, when what was behind the snapshot is applied again.
            apply_all(self.machine, [entry.command for entry in entries if entry.command is not None])
            return
        for index, entry in enumerate(entries, first):
            command = entry.command
            result = None if command is None else apply(self.machine, command)
            request_id, superseded = self.writes.applied(index, entry.term)
            if request_id is not None:
                out.append(Reply(request_id, answer_with(result), index))
            for other in superseded:
                out.append(Reply(other, _SUPERSEDED))

    def _take_snapshot(self, log: Log) -> None:
        index = self.applied_index
        if self.snapshot is not None:
            self.kept_index = self.snapshot.last_index
        self.snapshot = snapshots.take(self.machine, index, log.term_at(index), log.config_at(index))
        self._due_index = snapshots.due_index(self.snapshot, self._snapshot_entries)
        self.is_unsaved = True

    def restore(self, snapshot: Snapshot) -> None:
        """The state is that of `snapshot`, which is on disk, or will be."""
        self.machine = snapshots.restored(snapshot, self._new_machine)
        self.applied_index = self.kept_index = snapshot.last_index
        self.snapshot = snapshot
        self.is_unsaved = False
        self._due_index = snapshots.due_index(snapshot, self._snapshot_entries)
        self._ahead = (0, self.machine, 0)

    def give_up_writes(self, out: list[Effect]) -> None:
        """Nobody here will learn how the writes that wait end."""
        for request_id in self.writes.drain():
            out.append(Reply(request_id, _UNKNOWN))

    def guessed_result(self, term: int, log: Log) -> Any:
        """The result that the last entry would have if the log were committed as it is. The bug `reply-before-commit` answers with
        it.

        A leader's log only grows, so that a machine that ran ahead in this term can go on from where it was.
        """
        ahead_term, machine, index = self._ahead
        if ahead_term != term or index < log.base_index:
            machine, index = self._new_machine(), self.applied_index
            machine.restore(self.machine.snapshot())
        result: Any = None
        while index < log.last_index:
            index += 1
            command = log.entry(index).command
            result = None if command is None else apply(machine, command)
        self._ahead = (term, machine, index)
        return result
