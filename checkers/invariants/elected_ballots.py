"""A proposer leads with what a quorum of phase 1 promised to this ballot, and draws each ballot once, also across its crashes (PMS
§2.2, phase 2a; §2.3, "no proposal is ever issued with the same number").

An acceptor tells its promise before it answers, and a proposer its ballot when that is on disk. So both can be seen at the
election, long before another value takes the place of what a promise would have reported.

It judges in the simulation only: traces of real nodes lose their ends, and their clocks are not one.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Custom, Promised, Role, Started


class ElectedBallots:
    """Watches `Promised` for all slots, and `Role`, of which the term is the number of the node's ballot."""

    name = "elected-ballots"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Promised: self._on_promised,
            Role: self._on_role,
            Custom: self._on_custom,
            Started: self._on_started,
        }
        self._ledger = ledger
        self._phase_1 = node_count // 2 + 1
        self._promised: dict[tuple[int, str], set[str]] = {}
        """Ballot -> who promised it."""
        self._drawn: dict[str, int] = {}
        """Number of the last ballot that a node drew."""

    def _on_started(self, _time_ns: int, node: str, event: Started) -> None:
        if event.restored:  # The disk is of an earlier time, by the will of the operator.
            self._drawn.pop(node, None)

    def _on_custom(self, _time_ns: int, _node: str, event: Custom) -> None:
        if event.name == "quorums":
            self._phase_1 = int(event.fields["phase_1"])

    def _on_promised(self, _time_ns: int, node: str, event: Promised) -> None:
        if event.slot is None:
            self._promised.setdefault((event.ballot[0], event.ballot[1]), set()).add(node)

    def _on_role(self, time_ns: int, node: str, event: Role) -> Violation | None:
        number = event.term
        is_judged = self._ledger.acceptances.is_complete
        if event.role == "candidate":
            before = self._drawn.get(node, 0)
            self._drawn[node] = max(before, number)
            if number > before or not is_judged:
                return None
            why = f"{node} stands under ballot {number}, and had drawn ballot {before} before"
            return Violation(self.name, why, time_ns, (node,), {"ballot": number, "drawn": before})
        if event.role != "leader" or not is_judged:
            return None
        promised = sorted(self._promised.get((number, node), ()))
        if len(promised) >= self._phase_1:
            return None
        return Violation(
            self.name,
            f"{node} leads under ballot {number}, which {', '.join(promised) or 'nobody'} promised; a quorum is {self._phase_1}",
            time_ns,
            (node,),
            {"ballot": number, "promised_by": promised, "quorum": self._phase_1},
        )
