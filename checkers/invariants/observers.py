"""The rules that a target names, over one stream of trace records, online or from files.

A cluster that was restored from a backup owes nothing to what it had promised before: the rules begin anew with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from checkers.evidence import Invariants
from checkers.invariants import registry
from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Measures, Rule, Violation
from checkers.verdict import Verdict
from histories.tracing import CORE_EVENTS, Custom, Started, TraceEvent, TraceRecord

CHECKER = "invariants"

KEPT_MAX = 4096
"""So many of the last committed entries the ledger holds in full, at times twice as many: more than a node that is behind usually
lacks, and about 2 MB."""


class Observers:
    """The rules, fed record by record in order of time. handlers: type of event -> what to call for it, in order.

    names: of the rules (checkers.invariants.registry). node_count: members of the cluster, also those that never say anything.
    kept_max: see Ledger. Raises what registry.find raises.
    """

    def __init__(self, names: Sequence[str], node_count: int, kept_max: int | None = KEPT_MAX) -> None:
        self.names = tuple(names)
        self._node_count = node_count
        self._kept_max = kept_max
        self._restored = 0
        self._seen: set[type] = set()
        self.handlers: dict[type, tuple[Handler, ...]] = {}
        self._begin()
        self._reads = {name: _judged_by(rule) for name, rule in zip(names, self._rules, strict=True)}

    def _begin(self) -> None:
        """The rules know nothing yet."""
        self.ledger = Ledger(self._kept_max)
        self._rules: list[Rule] = [registry.find(name)(self.ledger, self._node_count) for name in self.names]
        by_type: dict[type, list[Handler]] = {}
        for table in (self.ledger.handlers, *(rule.handlers for rule in self._rules)):
            for kind, handle in table.items():
                by_type.setdefault(kind, []).append(handle)
        self._at_start = tuple(by_type.pop(Started, ()))
        self.handlers.clear()
        self.handlers.update((kind, (self._first_of(kind, tuple(handlers)),)) for kind, handlers in by_type.items())
        self.handlers[Started] = (self._on_started,)

    def _on_started(self, time_ns: int, node: str, event: TraceEvent) -> Violation | None:
        """A node of a later restore is the first of a new cluster: those of the old one had all ended before."""
        assert isinstance(event, Started)
        if event.restored > self._restored:
            self._restored = event.restored
            self._begin()
        if self._at_start:
            self._seen.add(Started)
        return _ask(self._at_start, time_ns, node, event)

    def _first_of(self, kind: type, handlers: tuple[Handler, ...]) -> Handler:
        """A handler that notes the first event of this type, passes it on, and then gives its place to `handlers`."""

        def first(time_ns: int, node: str, event: TraceEvent) -> Violation | None:
            self._seen.add(kind)
            self.handlers[kind] = handlers
            return _ask(handlers, time_ns, node, event)

        return first

    def observe(self, record: TraceRecord) -> Violation | None:
        """The violation that this record shows, given all records before it; None also for a record that no rule reads."""
        return _ask(self.handlers.get(type(record.event), ()), record.time, record.node, record.event)

    def verdict(self, violation: Violation | None) -> Verdict:
        """INVALID with this violation; VALID without, or UNKNOWN when a rule found nothing in the traces that it reads."""
        ledger = self.ledger
        stats: dict[str, Any] = {
            "nodes": len(ledger.nodes),
            "committed": len(ledger.committed),
            "rules": len(self.names),
        }
        stats |= {rule.name: rule.stats() for rule in self._rules if isinstance(rule, Measures)}
        if violation is not None:
            evidence = Invariants(self.names, violation)
            reason = f"{violation.rule}: {violation.words} (at {violation.time / 1e9:.6f} s)"
            return Verdict.invalid(reason, CHECKER, evidence=evidence, stats=stats)
        blind = [name for name in self.names if not self._reads[name] & self._seen]
        if blind:
            reason = f"no node traced an event that {', '.join(blind)} reads"
            return Verdict.unknown(reason, CHECKER, stats=stats)
        return Verdict.valid(CHECKER, evidence=Invariants(self.names), stats=stats)


def _judged_by(rule: Rule) -> frozenset[type]:
    """What the rule reads of what the cores themselves say. A rule that reads more than Custom events, whose names nobody knows
    here, judges by the others."""
    kinds = frozenset(rule.handlers) & {*CORE_EVENTS}
    return kinds - {Custom} or kinds


def _ask(handlers: tuple[Handler, ...], time_ns: int, node: str, event: TraceEvent) -> Violation | None:
    for handle in handlers:
        violation = handle(time_ns, node, event)
        if violation is not None:
            return violation
    return None


def check_traces(names: Sequence[str], records: Iterable[TraceRecord], node_count: int | None = None) -> Verdict:
    """The verdict of these rules on the traces of all nodes of a run, in any order.

    node_count: members of the cluster; None: as many as wrote a trace. Records of one node keep their order at equal times.
    Raises what registry.find raises.
    """
    ordered = sorted(records, key=lambda record: record.time)
    count = len({record.node for record in ordered}) if node_count is None else node_count
    return check_stream(names, ordered, count)


def check_stream(names: Sequence[str], records: Iterable[TraceRecord], node_count: int) -> Verdict:
    """As `check_traces`, of records that come in order of time and are not held. Reads no further than the first violation."""
    observers = Observers(names, node_count)
    for record in records:
        violation = observers.observe(record)
        if violation is not None:
            return observers.verdict(violation)
    return observers.verdict(None)
