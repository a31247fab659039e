"""A leader changes the membership one server at a time: it begins no change before the last one is committed, and before it has
committed an entry of its own term (thesis §4.1; Ongaro, "bug in single-server membership changes", raft-dev, July 2015).

Where a leader does otherwise, two majorities need not meet, and it takes a particular row of elections until that shows. A leader
tells that it appended its change, and that it committed what it has, in the order in which it did so: the rule looks at that.
"""

from __future__ import annotations

from checkers.invariants.durability import CONFIGURED
from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Appended, Committed, Custom, Role, Started


class _Member:
    """first_own: index of the first entry that it appended in its leadership; 0: it does not lead. config_index: of the last
    configuration in its log."""

    __slots__ = ("commit_index", "config_index", "first_own", "is_leader", "term")

    def __init__(self) -> None:
        self.is_leader = False
        self.term = self.first_own = self.commit_index = self.config_index = 0


class SingleChanges:
    """Watches what leaders append, commit, and tell of the membership."""

    name = "single-changes"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Started: self._on_started,
            Role: self._on_role,
            Appended: self._on_appended,
            Committed: self._on_committed,
            Custom: self._on_custom,
        }
        self._members: dict[str, _Member] = {}

    def _member(self, node: str) -> _Member:
        member = self._members.get(node)
        if member is None:
            member = self._members[node] = _Member()
        return member

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        self._members[node] = _Member()

    def _on_role(self, _time_ns: int, node: str, event: Role) -> None:
        member = self._member(node)
        member.term, member.is_leader, member.first_own = event.term, event.role == "leader", 0

    def _on_appended(self, _time_ns: int, node: str, event: Appended) -> None:
        member = self._members.get(node)
        if member is not None and member.is_leader and not member.first_own:
            member.first_own = event.index

    def _on_committed(self, _time_ns: int, node: str, event: Committed) -> None:
        member = self._members.get(node) or self._member(node)
        member.commit_index = event.index

    def _on_custom(self, time_ns: int, node: str, event: Custom) -> Violation | None:
        if event.name != CONFIGURED:
            return None
        member, index = self._member(node), event.fields["index"]
        before, member.config_index = member.config_index, index
        if not member.is_leader or event.fields["term"] != member.term:
            return None
        committed = member.commit_index
        if before > committed:
            why = f"entry {before}, which changes it too, is not committed"
        elif not member.first_own or committed < member.first_own:
            why = "it has committed no entry of its own term"
        else:
            return None
        return Violation(
            self.name,
            f"{node}, leader of term {member.term}, changes the membership with entry {index}, and {why}",
            time_ns,
            (node,),
            {"index": index, "term": member.term, "commit_index": committed, "change_before": before},
        )
