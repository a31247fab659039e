"""No two nodes commit, or apply, different entries at one index (Raft §5.4.3, figure 3)."""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation


class StateMachineSafety:
    """Watches `apply` and `commit`. It is the one that gives the ledger its commits."""

    name = "state-machine-safety"

    def __init__(self, ledger: Ledger) -> None:
        self.handlers: dict[str, Handler] = {"commit": self._on_commit, "apply": self._on_apply}
        self._ledger = ledger
        self._applied: list[tuple[int, str, str] | None] = []
        """By index from 1: term, digest, who applied it first."""

    def _on_commit(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        ledger = self._ledger
        view = ledger.nodes.get(node) or ledger.view(node)
        index = ledger.commit(view, fields["index"])
        if index is None:
            return None
        ours, theirs = view.entry_at(index), ledger.committed[index - 1]
        assert ours is not None
        assert theirs is not None
        _, first = ledger.committed_in[index - 1]
        return Violation(
            self.name,
            f"{node} commits {ours[1]} of term {ours[0]} at {index}, where {first} committed {theirs[1]} of term {theirs[0]}",
            time_ns,
            (first, node),
            {"index": index, "first": theirs, "second": ours},
        )

    def _on_apply(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        index = fields["index"]
        applied = self._applied
        if index > len(applied):
            applied.extend([None] * (index - len(applied)))
        seen = applied[index - 1]
        term = fields["term"]
        digest = fields["digest"]
        if seen is None:
            applied[index - 1] = (term, digest, node)
            return None
        if seen[0] == term and seen[1] == digest:
            return None
        return Violation(
            self.name,
            f"{node} applies {digest} of term {term} at {index}, where {seen[2]} applied {seen[1]} of term {seen[0]}",
            time_ns,
            (seen[2], node),
            {"index": index, "first": seen[:2], "second": [term, digest]},
        )
