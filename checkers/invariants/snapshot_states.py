"""Snapshots are of what is committed, equal where they stand for the same log, and never take a node back (thesis §5).

A part of state-machine safety: of states in place of commands. Nodes that take their snapshots at the same indexes are compared at
each; others where a snapshot travels from one to another.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Violation
from histories.tracing import Installed, Snapshotted


class SnapshotStates:
    """Judges `Snapshotted` and `Installed`, on behalf of the rule called `name`."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self._name = name
        self._ledger = ledger
        self._first: dict[int, tuple[int, str]] = {}
        """index -> the digest that was told first, and by whom."""

    def on_snapshotted(self, time_ns: int, node: str, event: Snapshotted) -> Violation | None:
        """The node knows that all of it is committed."""
        commit_index = self._ledger.view(node).commit_index
        if event.index > commit_index:
            words = f"takes a snapshot up to entry {event.index}, and knows only {commit_index} to be committed"
            return self._violation(time_ns, node, words, event)
        return self._compare(time_ns, node, "takes", event)

    def on_installed(self, time_ns: int, node: str, event: Installed) -> Violation | None:
        """The node did not know more than the snapshot."""
        commit_index = self._ledger.view(node).commit_index  # The ledger never lowers it here.
        if event.index < commit_index:
            words = f"installs a snapshot up to entry {event.index}, and knew {commit_index} to be committed"
            return self._violation(time_ns, node, words, event)
        return self._compare(time_ns, node, "installs", event)

    def _compare(self, time_ns: int, node: str, does: str, event: Snapshotted | Installed) -> Violation | None:
        index = event.index
        committed = self._ledger.committed
        entry = committed[index - 1] if 0 < index <= len(committed) else None
        if entry is not None and entry[0] != event.term:
            words = f"{does} a snapshot that ends with entry {index} of term {event.term}; committed is one of term {entry[0]}"
            return self._violation(time_ns, node, words, event)
        digest, by = self._first.setdefault(index, (event.digest, node))
        if digest == event.digest:
            return None
        words = f"{does} a snapshot of the log up to {index} that holds another state than that of {by}"
        return self._violation(time_ns, node, words, event, by)

    def _violation(
        self, time_ns: int, node: str, words: str, event: Snapshotted | Installed, by: str | None = None
    ) -> Violation:
        nodes = (node,) if by in (None, node) else (by or "", node)
        evidence = {"index": event.index, "term": event.term, "digest": event.digest}
        return Violation(self._name, f"{node} {words}", time_ns, nodes, evidence)
