"""The rules that a target names, over one stream of trace records, online or from files.

A cluster that was restored from a backup owes nothing to what it had promised before: the rules begin anew with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

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


NO_SHARDS: Mapping[str, str] = {}

SHARD_NODES = "shard_nodes"
"""The detail of a violation that names the nodes of the shard in which a rule is broken, where nodes hold shards."""


class Observers:
    """The rules, fed record by record in order of time. handlers: type of event -> what to call for it, in order.

    names: of the rules (checkers.invariants.registry). node_count: members of the cluster, also those that never say anything.
    kept_max: see Ledger. shard_by_node: where nodes hold shards, the nodes of each have logs and terms of their own: rules that
    judge by these are watched shard by shard, and those that judge by Custom events alone over all. Raises what registry.find
    raises.
    """

    def __init__(
        self,
        names: Sequence[str],
        node_count: int,
        kept_max: int | None = KEPT_MAX,
        shard_by_node: Mapping[str, str] = NO_SHARDS,
    ) -> None:
        self.names = tuple(names)
        self._node_count = node_count
        self._kept_max = kept_max
        self._shard_by_node = shard_by_node
        self._restored = 0
        self._seen: set[type] = set()
        self._shards: dict[str, Observers] = {}
        self.handlers: dict[type, tuple[Handler, ...]] = {}
        self._begin()

    def _begin(self) -> None:
        """The rules know nothing yet."""
        self.ledger = Ledger(self._kept_max)
        rules = {name: registry.find(name)(self.ledger, self._node_count) for name in self.names}
        reads = {name: _judged_by(rule) for name, rule in rules.items()}
        of_shards = tuple(name for name in self.names if reads[name] != {Custom}) if self._shard_by_node else ()
        self._reads = {name: kinds for name, kinds in reads.items() if name not in of_shards}
        self._rules: list[Rule] = [rule for name, rule in rules.items() if name not in of_shards]
        seen = {shard: observers._seen for shard, observers in self._shards.items()}
        self._shards = {}
        if of_shards:
            nodes = sorted(Counter(self._shard_by_node.values()).items())
            self._shards = {shard: Observers(of_shards, count, self._kept_max) for shard, count in nodes}
        # As here, what was told before a restore is no promise any more, and was told all the same.
        for shard, kinds in seen.items():
            self._shards[shard]._seen |= kinds
        by_type: dict[type, list[Handler]] = {}
        tables = [rule.handlers for rule in self._rules]
        for table in tables if of_shards else (self.ledger.handlers, *tables):
            for kind, handle in table.items():
                by_type.setdefault(kind, []).append(handle)
        for kind in {kind for shard in self._shards.values() for kind in shard.handlers}:
            by_type.setdefault(kind, []).append(self._on_event_of_shard)
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

    def _on_event_of_shard(self, time_ns: int, node: str, event: TraceEvent) -> Violation | None:
        """What the rules of the node's shard find; the violation names the shard and its nodes."""
        shard = self._shard_by_node.get(node)
        if shard is None:
            return None
        violation = _ask(self._shards[shard].handlers.get(type(event), ()), time_ns, node, event)
        if violation is None:
            return None
        nodes = [name for name, of in sorted(self._shard_by_node.items()) if of == shard]
        return replace(violation, details={**violation.details, "shard": shard, SHARD_NODES: nodes})

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
        ledgers = [shard.ledger for shard in self._shards.values()] or [self.ledger]
        stats: dict[str, Any] = {
            "nodes": sum(len(ledger.nodes) for ledger in ledgers),
            "committed": sum(len(ledger.committed) for ledger in ledgers),
            "rules": len(self.names),
        }
        stats |= {rule.name: rule.stats() for rule in self._rules if isinstance(rule, Measures)}
        if violation is not None:
            evidence = Invariants(self.names, violation)
            reason = f"{violation.rule}: {violation.words} (at {violation.time / 1e9:.6f} s)"
            return Verdict.invalid(reason, CHECKER, evidence=evidence, stats=stats)
        blind = self._blind()
        if blind:
            reason = f"no node traced an event that {', '.join(blind)} reads"
            return Verdict.unknown(reason, CHECKER, stats=stats)
        return Verdict.valid(CHECKER, evidence=Invariants(self.names), stats=stats)

    def _blind(self) -> list[str]:
        """The rules that no node has told anything."""
        blind = {name for name, kinds in self._reads.items() if not kinds & self._seen}
        blind.update(name for shard in self._shards.values() for name in shard._blind())
        return [name for name in self.names if name in blind]


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


def check_traces(
    names: Sequence[str],
    records: Iterable[TraceRecord],
    node_count: int | None = None,
    shard_by_node: Mapping[str, str] = NO_SHARDS,
) -> Verdict:
    """The verdict of these rules on the traces of all nodes of a run, in any order.

    node_count: members of the cluster; None: as many as wrote a trace. Records of one node keep their order at equal times.
    shard_by_node: as for Observers. Raises what registry.find raises.
    """
    ordered = sorted(records, key=lambda record: record.time)
    count = len({record.node for record in ordered}) if node_count is None else node_count
    return check_stream(names, ordered, count, shard_by_node)


def check_stream(
    names: Sequence[str],
    records: Iterable[TraceRecord],
    node_count: int,
    shard_by_node: Mapping[str, str] = NO_SHARDS,
) -> Verdict:
    """As `check_traces`, of records that come in order of time and are not held. Reads no further than the first violation."""
    observers = Observers(names, node_count, shard_by_node=shard_by_node)
    for record in records:
        violation = observers.observe(record)
        if violation is not None:
            return observers.verdict(violation)
    return observers.verdict(None)
