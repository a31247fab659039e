"""What nodes of an atomic commitment protocol tell (targets/twopc): the names of their Custom events and of the fields.

voted: txn, vote ("yes", "no"). decided: txn, decision ("commit", "abort"), as ("coordinator", "participant"); a coordinator that
commits also tells participants, and votes: whose yes it has. doubted: txn; a participant that has voted yes has waited longer for
the decision than it should. ended: txn; the coordinator may forget it. recovered-transactions, after each start: in_doubt,
committed, aborted, low (by coordinator, the number below which it has forgotten how transactions ended), unfinished, ended.

Where a group of replicas takes part as one, its leaders tell these, with two more fields: by, the group's name, which stands in the
node's place; and term, of the leadership. A leader that was followed by another one may learn late that what it had written was
committed, and tells it then: rules about what a node knows after a start do not read what comes from before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom

VOTED = "voted"
DECIDED = "decided"
DOUBTED = "doubted"
ENDED = "ended"
RECOVERED = "recovered-transactions"

OnFields = Callable[[int, str, Mapping[str, Any]], Violation | None]


def by_name(handlers: Mapping[str, OnFields], *, reads_late: bool = False) -> dict[type, Handler]:
    """Handlers of Custom events by their names, as a rule's `handlers`. reads_late: they also take what a leader tells that another
    one has followed."""
    terms: dict[str, int] = {}
    speakers: dict[str, str] = {}

    def on_custom(time_ns: int, node: str, event: Custom) -> Violation | None:
        handle = handlers.get(event.name)
        if handle is None:
            return None
        group = event.fields.get("by")
        if group is None:
            return handle(time_ns, node, event.fields)
        term = event.fields["term"]
        if event.name == RECOVERED:
            terms[group] = max(terms.get(group, 0), term)
        is_late = term < terms.get(group, 0)
        if is_late and (event.name == RECOVERED or not reads_late):
            return None
        speakers[group] = node
        violation = handle(time_ns, group, event.fields)
        if violation is None:
            return None
        nodes = dict.fromkeys(speakers.get(name, name) for name in violation.nodes)
        return replace(violation, nodes=tuple(nodes))

    return {Custom: on_custom}
