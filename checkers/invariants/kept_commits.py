"""What a node knows to be committed stays with it: its commit index never falls while it runs, it cuts off nothing that it had
committed, and after a restart its disk holds all of it (Raft §5.3: committed entries are durable; figure 3, leader append-only and
leader completeness).

Each sentence is about the events of one node, in the order in which it told them, and so needs no common clock. A core traces a
commitment behind the records that it put before, and the driver holds it back until they are durable (targets.core, rule 2): an
entry that a node has told to be committed is on its own disk. A snapshot of another node is told before it is durable, and does
not count for the last sentence. A node that lost its disk and comes back as another member begins anew.
"""

from __future__ import annotations

from checkers.invariants.ledger import REJOINING, Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Committed, Custom, Recovered, Truncated


class KeptCommits:
    """Watches `Committed`, `Truncated` and `Recovered`."""

    name = "kept-commits"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Committed: self._on_committed,
            Truncated: self._on_truncated,
            Recovered: self._on_recovered,
            Custom: self._on_custom,
        }
        self._now: dict[str, int] = {}
        """The commit index of the process that runs now."""
        self._before: dict[str, int] = {}
        """The highest one of the node's earlier processes."""

    def _on_committed(self, time_ns: int, node: str, event: Committed) -> Violation | None:
        index = event.index
        old = self._now.get(node, 0)
        if index < old:
            words = f"{node} lowers its commit index from {old} to {index}"
            return Violation(self.name, words, time_ns, (node,), {"index": index, "committed": old})
        self._now[node] = index
        return None

    def _on_truncated(self, time_ns: int, node: str, event: Truncated) -> Violation | None:
        committed = max(self._now.get(node, 0), self._before.get(node, 0))
        if event.from_index > committed:
            return None
        words = f"{node} cuts its log off from entry {event.from_index} on, and had committed up to {committed}"
        return Violation(self.name, words, time_ns, (node,), {"index": event.from_index, "committed": committed})

    def _on_recovered(self, time_ns: int, node: str, event: Recovered) -> Violation | None:
        committed = self._before[node] = max(self._now.get(node, 0), self._before.get(node, 0))
        self._now[node] = event.snapshot_index
        if event.last_index >= committed:
            return None
        words = f"{node} restarts with a log of {event.last_index} entries, and had committed up to {committed}"
        return Violation(self.name, words, time_ns, (node,), {"index": event.last_index, "committed": committed})

    def _on_custom(self, _time_ns: int, node: str, event: Custom) -> None:
        if event.name == REJOINING:
            self._now.pop(node, None)
            self._before.pop(node, None)
