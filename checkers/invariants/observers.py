"""All rules of this package over one stream of trace records, online or from files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checkers.evidence import Invariants
from checkers.invariants.durability import Durability
from checkers.invariants.election_safety import ElectionSafety
from checkers.invariants.leader_completeness import LeaderCompleteness
from checkers.invariants.ledger import Ledger
from checkers.invariants.log_matching import LogMatching
from checkers.invariants.persistent_state import PersistentState
from checkers.invariants.state_machine_safety import StateMachineSafety
from checkers.invariants.violation import Handler, Rule, Violation
from checkers.verdict import Verdict
from histories.tracing import TraceRecord

CHECKER = "invariants"


class Observers:
    """The rules, fed record by record in order of time. `handlers`: kind -> what to call for it, in order.

    node_count: members of the cluster, also those that never say anything.
    """

    def __init__(self, node_count: int) -> None:
        self.ledger = Ledger()
        ledger = self.ledger
        rules: tuple[Rule, ...] = (
            ElectionSafety(),
            LogMatching(ledger),
            LeaderCompleteness(ledger),
            StateMachineSafety(ledger),
            Durability(ledger, node_count),
            PersistentState(),
        )
        self.rules = tuple(rule.name for rule in rules)
        # The ledger takes a role before the rules look at it, an append after log matching has.
        handlers: dict[str, list[Handler]] = {
            "started": [self._started],
            "role": [self._role],
            "append": [],
            "truncate": [self._truncate],
        }
        for rule in rules:
            for kind, handle in rule.handlers.items():
                handlers.setdefault(kind, []).append(handle)
        handlers["append"].append(self._append)
        self.handlers: dict[str, tuple[Handler, ...]] = {kind: tuple(found) for kind, found in handlers.items()}

    def observe(self, record: TraceRecord) -> Violation | None:
        """What this record, after all before it, shows to be wrong. Kinds that no rule knows are passed over."""
        for handle in self.handlers.get(record.kind, ()):
            violation = handle(record.time, record.node, record.fields)
            if violation is not None:
                return violation
        return None

    def verdict(self, violation: Violation | None) -> Verdict:
        """INVALID with this violation; VALID without, or UNKNOWN when the trace held nothing that a rule reads."""
        ledger = self.ledger
        stats = {"nodes": len(ledger.nodes), "committed": len(ledger.committed), "rules": len(self.rules)}
        if violation is not None:
            evidence = Invariants(self.rules, violation)
            reason = f"{violation.rule}: {violation.words} (at {violation.time / 1e9:.6f} s)"
            return Verdict.invalid(reason, CHECKER, evidence=evidence, stats=stats)
        if not ledger.nodes:
            return Verdict.unknown("no trace record that an invariant reads", CHECKER, stats=stats)
        return Verdict.valid(CHECKER, evidence=Invariants(self.rules), stats=stats)

    def _started(self, _time_ns: int, node: str, _fields: dict[str, Any]) -> None:
        self.ledger.started(node)

    def _role(self, _time_ns: int, node: str, fields: dict[str, Any]) -> None:
        self.ledger.role(node, fields["role"], fields["term"])

    def _append(self, _time_ns: int, node: str, fields: dict[str, Any]) -> None:
        self.ledger.append(node, fields)

    def _truncate(self, _time_ns: int, node: str, fields: dict[str, Any]) -> None:
        self.ledger.truncate(node, fields["from_index"])


def check_traces(records: Iterable[TraceRecord], node_count: int | None = None) -> Verdict:
    """The verdict on the traces of all nodes of a run, in any order.

    node_count: members of the cluster; None: as many as wrote a trace. Records of one node keep their order at equal times.
    """
    ordered = sorted(records, key=lambda record: record.time)
    count = len({record.node for record in ordered}) if node_count is None else node_count
    observers = Observers(count)
    for record in ordered:
        violation = observers.observe(record)
        if violation is not None:
            return observers.verdict(violation)
    return observers.verdict(None)
