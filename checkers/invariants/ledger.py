"""Follows in the traces what each node's log holds and which entries are committed; the rules about logs read it.

The ledger takes every event before the rules look at it, and notes in `conflict` what the event contradicts.

A crash may come between a trace and its record. The disk may then hold less than was traced, or more, where a traced truncation
did not reach it. So the ledger keeps what was cut off until the node tells by `Recovered` what its log holds. An entry whose
command no trace told is None here, and no rule uses it.

A snapshot stands for committed entries. Where a node has one, its log here holds what is committed up to there; whether the state
in it is that of these entries is judged by the digests of snapshots (snapshot_states.py).
"""

from __future__ import annotations

from typing import Any

import msgspec

from checkers.invariants.acceptances import Acceptances
from checkers.invariants.violation import Handler
from histories.tracing import (
    Accepted,
    Appended,
    Committed,
    Custom,
    Installed,
    Recovered,
    Role,
    Shown,
    Started,
    Truncated,
)

Entry = tuple[int, Any]
"""term, command"""


def in_words(command: Any) -> str:
    """The command as JSON; "no-op" for one that commands nothing."""
    return "no-op" if command is None else msgspec.json.encode(command).decode()


def plain(entry: Entry | None) -> list[Any] | None:
    """The entry as JSON-like data, for evidence."""
    return None if entry is None else [entry[0], msgspec.to_builtins(entry[1])]


class Conflict(msgspec.Struct, frozen=True):
    """An event contradicts what was traced before it. theirs: what `by` told of this index; ours: what the event tells.

    before, theirs_before: the term of the entry in front of it, as either tells.
    """

    index: int
    ours: Entry
    theirs: Entry
    by: str
    before: int | None = None
    theirs_before: int | None = None


