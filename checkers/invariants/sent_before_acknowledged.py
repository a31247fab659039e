"""Nothing is acknowledged that was not sent: an answer of this leadership carries neither a number nor a log index above what the
leader sent (Raft §5.3; thesis §6.4, step 3: the round of heartbeats that a read waits for is one of its own).

A leader that takes such an answer tells `Custom("acknowledged-unsent")`; the rule needs only to look for it.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom, Role

KIND = "acknowledged-unsent"


class SentBeforeAcknowledged:
    """Watches what leaders tell by `Custom`, and `Role`, which says in which term."""

    name = "sent-before-acknowledged"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Custom: self._on_custom, Role: self._on_role}
        self._terms: dict[str, int] = {}

    def _on_role(self, _time_ns: int, node: str, event: Role) -> None:
        self._terms[node] = event.term

    def _on_custom(self, time_ns: int, node: str, event: Custom) -> Violation | None:
        if event.name != KIND:
            return None
        fields: dict[str, Any] = {**event.fields, "term": self._terms.get(node, 0)}
        words = (
            f"{node}, leader of term {fields['term']}, counts an answer of {fields['source']} to message {fields['sequence']} "
            f"up to entry {fields['match_index']}, and has sent {fields['sent']} messages and holds {fields['last_index']} entries"
        )
        return Violation(self.name, words, time_ns, (node, str(fields["source"])), fields)
