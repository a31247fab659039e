"""Follows in the traces what each node's log holds and which entries are committed; the rules about logs read it.

The ledger takes every event before the rules look at it, and notes in `conflict` what the event contradicts.

A snapshot stands for committed entries. Where a node has one, its log here holds what is committed up to there; whether the state
in it is that of these entries is judged by the digests of snapshots (snapshot_states.py).

A ledger with `kept_max` forgets old entries, so that its memory does not grow with the log. What the rules ask of an old entry, and
who answers then:

- log matching: what was told of (index, term) first, by whom, and the term in front of it. For the committed term, CommittedLog's
  digest and the terms that it keeps; for other terms `_others`, which stay, since only changes of leaders make them.
- state-machine safety: what is committed and what was applied at an index: CommittedLog, since only applied entries that are as
  committed are forgotten.
- leader completeness: the last entry whose commitment was seen in an earlier term, and whether a log has it: CommittedLog, and the
  node's view, which drops only what is as committed.
- durability: whether a log has the last committed entry, which is never forgotten.

So an event that contradicts a forgotten entry is reported as before, without the forgotten command; as the node that told it stands
the first one that told of commitments in that term. Where no trace told an entry, or one has no JSON, nothing is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from checkers.invariants.acceptances import Acceptances
from checkers.invariants.committed_log import CommittedLog, Entry, Forgotten
from checkers.invariants.node_view import NodeView
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

__all__ = ["REJOINING", "Conflict", "Entry", "Ledger", "NodeView", "in_words", "plain"]

REJOINING = "rejoining"
"""Custom event of a node whose disk was lost, and which comes back as another member: what it promised before binds it no more."""


def in_words(command: Any) -> str:
    """The command as JSON; "no-op" for one that commands nothing."""
    if isinstance(command, Forgotten):
        return str(command)
    return "no-op" if command is None else msgspec.json.encode(command).decode()


def plain(entry: Entry | None) -> list[Any] | None:
    """The entry as JSON-like data, for evidence."""
    if entry is None:
        return None
    term, command = entry
    return [term, str(command) if isinstance(command, Forgotten) else msgspec.to_builtins(command)]


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


class Ledger:
    """Logs by node, and the committed log of the whole cluster.

    conflict: what the last event contradicts; None: nothing. forgetting: called before entries are forgotten, with the index of the
    last of them. kept_max: twice so many committed entries are held in full at most; None: all are. acceptances: of systems that
    decide slot by slot.

    Invariant: _first, _first_before and _first_by begin behind what is forgotten.
    """

    def __init__(self, kept_max: int | None = None) -> None:
        assert kept_max is None or kept_max > 0, kept_max
        self.nodes: dict[str, NodeView] = {}
        self.committed = CommittedLog()
        self.conflict: Conflict | None = None
        self.acceptances = Acceptances()
        self.forgetting: list[Callable[[int], None]] = []
        self._kept_max = kept_max
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
        self._odd_before: dict[int, int | None] = {}
        """Of forgotten entries, the term in front as it was told, where that is not the term of the committed one there."""

    def view(self, node: str) -> NodeView:
        """The node's view, made at its first use."""
        view = self.nodes.get(node)
        if view is None:
            view = self.nodes[node] = NodeView(node, self.committed)
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
            view.begin_with(event.snapshot_index, event.snapshot_term)
            view.commit_index = event.snapshot_index
            # The first entry behind the snapshot begins no term where it goes on with that of the last in it.
            terms = terms[1:] if terms and terms[0][1] == event.snapshot_term else terms
            terms = ((event.snapshot_index, event.snapshot_term), *terms)
        view.recover(event.last_index, terms)
        view.base = event.snapshot_index
        first = max(event.snapshot_index, event.last_index - len(event.tail))
        view.unfold(first + 1)
        log, start = view.log, view.start
        number = len(terms) - 1
        for position in range(event.last_index - 1, first - 1, -1):
            while number > 0 and terms[number][0] > position + 1:
                number -= 1
            before = 0 if position == 0 else terms[number - 1 if terms[number][0] == position + 1 else number][1]
            command = event.tail[position - first]
            log[position - start] = self._entry(view, position, terms[number][1], command, before)
        view.is_recovering = False
        view.is_settled = True
        view.settled_at = len(self.committed)

    def _on_appended(self, _time_ns: int, node: str, event: Appended) -> None:
        self.conflict = None
        view = self.nodes.get(node) or self.view(node)
        if view.is_recovering:
            view.forget_log()
        log = view.log
        index = event.index
        term = event.term
        length = view.start + len(log)
        if index <= length:
            view.cut_from(index)
        elif index > length + 1:
            log.extend([None] * (index - 1 - length))
        before = view.start_term if not log else None if (last := log[-1]) is None else last[0]
        starts = view.starts
        if not starts or starts[-1][1] != term:
            starts.append((index, term))
        for position, command in enumerate(event.commands, index - 1):
            log.append(self._entry(view, position, term, command, before))
            before = term

    def _entry(self, view: NodeView, position: int, term: int, command: Any, before: int | None) -> Entry:
        """The entry as it was first told by anyone; notes a conflict when this node tells otherwise."""
        firsts = self._first
        at = position - self.committed.start
        if at < 0:
            return self._old_entry(view, position, (term, command), before)
        first = firsts[at] if at < len(firsts) else None
        if first is not None and first[0] == term:
            theirs, theirs_before, by = first, self._first_before[at], self._first_by[at]
        else:
            entry = (term, command)
            if first is None:
                missing = at + 1 - len(firsts)
                if missing > 0:
                    firsts.extend([None] * missing)
                    self._first_before.extend([None] * missing)
                    self._first_by.extend([""] * missing)
                firsts[at], self._first_before[at], self._first_by[at] = entry, before, view.name
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
                    self._first_before[at] = before
                else:
                    self._others[position, term] = (theirs, before, by)
                return theirs
        if self.conflict is None:
            self.conflict = Conflict(position + 1, (term, command), theirs, by, before, theirs_before)
        return (term, command)

    def _old_entry(self, view: NodeView, position: int, entry: Entry, before: int | None) -> Entry:
        """As `_entry`, where what is committed at this position is forgotten."""
        term = entry[0]
        theirs = self.committed[position]
        if theirs is None:
            return entry
        if theirs[0] == term:
            in_front = self.committed[position - 1] if position else (0, None)
            theirs_before = self._odd_before.get(position, None if in_front is None else in_front[0])
            by = self.committed.seen_in(position)[1]
        else:
            theirs, theirs_before, by = self._others.setdefault((position, term), (entry, before, view.name))
        if theirs[1] != entry[1] or (theirs_before != before and theirs_before is not None and before is not None):
            self.conflict = self.conflict or Conflict(position + 1, entry, theirs, by, before, theirs_before)
        return entry

    def _forget(self) -> None:
        """Forget the older half of the committed entries: the views hold them no more, nor does what was told first."""
        assert self._kept_max is not None
        committed, count = self.committed, self._kept_max
        end = committed.start + count
        for tell in self.forgetting:
            tell(end)
        for view in self.nodes.values():
            view.fold(end)
        in_front = committed[committed.start - 1] if committed.start else (0, None)
        for at in range(count):
            position, entry, first, before = committed.start + at, committed.entries[at], None, None
            if at < len(self._first):
                first, before = self._first[at], self._first_before[at]
            if first is not entry and entry is not None and first is not None and first[0] != entry[0]:
                self._others[position, first[0]] = (first, before, self._first_by[at])
                _, before, _ = self._others.pop((position, entry[0]), (None, None, ""))
            if in_front is None or before != in_front[0]:
                self._odd_before[position] = before
            in_front = entry
        committed.forget(count)
        del self._first[:count], self._first_before[:count], self._first_by[:count]

    def _on_truncated(self, _time_ns: int, node: str, event: Truncated) -> None:
        view = self.view(node)
        if view.is_recovering:
            view.forget_log()
        view.cut_from(max(1, event.from_index))
        view.is_settled = False

    def _on_installed(self, _time_ns: int, node: str, event: Installed) -> None:
        """The whole log gives way; as with a truncation, the disk may not know it yet."""
        view = self.view(node)
        if view.is_recovering:
            view.forget_log()
        committed = self.committed
        view.cut_from(event.index + 1)
        kept = min(view.length, len(committed))
        while kept > max(view.base, view.start) and view.entry_at(kept) != committed[kept - 1]:
            kept -= 1  # A log differs from what is committed only at its end.
        view.cut_from(kept + 1)
        view.begin_with(event.index, event.term)
        view.commit_index = max(view.commit_index, event.index)
        view.is_settled = False

    def _on_committed(self, _time_ns: int, node: str, event: Committed) -> None:
        """The committed log grows to `index`; a conflict is the first index at which the node's own log contradicts it."""
        self.conflict = None
        view = self.nodes.get(node) or self.view(node)
        committed = self.committed
        index = event.index
        old = view.commit_index
        known = len(committed)
        view.commit_index = index
        if index > known:
            news = view.entries(known, index)
            news.extend([None] * (index - known - len(news)))
            committed.extend(news, (view.term, view.name))
        if old < known:
            self._compare(view, max(old, view.start), min(index, known))
        if self._kept_max is not None and len(committed.entries) >= 2 * self._kept_max:
            self._forget()

    def _compare(self, view: NodeView, begin: int, end: int) -> None:
        """Note the first of the positions begin..end-1 at which the node's log is not as committed; learn what was not known."""
        committed = self.committed
        end = min(end, view.length)  # Of what lies behind, its log says nothing.
        if begin >= end:
            return
        start = committed.start
        if begin >= start and view.entries(begin, end) == committed.entries[begin - start : end - start]:
            return
        for position in range(begin, end):
            ours, theirs = view.entry_at(position + 1), committed[position]
            if theirs is None:
                committed.learn(position, ours)
            elif ours is not None and ours != theirs:
                self.conflict = Conflict(position + 1, ours, theirs, committed.seen_in(position)[1])
                return
