"""Entries with the same index and term are the same in every log, and so is everything before them (Raft §5.3, figure 3).

The second half follows by induction when for each (index, term) the command and the term of the entry before are always the same:
that is what the ledger compares, once for each entry that it takes.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger, in_words, plain
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Appended, Recovered


class LogMatching:
    """Watches `Appended` and the entries that `Recovered` tells."""

    name = "log-matching"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Appended: self._on_entries, Recovered: self._on_entries}
        self._ledger = ledger

    def _on_entries(self, time_ns: int, node: str, _event: Appended | Recovered) -> Violation | None:
        conflict = self._ledger.conflict
        if conflict is None:
            return None
        index, (term, ours), (_, theirs), by = conflict.index, conflict.ours, conflict.theirs, conflict.by
        if ours == theirs:
            words = (
                f"{node}'s entry {index} of term {term} follows one of term {conflict.before}, "
                f"{by}'s one of term {conflict.theirs_before}"
            )
        else:
            words = f"entry {index} of term {term} is {in_words(ours)} at {node} and {in_words(theirs)} at {by}"
        return Violation(
            self.name,
            words,
            time_ns,
            (by, node),
            {
                "index": index,
                "term": term,
                "entries": [plain(conflict.theirs), plain(conflict.ours)],
                "terms_before": [conflict.theirs_before, conflict.before],
            },
        )
