"""No two nodes commit, or apply, different entries at one index (Raft §5.4.3, figure 3)."""

from __future__ import annotations

from checkers.invariants.committed_log import Forgotten
from checkers.invariants.ledger import Entry, Ledger, in_words, plain
from checkers.invariants.snapshot_states import SnapshotStates
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Applied, Committed, Installed, Snapshotted


class StateMachineSafety:
    """Watches `Committed`, by the conflict that the ledger notes, `Applied`, and what snapshots tell."""

    name = "state-machine-safety"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        states = SnapshotStates(self.name, ledger)
        self.handlers: dict[type, Handler] = {
            Committed: self._on_committed,
            Applied: self._on_applied,
            Snapshotted: states.on_snapshotted,
            Installed: states.on_installed,
        }
        self._ledger = ledger
        self._applied: list[Entry | None] = []
        self._applied_by: list[str] = []
        """By index from _start + 1: the entry that was applied first, and by whom."""
        self._start = 0
        """Up to here what was applied first is as committed, where it was told, and not held."""
        ledger.forgetting.append(self._forget)

    def _on_committed(self, time_ns: int, node: str, _event: Committed) -> Violation | None:
        conflict = self._ledger.conflict
        if conflict is None:
            return None
        return self._violation(time_ns, node, "commits", conflict.index, conflict.ours, conflict.theirs, conflict.by)

    def _on_applied(self, time_ns: int, node: str, event: Applied) -> Violation | None:
        """Compare with what others applied. The last entry is as the event tells it, the others as in the node's log."""
        begin, last = event.first - 1, event.last
        view = self._ledger.nodes.get(node)
        told = (event.term, event.command)
        start = self._start
        if begin < start:
            violation = self._compare_old(time_ns, node, begin, min(last, start), told if last <= start else None)
            if violation is not None or last <= start:
                return violation
            begin = start
        entries: list[Entry | None] = [] if view is None else view.entries(begin, last)
        if not entries and begin < last <= start + len(self._applied):  # Its log tells nothing: only the last is known.
            at = last - 1 - start
            theirs_last = self._applied[at]
            if theirs_last is None:
                self._applied[at], self._applied_by[at] = told, node
            elif theirs_last != told:
                return self._violation(time_ns, node, "applies", last, told, theirs_last, self._applied_by[at])
            return None
        entries.extend([None] * (last - begin - len(entries)))
        if entries[-1] != told:
            entries[-1] = told
        applied = self._applied
        known = start + len(applied)
        if known < last:
            applied.extend([None] * (begin - known))
            applied += entries[start + len(applied) - begin :]
            self._applied_by.extend([node] * (last - known))
        if begin >= known:
            return None
        theirs = applied[begin - start : last - start]
        if theirs == entries:
            return None
        for position, (one, other) in enumerate(zip(theirs, entries, strict=True), begin):
            if one is None:
                applied[position - start], self._applied_by[position - start] = other, node
            elif other is not None and one != other:
                by = self._applied_by[position - start]
                return self._violation(time_ns, node, "applies", position + 1, other, one, by)
        return None

    def _compare_old(self, time_ns: int, node: str, begin: int, end: int, told: Entry | None) -> Violation | None:
        """As `_on_applied`, for positions begin..end-1, where what was applied is as committed. told: of the last of them."""
        committed, view = self._ledger.committed, self._ledger.nodes.get(node)
        if view is not None and begin < view.start:
            begin = min(view.start, end)  # Its log is as committed there, and so is what it applies.
        for position in range(begin if told is None else min(begin, end - 1), end):
            own = None if view is None else view.entry_at(position + 1)
            if told is not None and position == end - 1:
                own = told
            theirs = committed[position]
            if own is not None and theirs is not None and own != theirs:
                by = committed.seen_in(position)[1]
                return self._violation(time_ns, node, "applies", position + 1, own, theirs, by)
        return None

    def _forget(self, index: int) -> None:
        """Let go of what was applied up to `index`, as far as it is as committed."""
        applied, committed, start = self._applied, self._ledger.committed, self._start
        count = max(0, min(index - start, len(applied)))
        if start < committed.start or applied[:count] != committed.entries[start - committed.start :][:count]:
            for at in range(count):
                one, theirs = applied[at], committed[start + at]
                if one is not None and theirs is not None and one != theirs:
                    count = at
                    break
        del applied[:count], self._applied_by[:count]
        self._start += count

    def _violation(
        self, time_ns: int, node: str, does: str, index: int, ours: Entry, theirs: Entry, by: str
    ) -> Violation:
        did = "committed" if does == "commits" or isinstance(theirs[1], Forgotten) else "applied"
        return Violation(
            self.name,
            f"{node} {does} {in_words(ours[1])} of term {ours[0]} at {index}, "
            f"where {by} {did} {in_words(theirs[1])} of term {theirs[0]}",
            time_ns,
            (by, node),
            {"index": index, "first": plain(theirs), "second": plain(ours)},
        )
