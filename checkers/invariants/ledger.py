"""What the trace says each node's log holds, and which entries are committed: the common ground of the log rules.

The kinds read are role {role, term}, append {index, term, digest}, truncate {from_index}, commit {index}, apply
{index, ...} and the driver's started. A node that starts tells its recovered log anew, by a truncate from 1 and
appends; until it has said something else its log here may be shorter than in truth, so it is `unsettled`.
"""

from __future__ import annotations

from typing import Any

Entry = tuple[int, str]
"""term, digest of the command"""


class NodeView:
    """One node as its trace shows it. `log[i - 1]` is the entry at index i; None where the trace never told it."""

    __slots__ = ("commit_index", "is_settled", "log", "name", "role", "settled_at", "term")

    def __init__(self, name: str) -> None:
        self.name = name
        self.role = "follower"
        self.term = 0
        self.log: list[Entry | None] = []
        self.commit_index = 0
        self.is_settled = True
        self.settled_at = -1
        """How many entries had been committed, anywhere, when it last told its log anew; -1: it never did."""

    def entry_at(self, index: int) -> Entry | None:
        """The entry at `index`; None when there is none or it is not known."""
        return self.log[index - 1] if 0 < index <= len(self.log) else None


class Ledger:
    """Logs by node, and the committed log of the whole cluster.

    Invariant: committed[i - 1] is (entry at i, the term in which its commitment was first seen, by whom), for i from
    1 on; the entry is None where no one's trace told it.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeView] = {}
        self.committed: list[Entry | None] = []
        self.committed_in: list[tuple[int, str]] = []
        self._interned: dict[tuple[int, int], Entry] = {}

    def view(self, node: str) -> NodeView:
        """The node's view, made at first sight."""
        view = self.nodes.get(node)
        if view is None:
            view = self.nodes[node] = NodeView(node)
        return view

    def started(self, node: str) -> None:
        """A new process: what is in memory only is gone, and the log will be told anew."""
        view = self.view(node)
        view.role = "follower"
        view.commit_index = 0
        view.log = []
        view.is_settled = False

    def role(self, node: str, role: str, term: int) -> None:
        """The node took a role, or a term."""
        view = self.nodes.get(node) or self.view(node)
        view.role = role
        view.term = term

    def append(self, node: str, fields: dict[str, Any]) -> None:
        """The node's log ends with this entry now."""
        view = self.nodes.get(node) or self.view(node)
        index = fields["index"]
        term = fields["term"]
        digest = fields["digest"]
        entry = self._interned.get((index, term))
        if entry is None or entry[1] != digest:
            entry = self._interned[index, term] = (term, digest)
        log = view.log
        length = len(log)
        if index == length + 1:
            log.append(entry)
        elif index <= length:
            del log[index - 1 :]
            log.append(entry)
        else:
            log.extend([None] * (index - 1 - length))
            log.append(entry)

    def truncate(self, node: str, from_index: int) -> None:
        """The node's log ends before `from_index`."""
        view = self.view(node)
        del view.log[max(0, from_index - 1) :]
        view.is_settled = False
        if from_index == 1:  # Recovery of a real node, whose driver does not say `started`.
            view.commit_index = 0

    def commit(self, view: NodeView, index: int) -> int | None:
        """The node knows entries up to `index` to be committed. The first index at which that contradicts what was
        committed before, or None; then the committed log is as long as `index` at least."""
        committed = self.committed
        log = view.log
        old = view.commit_index
        known = len(committed)
        view.commit_index = index
        if index > known:
            whom = (view.term, view.name)
            for position in range(known, index):
                committed.append(log[position] if position < len(log) else None)
                self.committed_in.append(whom)
        if old >= known:
            return None
        end = min(index, known)
        if log[old:end] == committed[old:end]:
            return None
        for position in range(old, end):
            ours = log[position] if position < len(log) else None
            theirs = committed[position]
            if ours is not None and theirs is not None and ours != theirs:
                return position + 1
            if theirs is None:
                committed[position] = ours
        return None
