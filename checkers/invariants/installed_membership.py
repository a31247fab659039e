"""A snapshot holds the membership of the cluster (thesis §5.1): who installs one counts on the voters that were committed up to its
last entry, and on no others.

Who counts on others stands for election, and commits, with the wrong majority. That shows only when it leads, and when the two
majorities do not meet; what it counts on, it tells in the step in which it installs.

It judges in the simulation only: traces of real nodes lose their ends, and a change whose commitment was lost with one looks as if
it had never been.
"""

from __future__ import annotations

from checkers.invariants.durability import CONFIGURED
from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Committed, Custom, Installed, Started

Voters = tuple[str, ...]


class InstalledMembership:
    """Watches `Installed`, and what nodes tell of the membership and commit."""

    name = "installed-membership"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Installed: self._on_installed,
            Custom: self._on_custom,
            Started: self._on_started,
            Committed: self._on_committed,
        }
        self._ledger = ledger
        self._told: dict[str, tuple[int, Voters]] = {}
        """By node: index and voters of the last configuration in its log."""
        self._committed: dict[int, Voters] = {}
        """Index of the entry -> who votes from there on, for the changes that are known to be committed."""
        self._installed: dict[str, int] = {}
        """Nodes that have installed a snapshot, and may be about to tell what it says of the membership -> its last index."""

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        self._told.pop(node, None)
        self._installed.pop(node, None)

    def _on_installed(self, _time_ns: int, node: str, event: Installed) -> None:
        self._installed[node] = event.index

    def _on_custom(self, _time_ns: int, node: str, event: Custom) -> None:
        if event.name == CONFIGURED:
            self._told[node] = (event.fields["index"], tuple(event.fields["voters"]))

    def _on_committed(self, time_ns: int, node: str, event: Committed) -> Violation | None:
        told = self._told.get(node)
        if self._installed and (index := self._installed.pop(node, None)) is not None:
            return self._judge(time_ns, node, index)
        # Of a configuration behind a snapshot nobody tells the entry; whoever committed that entry has told it.
        if told is not None and 0 < told[0] <= event.index:
            self._committed.setdefault(told[0], told[1])
        return None

    def _judge(self, time_ns: int, node: str, index: int) -> Violation | None:
        """The node goes on behind a snapshot that ends at `index`."""
        told_index, voters = self._told.get(node, (0, ()))
        at = max((each for each in self._committed if each <= index), default=0)
        is_judged = self._ledger.acceptances.is_complete
        if not is_judged or not at or told_index > index or voters == self._committed[at]:
            return None
        return Violation(
            self.name,
            f"{node} has installed a snapshot up to entry {index}, and counts on the voters "
            f"{', '.join(voters) or 'of the beginning'}; since entry {at} they are {', '.join(self._committed[at])}",
            time_ns,
            (node,),
            {"index": index, "voters": list(voters), "committed": list(self._committed[at]), "since": at},
        )
