"""An entry committed in a term is in the log of the leader of every later term (Raft §5.4, figure 3).

The last such entry is enough: with log matching, whoever has it has all before it. A commitment counts for the term in which it
was first seen, which is never earlier than that in which it came about: so nothing legal is called a violation.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger, NodeView
from checkers.invariants.violation import Handler, Violation


class LeaderCompleteness:
    """Watches `role`, after the ledger has it."""

    name = "leader-completeness"

    def __init__(self, ledger: Ledger) -> None:
        self.handlers: dict[str, Handler] = {"role": self._on_role}
        self._ledger = ledger

    def _on_role(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        if fields["role"] != "leader":
            return None
        view = self._ledger.view(node)
        return self._judge(time_ns, view, fields["term"])

    def _judge(self, time_ns: int, view: NodeView, term: int) -> Violation | None:
        ledger = self._ledger
        index = len(ledger.committed)
        while index and ledger.committed_in[index - 1][0] >= term:
            index -= 1
        if not index:
            return None
        committed = ledger.committed[index - 1]
        own = view.entry_at(index)
        if own is not None and (committed is None or own == committed):
            return None
        if own is None and index <= len(view.log):
            return None  # It has an entry there, which its trace never told.
        committed_term, by = ledger.committed_in[index - 1]
        has = f"has another there, of term {own[0]}" if own is not None else f"ends its log at {len(view.log)}"
        return Violation(
            self.name,
            f"{view.name} leads term {term} and {has}; entry {index} was committed in term {committed_term} by {by}",
            time_ns,
            (by, view.name),
            {"index": index, "committed": committed, "own": own, "log_length": len(view.log), "term": term},
        )
