"""Nothing acknowledged is lost: a majority of the disks always holds the last committed entry.

Only a node that told its log anew after the commitment counts against it: what a dead node's disk holds, or what a node
wrote just before it died, no one knows. With fewer than that the others may be the majority, and nothing is said.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation


class Durability:
    """Watches what a node says first after a restart or a truncation. `node_count`: members of the cluster."""

    name = "durability"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[str, Handler] = {"commit": self._on_sign, "vote": self._on_sign, "role": self._on_role}
        self._ledger = ledger
        self._node_count = node_count
        self._majority = node_count // 2 + 1

    def _on_role(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        """A candidate's log is as told; a follower's role may be the first word of its recovery."""
        return None if fields["role"] == "follower" else self._on_sign(time_ns, node, fields)

    def _on_sign(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        ledger = self._ledger
        view = ledger.nodes.get(node)
        if view is None or view.is_settled:
            return None
        view.is_settled = True
        index = len(ledger.committed)
        view.settled_at = index
        entry = ledger.committed[-1] if index else None
        if entry is None:
            return None
        without = tuple(
            other.name
            for other in ledger.nodes.values()
            if other.is_settled and other.settled_at >= index and other.entry_at(index) != entry
        )
        if self._node_count - len(without) >= self._majority:
            return None
        term, by = ledger.committed_in[index - 1]
        return Violation(
            self.name,
            f"entry {index}, committed in term {term} by {by}, is not on the disks of {', '.join(without)}: "
            f"at most {self._node_count - len(without)} of {self._node_count} still have it",
            time_ns,
            without,
            {"index": index, "entry": entry},
        )
