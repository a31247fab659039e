"""Nothing acknowledged is lost: a majority of the disks always holds the last committed entry.

Only nodes that told their log anew after the commitment count as lacking the entry: nobody knows what a dead node's disk holds,
or what a node wrote just before it died. While the other nodes may still be a majority, the rule reports nothing.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger, plain
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Committed, Recovered, Role, TraceEvent, Voted


class Durability:
    """Watches `Recovered`, and the first event of a node after it truncated its log."""

    name = "durability"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Recovered: self._on_recovered,
            Committed: self._on_sign,
            Voted: self._on_sign,
            Role: self._on_role,
        }
        self._ledger = ledger
        self._node_count = node_count
        self._majority = node_count // 2 + 1

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        """A node that becomes candidate or leader has told all of its log; one may become follower between a truncation and what
        follows it."""
        return None if event.role == "follower" else self._on_sign(time_ns, node, event)

    def _on_sign(self, time_ns: int, node: str, _event: TraceEvent) -> Violation | None:
        view = self._ledger.nodes.get(node)
        if view is None or view.is_settled or view.is_recovering:
            return None
        view.is_settled = True
        view.settled_at = len(self._ledger.committed)
        return self._judge(time_ns)

    def _on_recovered(self, time_ns: int, _node: str, _event: Recovered) -> Violation | None:
        return self._judge(time_ns)

    def _judge(self, time_ns: int) -> Violation | None:
        ledger = self._ledger
        index = len(ledger.committed)
        entry = ledger.committed[index - 1] if index else None
        if entry is None:
            return None
        without = tuple(
            other.name
            for other in ledger.nodes.values()
            if other.is_settled and other.settled_at >= index and other.lacks(index, entry)
        )
        if self._node_count - len(without) >= self._majority:
            return None
        term, by = ledger.committed.seen_in(index - 1)
        return Violation(
            self.name,
            f"entry {index}, committed in term {term} by {by}, is not on the disks of {', '.join(without)}: "
            f"at most {self._node_count - len(without)} of {self._node_count} still have it",
            time_ns,
            without,
            {"index": index, "entry": plain(entry)},
        )
