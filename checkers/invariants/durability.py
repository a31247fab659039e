"""Nothing acknowledged is lost: a majority of the disks always holds the last committed entry.

Only nodes that told their log anew after the commitment count as lacking the entry: nobody knows what a dead node's disk holds,
or what a node wrote just before it died. A node that comes back as another member after it lost its disk is not asked either.
While the other nodes may still be a majority, the rule reports nothing.
"""

from __future__ import annotations

from checkers.invariants.ledger import REJOINING, Ledger, plain
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Committed, Custom, Recovered, Role, TraceEvent, Voted

CONFIGURED = "configured"
"""Custom event: from the entry at `index`, of `term`, on, the cluster has these `voters`; index 0: from its beginning."""


class Durability:
    """Watches `Recovered`, and the first event of a node after it truncated its log."""

    name = "durability"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Recovered: self._on_recovered,
            Committed: self._on_sign,
            Voted: self._on_sign,
            Role: self._on_role,
            Custom: self._on_custom,
        }
        self._ledger = ledger
        self._node_count = node_count
        self._forgetful: set[str] = set()
        """Nodes that lost their disk, and are other members since."""
        self._voters: dict[tuple[int, int], frozenset[str]] = {}
        """(index, term) of the entry that says so -> who votes from there on. Empty: all nodes, always."""

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        """A node that becomes candidate or leader has told all of its log; one may become follower between a truncation and what
        follows it."""
        return None if event.role == "follower" else self._on_sign(time_ns, node, event)

    def _on_sign(self, time_ns: int, node: str, _event: TraceEvent) -> Violation | None:
        view = self._ledger.nodes.get(node)
        if view is None or view.is_settled or view.is_recovering:
            return None
        view.is_settled = True
        view.settled_at = len(self._ledger.committed)
        return self._judge(time_ns)

    def _on_recovered(self, time_ns: int, _node: str, _event: Recovered) -> Violation | None:
        return self._judge(time_ns)

    def _on_custom(self, _time_ns: int, node: str, event: Custom) -> None:
        if event.name == REJOINING:
            self._forgetful.add(node)
        elif event.name == CONFIGURED:
            fields = event.fields
            index, term = fields["index"], fields["term"]
            if term or not index:  # Term 0: a snapshot stands for it, and it was told before.
                self._voters[index, term] = frozenset(fields["voters"])

    def _in_force(self, index: int) -> list[frozenset[str] | None]:
        """The sets of voters of which one decided that the entry at `index` is committed: of the last configuration up to there
        that is committed, and of all behind it, which hold as soon as a log has them. None: all nodes."""
        committed = self._ledger.committed
        last: tuple[int, int] | None = None
        found: list[frozenset[str] | None] = []
        for place in sorted(self._voters):
            entry = committed[place[0] - 1] if 0 < place[0] <= index else None
            if place[0] > index or (place[0] and entry is None):
                found.append(self._voters[place])  # Perhaps in force.
            elif entry is None or entry[0] == place[1]:
                last = place
        found.append(None if last is None else self._voters[last])
        return found

    def _judge(self, time_ns: int) -> Violation | None:
        ledger = self._ledger
        index = len(ledger.committed)
        entry = ledger.committed[index - 1] if index else None
        if entry is None:
            return None
        without = tuple(
            other.name
            for other in ledger.nodes.values()
            if other.is_settled
            and other.settled_at >= index
            and other.name not in self._forgetful
            and other.lacks(index, entry)
        )
        if not without:
            return None
        count, lacking = self._node_count, without
        for voters in self._in_force(index):
            count = self._node_count if voters is None else len(voters)
            lacking = without if voters is None else tuple(name for name in without if name in voters)
            if count - len(lacking) > count // 2:
                return None
        term, by = ledger.committed.seen_in(index - 1)
        return Violation(
            self.name,
            f"entry {index}, committed in term {term} by {by}, is not on the disks of {', '.join(lacking)}: "
            f"at most {count - len(lacking)} of {count} still have it",
            time_ns,
            lacking,
            {"index": index, "entry": plain(entry)},
        )
