"""Whether a history of transactions keeps the models that are asked for, and which models it rules out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec
import numpy as np

from checkers.transactions import append, register
from checkers.transactions.components import components, core
from checkers.transactions.cycles import Component, Cycle, OutOfSteps
from checkers.transactions.found import Anomaly, Dependencies
from checkers.transactions.graph import RW, Graph, add_process_order, add_realtime_order
from checkers.transactions.models import (
    CYCLES,
    PARTLY,
    UNDECIDED,
    VARIANTS,
    canonical,
    forbidden_by,
    implying_anomalies,
    ruled_out,
)
from checkers.transactions.reading import OK, Transactions, Workload, read
from checkers.transactions.register import Inference
from checkers.transactions.visibility import shapes
from histories.history import History
from histories.loaded import paused_gc
from histories.printing import quoted

COMPONENTS_MAX = 100
"""Once something forbidden was found, no more than so many components with cycles are searched, the smallest first."""


class Wanted(msgspec.Struct, frozen=True):
    """models: which the history shall keep. anomalies: which it shall not have, beside those that the models forbid."""

    models: tuple[str, ...] = ("strict-serializable",)
    anomalies: tuple[str, ...] = ()
    inference: Inference = Inference()

    @property
    def forbidden(self) -> frozenset[str]:
        """Every anomaly that makes the verdict INVALID."""
        return forbidden_by(map(canonical, self.models)) | implying_anomalies(self.anomalies)

    @property
    def variants(self) -> tuple[str, ...]:
        """Which orders beside the data count: real time where a model asks for it, that of processes, or none. Real time holds
        that of processes, but where both are asked for, a class may be forbidden over the order of processes alone."""
        asked = self.forbidden
        process, realtime = VARIANTS[1:]
        found = [""]
        if any(name + process in asked and name + realtime not in asked for name in CYCLES):
            found.append(process)
        if any(name + realtime in asked for name in CYCLES):
            found.append(realtime)
        return tuple(found)


class Analysis(msgspec.Struct, frozen=True, eq=False):
    """found: the transactions. anomalies: those that are no cycles. names: of all anomalies. undecided: why nothing is known."""

    found: Transactions
    anomalies: tuple[Anomaly, ...]
    cycles: tuple[Cycle, ...]
    undecided: tuple[str, ...]
    dependencies: Dependencies
    wanted: Wanted
    stats: dict[str, Any]

    @property
    def names(self) -> frozenset[str]:
        """The names of all that was found."""
        return frozenset([each.name for each in self.anomalies] + [each.name for each in self.cycles])

    @property
    def reported(self) -> tuple[str, ...]:
        """What makes the verdict INVALID or UNKNOWN: forbidden anomalies, and what was left undecided; sorted."""
        forbidden = self.wanted.forbidden
        plain = {each.name for each in self.anomalies} | {each.name for each in self.cycles if not each.is_shadowed}
        bad = plain & forbidden or self.names & forbidden
        return tuple(sorted(bad | set(self.undecided)))

    @property
    def is_invalid(self) -> bool:
        """Whether something forbidden was found."""
        return bool(self.names & self.wanted.forbidden)

    @property
    def ruled_out(self) -> frozenset[str]:
        """The models that this history does not keep."""
        return ruled_out(self.names)


def analyze(history: History, workload: Workload, wanted: Wanted) -> Analysis:
    """What the history shows. Raises UnfitTransactions for one that is no history of this workload."""
    try:
        with paused_gc():
            return _analyzed(read(history, workload), wanted)
    except TypeError:
        # A key or an element is a list or a map, which cannot be looked up as it is. To ask each of them would cost more.
        return _analyzed(read(history, workload, frozen=True), wanted)


def _analyzed(found: Transactions, wanted: Wanted) -> Analysis:
    began = time.perf_counter_ns()
    workload = found.workload
    graph = Graph(len(found))
    dependencies: Dependencies
    if workload == "list-append":
        anomalies, dependencies = append.analyze(found, graph)
    else:
        anomalies, dependencies = register.analyze(found, graph, wanted.inference)
    variants = wanted.variants
    if VARIANTS[1] in variants:
        add_process_order(graph, found)
    if VARIANTS[2] in variants:
        add_realtime_order(graph, found)
    cycles, undecided, unordered = _cycles(graph, found, variants, wanted.forbidden, dependencies)
    anomalies = [*anomalies, *unordered]
    if graph.is_empty:
        undecided.append("empty-transaction-graph")
    single = frozenset(each.name for each in cycles if each.name.startswith("G-single-item"))
    if single - wanted.forbidden and not PARTLY.isdisjoint(map(canonical, wanted.models)):
        undecided.append("single-anti-dependency")
    stats = {
        "transactions": len(found),
        "ok": sum(1 for kind in found.kind if kind == OK),
        "core": core(),
        "elapsed_ns": time.perf_counter_ns() - began,
    }
    return Analysis(
        found, tuple(anomalies), tuple(cycles), tuple(dict.fromkeys(undecided)), dependencies, wanted, stats
    )


def _cycles(
    graph: Graph,
    found: Transactions,
    variants: Sequence[str],
    forbidden: frozenset[str],
    dependencies: Dependencies,
) -> tuple[list[Cycle], list[str], list[Anomaly]]:
    """(cycles, what was left undecided, cycles that two writers close in either order)."""
    sources, targets, types = graph.arrays()
    labels = components(graph.count, sources, targets)
    transactions = np.bincount(labels[: graph.transactions], minlength=1)
    large = np.flatnonzero(transactions >= 2)
    if not len(large):
        return [], [], []
    is_large = np.zeros(int(labels.max()) + 1, dtype=bool)
    is_large[large] = True
    inside = (labels[sources] == labels[targets]) & is_large[labels[sources]]
    edges: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for source, target, type in zip(
        sources[inside].tolist(), targets[inside].tolist(), types[inside].tolist(), strict=True
    ):
        edges[int(labels[source])].append((source, target, type))
    members: dict[int, list[int]] = defaultdict(list)
    for vertex in np.flatnonzero(is_large[labels]).tolist():
        members[int(labels[vertex])].append(vertex)
    cycles: list[Cycle] = []
    undecided: list[str] = []
    either_way: list[Anomaly] = []
    span = list(zip(found.begin, found.end, strict=True))
    unordered = dependencies.unordered
    is_broken = False
    for count, label in enumerate(sorted(members, key=lambda each: len(members[each]))):
        if is_broken and count >= COMPONENTS_MAX:
            break
        component = Component(members[label], graph.transactions, edges[label], span)
        result = component.search(variants)
        cycles += result.cycles
        is_found = any(cycle.name in forbidden for cycle in result.cycles)
        if not is_found:
            try:
                if unordered:
                    either_way += _either_way(component, variants, forbidden, unordered)
                if result.undecided or any(RW in cycle.types for cycle in result.cycles):
                    # Of a class of cycles that no model asked for forbids as a whole.
                    shaped = list(shapes(component, found, dependencies, forbidden))
                    cycles += shaped
                    is_found = bool(shaped)
            except OutOfSteps:
                undecided.append("cycle-search-timeout")
        is_broken = is_broken or is_found
        if result.undecided and set(result.undecided) & forbidden:
            undecided.append("cycle-search-timeout")
    return cycles, undecided, either_way


def _either_way(
    component: Component, variants: Sequence[str], forbidden: frozenset[str], unordered: Sequence[tuple[Any, list[int]]]
) -> Iterator[Anomaly]:
    """Writers of one key whose order nothing shows, and of which neither can come first. Raises OutOfSteps."""
    members = set(component.names)
    for variant in variants:
        if forbidden.isdisjoint((f"G-single-item{variant}", f"G-nonadjacent-item{variant}")):
            continue
        component.renew()
        for key, numbers in unordered:
            for pair in combinations([number for number in numbers if number in members], 2):
                if (name := component.closed_by(pair, variant)) is not None:
                    words = (
                        f"T1 and T2 wrote {quoted(key)}, and in whichever order: each comes before the other over other "
                        "transactions or keys"
                    )
                    yield Anomaly(name, key, words, pair)
                    return


assert {"empty-transaction-graph", "cycle-search-timeout", "single-anti-dependency"} <= UNDECIDED