class NodeView:
    """One node as its trace shows it.

    log[i - 1]: the entry at index i, or None. starts: (index, term) where its entries' terms change. cut: what was taken off
    its log since it last told what the disk holds, by (index, term). base: up to here, a snapshot that it recovered or installed
    stands for its log. is_settled: its log here is as on its disk.
    settled_at: how many entries had been committed, anywhere, when it last was; -1: it never was.
    is_recovering: it started and has not told its log yet.
    """

    __slots__ = (
        "base",
        "commit_index",
        "cut",
        "is_recovering",
        "is_settled",
        "log",
        "name",
        "role",
        "settled_at",
        "starts",
        "term",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.role = "follower"
        self.term = 0
        self.log: list[Entry | None] = []
        self.starts: list[tuple[int, int]] = []
        self.base = 0
        self.cut: dict[tuple[int, int], Entry] = {}
        self.commit_index = 0
        self.is_settled = True
        self.settled_at = -1
        self.is_recovering = False

    def entry_at(self, index: int) -> Entry | None:
        """The entry at `index`; None when there is none or it is not known."""
        return self.log[index - 1] if 0 < index <= len(self.log) else None

    def lacks(self, index: int, entry: Entry) -> bool:
        """Whether its log certainly does not hold `entry` at `index`."""
        own = self.entry_at(index)
        return own != entry if own is not None else index > len(self.log)

    def cut_from(self, index: int) -> None:
        """The log ends before `index`; what is cut off may still be on the disk."""
        log = self.log
        for position in range(index - 1, len(log)):
            entry = log[position]
            if entry is not None:
                self.cut[position + 1, entry[0]] = entry
        del log[index - 1 :]
        starts = self.starts
        while starts and starts[-1][0] >= index:
            starts.pop()
        self.base = min(self.base, index - 1)

    def begin_with(self, index: int, term: int, committed: list[Entry | None]) -> None:
        """A snapshot stands for the log up to `index`, an entry of `term`, as committed. What the log holds behind it stays."""
        log, base = self.log, self.base
        if index <= base:
            return
        known = committed[base:index]
        known.extend([None] * (index - base - len(known)))
        if log[base:index] != known:
            log[base:index] = known
        self.base = index
        self.starts = [(index, term), *(start for start in self.starts if start[0] > index)]

    def recover(self, last_index: int, terms: tuple[tuple[int, int], ...]) -> None:
        """The log has this length and these terms; commands are those that the node told before."""
        starts = self.starts
        same = min(len(starts), len(terms))
        if tuple(starts[:same]) != terms[:same]:
            same = next(number for number in range(same) if starts[number] != terms[number])
        ends = [start[0] - 1 for rest in (starts, terms) for start in rest[same : same + 1]]
        kept = min(len(self.log), last_index, *ends)
        self.cut_from(kept + 1)
        number = same - 1
        for index in range(kept + 1, last_index + 1):
            while number + 1 < len(terms) and terms[number + 1][0] <= index:
                number += 1
            self.log.append(self.cut.get((index, terms[number][1])) if number >= 0 else None)
        self.starts = list(terms)
        self.cut = {}


class Ledger:
    """Logs by node, and the committed log of the whole cluster.

    Invariants: committed[i - 1] is the entry committed at i, None where no one's trace told it; committed_in[i - 1] is the term
    in which its commitment was first seen, and by whom. conflict: what the last event contradicts; None: nothing. acceptances: of
    systems that decide slot by slot.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeView] = {}
        self.committed: list[Entry | None] = []
        self.committed_in: list[tuple[int, str]] = []
        self.conflict: Conflict | None = None
        self.acceptances = Acceptances()
        self.handlers: dict[type, Handler] = {
            Started: self._on_started,
            Role: self._on_role,
            Recovered: self._on_recovered,
            Appended: self._on_appended,
            Truncated: self._on_truncated,
            Installed: self._on_installed,
            Committed: self._on_committed,
            Accepted: self.acceptances.on_accepted,
            Custom: self.acceptances.on_custom,
            Shown: self.acceptances.on_shown,
        }
        # The first entry told of each index, with the term of the one in front (None: not known) and who told it; those of other
        # terms at the same index, of which there are few, stand in _others.
        self._first: list[Entry | None] = []
        self._first_before: list[int | None] = []
        self._first_by: list[str] = []
        self._others: dict[tuple[int, int], tuple[Entry, int | None, str]] = {}

    def view(self, node: str) -> NodeView:
        """The node's view, made at its first use."""
        view = self.nodes.get(node)
        if view is None:
            view = self.nodes[node] = NodeView(node)
        return view

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        """A new process runs: its memory is empty, and it will tell its log anew."""
        view = self.view(node)
        view.role = "follower"
        view.commit_index = 0
        view.is_settled = False
        view.is_recovering = True

    def _on_role(self, _time_ns: int, node: str, event: Role) -> None:
        view = self.nodes.get(node) or self.view(node)
        view.role = event.role
        view.term = event.term

    def _on_recovered(self, _time_ns: int, node: str, event: Recovered) -> None:
        self.conflict = None
        view = self.view(node)
        terms = event.terms
        if event.snapshot_index:
            view.begin_with(event.snapshot_index, event.snapshot_term, self.committed)
            view.commit_index = event.snapshot_index
            terms = ((event.snapshot_index, event.snapshot_term), *terms)
        view.recover(event.last_index, terms)
        view.base = event.snapshot_index
        log = view.log
        number = len(terms) - 1
        first = max(event.snapshot_index, event.last_index - len(event.tail))
        for position in range(event.last_index - 1, first - 1, -1):
            while number > 0 and terms[number][0] > position + 1:
                number -= 1
            before = 0 if position == 0 else terms[number - 1 if terms[number][0] == position + 1 else number][1]
            log[position] = self._entry(view, position, terms[number][1], event.tail[position - first], before)
        view.is_recovering = False
        view.is_settled = True
        view.settled_at = len(self.committed)

    def _on_appended(self, _time_ns: int, node: str, event: Appended) -> None:
        self.conflict = None
        view = self.nodes.get(node) or self.view(node)
        if view.is_recovering:
            self._forget(view)
        log = view.log
        index = event.index
        term = event.term
        length = len(log)
        if index <= length:
            view.cut_from(index)
        elif index > length + 1:
            log.extend([None] * (index - 1 - length))
        before: int | None = 0
        if index > 1:
            previous = log[-1]
            before = None if previous is None else previous[0]
        starts = view.starts
        if not starts or starts[-1][1] != term:
            starts.append((index, term))
        for position, command in enumerate(event.commands, index - 1):
            log.append(self._entry(view, position, term, command, before))
            before = term

    def _entry(self, view: NodeView, position: int, term: int, command: Any, before: int | None) -> Entry:
        """The entry as it was first told by anyone; notes a conflict when this node tells otherwise."""
        firsts = self._first
        first = firsts[position] if position < len(firsts) else None
        if first is not None and first[0] == term:
            theirs, theirs_before, by = first, self._first_before[position], self._first_by[position]
        else:
            entry = (term, command)
            if first is None:
                missing = position + 1 - len(firsts)
                if missing > 0:
                    firsts.extend([None] * missing)
                    self._first_before.extend([None] * missing)
                    self._first_by.extend([""] * missing)
                firsts[position], self._first_before[position], self._first_by[position] = entry, before, view.name
                return entry
            other = self._others.setdefault((position, term), (entry, before, view.name))
            if other[0] is entry:
                return entry
            theirs, theirs_before, by = other
        if theirs[1] is command or theirs[1] == command:
            if theirs_before == before or before is None:
                return theirs
            if theirs_before is None:
                if theirs is first:
                    self._first_before[position] = before
                else:
                    self._others[position, term] = (theirs, before, by)
                return theirs
        if self.conflict is None:
            self.conflict = Conflict(position + 1, (term, command), theirs, by, before, theirs_before)
        return (term, command)

    def _on_truncated(self, _time_ns: int, node: str, event: Truncated) -> None:
        view = self.view(node)
        if view.is_recovering:
            self._forget(view)
        view.cut_from(max(1, event.from_index))
        view.is_settled = False

    def _on_installed(self, _time_ns: int, node: str, event: Installed) -> None:
        """The whole log gives way; as with a truncation, the disk may not know it yet."""
        view = self.view(node)
        if view.is_recovering:
            self._forget(view)
        log, committed = view.log, self.committed
        view.cut_from(event.index + 1)
        kept = min(len(log), len(committed))
        while kept > view.base and log[kept - 1] != committed[kept - 1]:
            kept -= 1  # A log differs from what is committed only at its end.
        view.cut_from(kept + 1)
        view.begin_with(event.index, event.term, committed)
        view.commit_index = max(view.commit_index, event.index)
        view.is_settled = False

    def _forget(self, view: NodeView) -> None:
        """The node goes on after a restart without having told what its disk holds: its log is unknown."""
        view.is_recovering = False
        view.log = [None] * len(view.log)
        view.starts = []
        view.cut = {}

    def _on_committed(self, _time_ns: int, node: str, event: Committed) -> None:
        """The committed log grows to `index`; a conflict is the first index at which the node's own log contradicts it."""
        self.conflict = None
        view = self.nodes.get(node) or self.view(node)
        committed = self.committed
        log = view.log
        index = event.index
        old = view.commit_index
        known = len(committed)
        view.commit_index = index
        if index > known:
            whom = (view.term, view.name)
            committed += log[known:index]
            committed.extend([None] * (index - len(committed)))
            self.committed_in.extend([whom] * (index - known))
        if old >= known:
            return
        end = min(index, known)
        if log[old:end] == committed[old:end]:
            return
        for position in range(old, end):
            ours = log[position] if position < len(log) else None
            theirs = committed[position]
            if ours is not None and theirs is not None and ours != theirs:
                self.conflict = Conflict(position + 1, ours, theirs, self.committed_in[position][1])
                return
            if theirs is None:
                committed[position] = ours
