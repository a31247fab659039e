"""At most one node leads in a term (Raft §5.2, figure 3)."""

from __future__ import annotations

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Role


class ElectionSafety:
    """Watches `Role`."""

    name = "election-safety"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Role: self._on_role}
        self._leaders: dict[int, tuple[str, int]] = {}

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        if event.role != "leader":
            return None
        term = event.term
        first, since_ns = self._leaders.setdefault(term, (node, time_ns))
        if first == node:
            return None
        return Violation(
            self.name,
            f"{node} leads in term {term}, in which {first} already led",
            time_ns,
            (first, node),
            {"term": term, "first_ns": since_ns},
        )
