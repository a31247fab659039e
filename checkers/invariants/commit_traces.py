"""What nodes of an atomic commitment protocol tell (targets/twopc): the names of their Custom events and of the fields.

voted: txn, vote ("yes", "no"). decided: txn, decision ("commit", "abort"), as ("coordinator", "participant"); a coordinator that
commits also tells participants, and votes: whose yes it has. doubted: txn; a participant that has voted yes has waited longer for
the decision than it should. ended: txn; the coordinator may forget it. recovered-transactions, after each start: in_doubt,
committed, aborted, low (by coordinator, the number below which it has forgotten how transactions ended), unfinished, ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom

VOTED = "voted"
DECIDED = "decided"
DOUBTED = "doubted"
ENDED = "ended"
RECOVERED = "recovered-transactions"

OnFields = Callable[[int, str, Mapping[str, Any]], Violation | None]


def by_name(handlers: Mapping[str, OnFields]) -> dict[type, Handler]:
    """Handlers of Custom events by their names, as a rule's `handlers`."""

    def on_custom(time_ns: int, node: str, event: Custom) -> Violation | None:
        handle = handlers.get(event.name)
        return None if handle is None else handle(time_ns, node, event.fields)

    return {Custom: on_custom}
