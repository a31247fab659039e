"""At most one node leads in a term (Raft §5.2, figure 3)."""

from __future__ import annotations

from typing import Any

from checkers.invariants.violation import Handler, Violation


class ElectionSafety:
    """Watches `role`."""

    name = "election-safety"

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {"role": self._on_role}
        self._leaders: dict[int, tuple[str, int]] = {}

    def _on_role(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        if fields["role"] != "leader":
            return None
        term = fields["term"]
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
