"""What a node showed to others it still knows after a crash: its term, and whom it voted for in it (Raft figure 2, "updated on
stable storage before responding to RPCs").

The driver writes `shown` when a node sends its first message after a `role` or `vote`. A crash before that may undo both.
Traces of real nodes have no `shown`, and the rule is silent there.
"""

from __future__ import annotations

from typing import Any

from checkers.invariants.violation import Handler, Violation


class _Memory:
    """term, vote: as last traced. shown_term, shown_vote: as others may know them; the vote is one of shown_term."""

    __slots__ = ("shown_term", "shown_vote", "term", "vote")

    def __init__(self) -> None:
        self.term = self.shown_term = 0
        self.vote: str | None = None
        self.shown_vote: str | None = None


class PersistentState:
    """Watches `role`, `vote`, and what the driver says: `shown`, `started`."""

    name = "persistent-state"

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {
            "role": self._on_role,
            "vote": self._on_vote,
            "shown": self._on_shown,
            "started": self._on_started,
        }
        self._memories: dict[str, _Memory] = {}

    def _memory(self, node: str) -> _Memory:
        memory = self._memories.get(node)
        if memory is None:
            memory = self._memories[node] = _Memory()
        return memory

    def _on_role(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        memory = self._memory(node)
        term = fields["term"]
        if term != memory.term:
            memory.term, memory.vote = term, None
        if term >= memory.shown_term:
            return None
        return Violation(
            self.name,
            f"{node} is in term {term} after a restart, and had already acted in term {memory.shown_term}",
            time_ns,
            (node,),
            {"term": term, "shown_term": memory.shown_term},
        )

    def _on_vote(self, time_ns: int, node: str, fields: dict[str, Any]) -> Violation | None:
        memory = self._memory(node)
        term = fields["term"]
        memory.term, memory.vote = term, fields["for"]
        if term != memory.shown_term or memory.shown_vote in (None, memory.vote):
            return None
        return Violation(
            self.name,
            f"{node} votes for {memory.vote} in term {term}, in which it had voted for {memory.shown_vote}",
            time_ns,
            (node,),
            {"term": term, "votes": [memory.shown_vote, memory.vote]},
        )

    def _on_shown(self, _time_ns: int, node: str, _fields: dict[str, Any]) -> None:
        memory = self._memory(node)
        if memory.term != memory.shown_term:
            memory.shown_term, memory.shown_vote = memory.term, memory.vote
        elif memory.vote is not None:
            memory.shown_vote = memory.vote

    def _on_started(self, _time_ns: int, node: str, _fields: dict[str, Any]) -> None:
        memory = self._memory(node)
        memory.term, memory.vote = memory.shown_term, memory.shown_vote
