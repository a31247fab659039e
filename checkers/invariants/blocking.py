"""How long participants were in doubt: between their yes and the decision they hold their locks and can do nothing.

It never finds a violation. `stats` are the figures that people want to know of two-phase commit, in the verdict of the invariants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.invariants.commit_traces import DECIDED, DOUBTED, RECOVERED, VOTED, by_name
from checkers.invariants.ledger import Ledger


class Blocking:
    """Watches votes and decisions. A transaction is blocked at a participant from its yes to its decision, when that takes longer
    than it should: then the participant tells `doubted`."""

    name = "blocking"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers = by_name(
            {VOTED: self._on_voted, DECIDED: self._on_decided, DOUBTED: self._on_doubted, RECOVERED: self._on_recovered}
        )
        self._since_ns: dict[tuple[str, str], int] = {}
        self._doubted: set[tuple[str, str]] = set()
        self._last_ns = 0
        self._votes_count = 0
        self._longest_ns = 0
        self._intervals: dict[str, list[tuple[int, int]]] = {}

    def _on_voted(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        self._last_ns = max(self._last_ns, time_ns)
        if fields["vote"] == "yes":
            self._votes_count += 1
            self._since_ns.setdefault((node, fields["txn"]), time_ns)

    def _on_doubted(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        self._last_ns = max(self._last_ns, time_ns)
        self._doubted.add((node, fields["txn"]))

    def _on_decided(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        self._last_ns = max(self._last_ns, time_ns)
        if fields["as"] == "participant":
            self._over(time_ns, node, fields["txn"])

    def _on_recovered(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        """What is not in doubt any more was decided before the crash, or the vote was lost."""
        still = {*fields["in_doubt"]}
        for of, txn in [*self._since_ns]:
            if of == node and txn not in still:
                self._over(time_ns, node, txn)

    def _over(self, time_ns: int, node: str, txn: str) -> None:
        since_ns = self._since_ns.pop((node, txn), None)
        if since_ns is None or (node, txn) not in self._doubted:
            self._doubted.discard((node, txn))
            return
        self._doubted.discard((node, txn))
        self._longest_ns = max(self._longest_ns, time_ns - since_ns)
        self._intervals.setdefault(node, []).append((since_ns, time_ns))

    def stats(self) -> dict[str, int]:
        """votes: yes votes. blocked: how many of them waited longer than they should. longest_ns: the longest such time.
        blocked_ns: the time in which a node had at least one blocked transaction, summed over the nodes. unresolved: still in doubt
        when the traces end."""
        intervals = {node: [*spans] for node, spans in self._intervals.items()}
        longest_ns = self._longest_ns
        for node, txn in self._doubted & self._since_ns.keys():
            since_ns = self._since_ns[node, txn]
            longest_ns = max(longest_ns, self._last_ns - since_ns)
            intervals.setdefault(node, []).append((since_ns, self._last_ns))
        return {
            "votes": self._votes_count,
            "blocked": sum(len(spans) for spans in intervals.values()),
            "longest_ns": longest_ns,
            "blocked_ns": sum(_covered_ns(spans) for spans in intervals.values()),
            "unresolved": len(self._doubted & self._since_ns.keys()),
        }


def _covered_ns(spans: list[tuple[int, int]]) -> int:
    """The time that at least one of the spans covers."""
    total = end = 0
    for start_ns, end_ns in sorted(spans):
        total += max(0, end_ns - max(start_ns, end))
        end = max(end, end_ns)
    return total
