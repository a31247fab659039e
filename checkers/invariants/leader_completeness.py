"""An entry committed in a term is in the log of the leader of every later term (Raft §5.4, figure 3).

It is enough to look at the last such entry: by log matching, a log that has it has all entries before it. A commitment counts for
the term in which a trace first shows it. That is never earlier than the term in which it happened, so that no legal run is called
a violation.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger, NodeView, plain
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Role


class LeaderCompleteness:
    """Watches `Role`."""

    name = "leader-completeness"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Role: self._on_role}
        self._ledger = ledger

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        view = self._ledger.view(node)
        if event.role != "leader" or view.is_recovering:
            return None
        return self._judge(time_ns, view, event.term)

    def _judge(self, time_ns: int, view: NodeView, term: int) -> Violation | None:
        ledger = self._ledger
        index = ledger.committed.length_before(term)
        if not index:
            return None
        committed = ledger.committed[index - 1]
        own = view.entry_at(index)
        if own is not None and (committed is None or own == committed):
            return None
        if own is None and index <= view.length:
            return None  # It has an entry there, which its trace never told.
        committed_term, by = ledger.committed.seen_in(index - 1)
        has = f"has another there, of term {own[0]}" if own is not None else f"ends its log at {view.length}"
        return Violation(
            self.name,
            f"{view.name} leads term {term} and {has}; entry {index} was committed in term {committed_term} by {by}",
            time_ns,
            (by, view.name),
            {
                "index": index,
                "committed": plain(committed),
                "own": plain(own),
                "log_length": view.length,
                "term": term,
            },
        )
