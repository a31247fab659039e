"""Leadership is handed over only to a node that is known to hold the whole log of the leader (thesis §3.10, step 2).

A leader that asks another node to stand tells `Custom("handing-over")`, with how much of its log that node is known to hold. Who
stands with less is refused the votes of all who hold more: nothing acknowledged is lost (thesis §3.6.1), but the cluster is without
a leader for an election, where it was to be without one for a message. No client can tell this from any other election; so it is a
rule.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom, Role

KIND = "handing-over"


class TransferCatchesUp:
    """Watches what leaders tell by `Custom`, and `Role`, which says in which term."""

    name = "transfer-catches-up"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Custom: self._on_custom, Role: self._on_role}
        self._terms: dict[str, int] = {}

    def _on_role(self, _time_ns: int, node: str, event: Role) -> None:
        self._terms[node] = event.term

    def _on_custom(self, time_ns: int, node: str, event: Custom) -> Violation | None:
        if event.name != KIND or event.fields["match_index"] >= event.fields["last_index"]:
            return None
        fields: dict[str, Any] = {**event.fields, "term": self._terms.get(node, 0)}
        words = (
            f"{node}, leader of term {fields['term']}, asks {fields['to']} to stand for election, which is known to hold its log "
            f"up to entry {fields['match_index']} of {fields['last_index']}"
        )
        return Violation(self.name, words, time_ns, (node, str(fields["to"])), fields)
