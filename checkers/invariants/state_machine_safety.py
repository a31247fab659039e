"""No two nodes commit, or apply, different entries at one index (Raft §5.4.3, figure 3)."""

from __future__ import annotations

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
        """By index from 1: the entry that was applied first, and by whom."""

    def _on_committed(self, time_ns: int, node: str, _event: Committed) -> Violation | None:
        conflict = self._ledger.conflict
        if conflict is None:
            return None
        return self._violation(time_ns, node, "commits", conflict.index, conflict.ours, conflict.theirs, conflict.by)

    def _on_applied(self, time_ns: int, node: str, event: Applied) -> Violation | None:
        """Compare with what others applied. The last entry is as the event tells it, the others as in the node's log."""
        first, last = event.first, event.last
        view = self._ledger.nodes.get(node)
        entries: list[Entry | None] = [] if view is None else view.log[first - 1 : last]
        entries.extend([None] * (last - first + 1 - len(entries)))
        told = (event.term, event.command)
        if entries[-1] != told:
            entries[-1] = told
        applied = self._applied
        known = len(applied)
        if known < last:
            applied.extend([None] * (first - 1 - known))
            applied += entries[len(applied) - first + 1 :]
            self._applied_by.extend([node] * (last - known))
        if first > known:
            return None
        theirs = applied[first - 1 : last]
        if theirs == entries:
            return None
        for position, (one, other) in enumerate(zip(theirs, entries, strict=True), first - 1):
            if one is None:
                applied[position], self._applied_by[position] = other, node
            elif other is not None and one != other:
                by = self._applied_by[position]
                return self._violation(time_ns, node, "applies", position + 1, other, one, by)
        return None

    def _violation(
        self, time_ns: int, node: str, does: str, index: int, ours: Entry, theirs: Entry, by: str
    ) -> Violation:
        did = {"commits": "committed", "applies": "applied"}[does]
        return Violation(
            self.name,
            f"{node} {does} {in_words(ours[1])} of term {ours[0]} at {index}, "
            f"where {by} {did} {in_words(theirs[1])} of term {theirs[0]}",
            time_ns,
            (by, node),
            {"index": index, "first": plain(theirs), "second": plain(ours)},
        )
