"""Entries with the same index and term are the same in every log, and so is everything before them (Raft §5.3, figure 3).

The second half follows by induction when for each (index, term) the command and the term of the entry before are always the same:
that is what is checked, once for each append.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation


class LogMatching:
    """Watches `append`, before the ledger takes it."""

    name = "log-matching"

    def __init__(self, ledger: Ledger) -> None:
        self.handlers: dict[str, Handler] = {"append": self._on_append}
        self._views = ledger.nodes
        self._seen: dict[tuple[int, int], tuple[str, int | None, str]] = {}
        """(index, term) -> digest, term of the entry before (None: not known), who appended it first"""

    def _on_append(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        index = fields["index"]
        place = (index, fields["term"])
        digest = fields["digest"]
        before: int | None = 0
        if index > 1:
            view = self._views.get(node)
            previous = view.log[index - 2] if view is not None and index - 2 < len(view.log) else None
            before = None if previous is None else previous[0]
        seen = self._seen.get(place)
        if seen is None:
            self._seen[place] = (digest, before, node)
            return None
        if seen[0] == digest:
            if seen[1] == before or before is None:
                return None
            if seen[1] is None:
                self._seen[place] = (digest, before, seen[2])
                return None
            words = f"{node}'s entry {index} of term {place[1]} follows one of term {before}, {seen[2]}'s one of term {seen[1]}"
        else:
            words = f"entry {index} of term {place[1]} is {digest} at {node} and {seen[0]} at {seen[2]}"
        return Violation(
            self.name,
            words,
            time_ns,
            (seen[2], node),
            {"index": index, "term": place[1], "digests": [seen[0], digest], "terms_before": [seen[1], before]},
        )
