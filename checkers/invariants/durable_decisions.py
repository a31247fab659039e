"""A restarted node remembers its votes and decisions (Mohan, Lindsay and Obermarck 1986, §2: they are forced to disk before they
are told).

Nodes trace both only when they are on disk, so whatever was traced before a crash must be there after it. What they say after a
start names also what was on disk and not traced yet. Where a group takes part as one, its next leader says so in the node's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.invariants.commit_traces import DECIDED, ENDED, RECOVERED, VOTED, by_name
from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Violation


class DurableDecisions:
    """Watches what a node has traced, and what it says that it recovered."""

    name = "durable-decisions"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers = by_name(
            {VOTED: self._on_voted, DECIDED: self._on_decided, ENDED: self._on_ended, RECOVERED: self._on_recovered}
        )
        self._in_doubt: dict[str, set[str]] = {}
        """Node -> what it has voted yes for and not decided."""
        self._to_tell: dict[str, dict[str, frozenset[str]]] = {}
        """Coordinator -> commits that it has not said to have ended, each with its participants."""
        self._known_by: dict[str, set[str]] = {}
        """Commit that has not ended -> participants that have carried it out. When all have, the coordinator may have forgotten it,
        and the crash may have cut off the trace that says so."""

    def _on_voted(self, _time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        if fields["vote"] == "yes":
            self._in_doubt.setdefault(node, set()).add(fields["txn"])

    def _on_decided(self, _time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        txn = fields["txn"]
        if fields["as"] == "participant":
            self._in_doubt.get(node, set()).discard(txn)
            if fields["decision"] == "commit":
                self._known_by.setdefault(txn, set()).add(node)
        elif fields["decision"] == "commit":
            self._to_tell.setdefault(node, {})[txn] = frozenset(fields["participants"])

    def _on_ended(self, _time_ns: int, node: str, fields: Mapping[str, Any]) -> None:
        self._to_tell.get(node, {}).pop(fields["txn"], None)
        self._known_by.pop(fields["txn"], None)

    def _on_recovered(self, time_ns: int, node: str, fields: Mapping[str, Any]) -> Violation | None:
        known = {*fields["in_doubt"], *fields["committed"], *fields["aborted"]}
        votes = sorted(txn for txn in self._in_doubt.get(node, set()) - known if not _is_forgotten(txn, fields["low"]))
        if votes:
            words = f"{node} voted yes for {votes[0]}, {_loss(fields)}"
            return Violation(self.name, words, time_ns, (node,), {"txn": votes[0]})
        unfinished = {txn for of_one in self._to_tell.values() for txn in of_one}
        for txn in unfinished.intersection(fields["committed"]):
            self._known_by.setdefault(txn, set()).add(node)
        kept = {*fields["unfinished"], *fields["ended"]}
        to_tell = self._to_tell.get(node, {})
        commits = sorted(
            txn
            for txn, participants in to_tell.items()
            if txn not in kept and participants - self._known_by.get(txn, set())
        )
        if commits:
            words = f"{node} decided to commit {commits[0]}, {_loss(fields)}"
            return Violation(self.name, words, time_ns, (node,), {"txn": commits[0]})
        self._in_doubt[node] = {*fields["in_doubt"]}
        self._to_tell[node] = {txn: to_tell.get(txn, frozenset()) for txn in fields["unfinished"]}
        return None


def _loss(fields: Mapping[str, Any]) -> str:
    """What came between a promise and its loss: a restart of the node; in a group, another leadership, with or without one."""
    if "by" in fields:
        return f"and its leader of term {fields['term']} does not know it"
    return "restarted, and does not know it any more"


def _is_forgotten(txn: str, low: Mapping[str, int]) -> bool:
    coordinator, _, number = txn.rpartition(":")
    return int(number) < low.get(coordinator, 0)
