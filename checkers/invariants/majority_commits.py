"""What a leader commits is in the logs of a majority of those who vote (Raft §5.3, §5.4.2; thesis §4.1: by the last configuration
in the leader's own log).

A follower tells that it appended an entry before it answers for it. So when a leader commits the entry, as many nodes as it counted
have told that they hold it, and none can have lost it since, but for one that lost its disk and comes back as another member. That
one is not asked. Members that count who do not vote, or that count twice, are noticed at once: long before an election brings a
leader who lacks the entry.

It judges in the simulation only: traces of real nodes lose their ends, and their clocks are not one.
"""

from __future__ import annotations

from checkers.invariants.durability import CONFIGURED
from checkers.invariants.ledger import REJOINING, Ledger, plain
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Committed, Custom, Started


class MajorityCommits:
    """Watches `Committed` of leaders, and what they tell of the membership."""

    name = "majority-commits"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Committed: self._on_committed,
            Custom: self._on_custom,
            Started: self._on_started,
        }
        self._ledger = ledger
        self._node_count = node_count
        self._voters: dict[str, frozenset[str]] = {}
        """By the last configuration in each node's log; nobody there: all nodes vote."""
        self._forgetful: set[str] = set()

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        self._voters.pop(node, None)  # It tells what its disk says, unless that is how the cluster began.

    def _on_custom(self, _time_ns: int, node: str, event: Custom) -> None:
        if event.name == REJOINING:
            self._forgetful.add(node)
        elif event.name == CONFIGURED:
            self._voters[node] = frozenset(event.fields["voters"])

    def _on_committed(self, time_ns: int, node: str, event: Committed) -> Violation | None:
        ledger = self._ledger
        leader = ledger.nodes.get(node)
        if leader is None or leader.role != "leader" or not ledger.acceptances.is_complete:
            return None
        entry = leader.entry_at(event.index)
        if entry is None:
            return None
        voters = self._voters.get(node)
        count = self._node_count if voters is None else len(voters)
        holding = sum(
            other.name in self._forgetful or not other.lacks(event.index, entry)
            for other in ledger.nodes.values()
            if voters is None or other.name in voters
        )
        if holding > count // 2:
            return None
        return Violation(
            self.name,
            f"{node}, leader of term {leader.term}, commits entry {event.index}, which {holding} of {count} voters hold",
            time_ns,
            (node,),
            {"index": event.index, "entry": plain(entry), "holding": holding, "voters": count},
        )
