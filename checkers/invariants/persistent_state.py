"""After a crash a node still knows what it showed to others: its term, and its vote in that term (Raft figure 2, "updated on
stable storage before responding to RPCs").

A node that tells its vote when it starts (in `Recovered`) is judged there; another one only when it votes again.

A node that lost its disk and comes back as another member (Custom "rejoining") never was the one that showed them. The simulation
tells `Shown` when a node sends its first message after a `Role` or `Voted`. A crash before that may undo both. Traces of real nodes
have no `Shown`, and the rule is silent there.
"""

from __future__ import annotations

from checkers.invariants.ledger import REJOINING, Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom, Recovered, Role, Shown, Started, Voted


class _Memory:
    """term, vote: as last traced. shown_term, shown_vote: as others may know them; the vote is one of shown_term."""

    __slots__ = ("shown_term", "shown_vote", "term", "vote")

    def __init__(self) -> None:
        self.term = self.shown_term = 0
        self.vote: str | None = None
        self.shown_vote: str | None = None


class PersistentState:
    """Watches `Role`, `Voted`, `Recovered`, and what the driver tells: `Shown`, `Started`."""

    name = "persistent-state"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Role: self._on_role,
            Voted: self._on_voted,
            Shown: self._on_shown,
            Started: self._on_started,
            Recovered: self._on_recovered,
            Custom: self._on_custom,
        }
        self._memories: dict[str, _Memory] = {}

    def _memory(self, node: str) -> _Memory:
        memory = self._memories.get(node)
        if memory is None:
            memory = self._memories[node] = _Memory()
        return memory

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        memory = self._memory(node)
        term = event.term
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

    def _on_voted(self, time_ns: int, node: str, event: Voted) -> Violation | None:
        memory = self._memory(node)
        term = event.term
        memory.term, memory.vote = term, event.candidate
        if term != memory.shown_term or memory.shown_vote in (None, memory.vote):
            return None
        return Violation(
            self.name,
            f"{node} votes for {memory.vote} in term {term}, in which it had voted for {memory.shown_vote}",
            time_ns,
            (node,),
            {"term": term, "votes": [memory.shown_vote, memory.vote]},
        )

    def _on_shown(self, _time_ns: int, node: str, _event: Shown) -> None:
        memory = self._memory(node)
        if memory.term != memory.shown_term:
            memory.shown_term, memory.shown_vote = memory.term, memory.vote
        elif memory.vote is not None:
            memory.shown_vote = memory.vote

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        memory = self._memory(node)
        memory.term, memory.vote = memory.shown_term, memory.shown_vote

    def _on_custom(self, _time_ns: int, node: str, event: Custom) -> None:
        if event.name == REJOINING:
            self._memories.pop(node, None)

    def _on_recovered(self, time_ns: int, node: str, event: Recovered) -> Violation | None:
        if event.vote is None:
            return None
        term, vote = event.vote
        memory = self._memory(node)
        if term != memory.shown_term or memory.shown_vote in (None, vote):
            return None
        return Violation(
            self.name,
            f"{node} knows after a restart of {'no vote' if vote is None else f'a vote for {vote}'} in term {term}, "
            f"in which it had voted for {memory.shown_vote}",
            time_ns,
            (node,),
            {"term": term, "votes": [memory.shown_vote, vote]},
        )
