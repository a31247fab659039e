"""All nodes that decide on a transaction decide the same, for good, and commit only what all participants have voted for
(Bernstein, Hadzilacos and Goodman 1987, §7.3: AC1 to AC3).

Whether all have voted is judged by what the coordinator itself says it has counted, and whether a participant may commit by its own
vote: clocks of different machines need not agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.invariants.commit_traces import DECIDED, RECOVERED, VOTED, by_name
from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Violation


class AtomicCommitment:
    """Watches votes and decisions."""

    name = "atomic-commitment"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        handlers = {VOTED: self._on_voted, DECIDED: self._on_decided, RECOVERED: self._on_recovered}
        self.handlers = by_name(handlers, reads_late=True)
        self._decisions: dict[str, tuple[str, str]] = {}
        """Transaction -> the first decision, and who took it."""
        self._voted: dict[str, set[str]] = {}
        """Node -> what it has voted yes for and not decided."""

    def _on_voted(self, _time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        if fields["vote"] == "yes":
            self._voted.setdefault(node, set()).add(fields["txn"])

    def _on_recovered(self, _time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        # The trace of a vote may be lost with the crash that follows it.
        self._voted.setdefault(node, set()).update(fields["in_doubt"])

    def _on_decided(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> Violation | None:
        txn, decision = fields["txn"], fields["decision"]
        first, by = self._decisions.setdefault(txn, (decision, node))
        evidence = {"txn": txn, "decision": decision}
        if first != decision:
            words = f"{node} decides to {decision} {txn}, and {'it' if by == node else by} had decided to {first} it"
            return Violation(self.name, words, time_ns, tuple(sorted({node, by})), evidence)
        if decision != "commit":
            self._voted.get(node, set()).discard(txn)
            return None
        if fields["as"] == "coordinator":
            missing = sorted({*fields["participants"]} - {*fields["votes"]})
            if missing:
                words = f"{node} commits {txn} without the vote of {', '.join(missing)}"
                return Violation(self.name, words, time_ns, (node, *missing), evidence)
        elif txn in self._voted.get(node, ()):
            self._voted[node].discard(txn)
        return None
