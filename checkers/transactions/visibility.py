"""Cycles of the shapes that models below snapshot isolation forbid, within one strongly connected component of the graph.

Such a model does not forbid a whole class of cycles, but some of its shapes. A transaction *overtook* another on a key when it
wrote a later version than the other read.

- observed-transaction-vanishes: T read what W wrote, and W overtook T on a key that T read afterwards (monotonic atomic view).
- fractured-read: the same, whichever T read first (read atomic).
- causality-violation: what T read leads back to W, from read to write to read (causal).
- prefix-violation: a cycle in which T had read what somebody wrote wherever another overtook T (prefix); one of them alone is a
  violation of causality that the order of versions may take part in, two make a long fork.
- G-update: a cycle with anti-dependencies among transactions that write, with one that only reads at most (update-serializable).

Sources: Bailis et al., VLDB 2014 (monotonic atomic view) and SIGMOD 2014 (fractured reads); Cerone and Gotsman, JACM 2018 (cycles
that characterize prefix consistency); Adya 1999 (G-update).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from checkers.transactions.cycles import Component, Cycle
from checkers.transactions.found import Dependencies
from checkers.transactions.graph import RW, WR, WW
from checkers.transactions.models import VISIBILITY, implied_anomalies
from checkers.transactions.reading import Transactions


def shapes(
    component: Component, found: Transactions, dependencies: Dependencies, wanted: Collection[str]
) -> Iterator[Cycle]:
    """A cycle of each wanted shape that none before it implies. Raises OutOfSteps."""
    redundant: set[str] = set()
    for name in VISIBILITY:
        if name not in wanted or name in redundant:
            continue
        component.renew()
        match name:
            case "prefix-violation":
                cycle = component.preceded(name)
            case "G-update":
                steps_of = found.steps
                updates = {n for n in component.transactions if any(step[0] != "r" for step in steps_of[n] or ())}
                cycle = component.among(name, updates)
            case _:
                cycle = _overtaking(component, dependencies, name)
        if cycle is not None:
            redundant |= implied_anomalies((name,))
            yield cycle


def _overtaking(component: Component, dependencies: Dependencies, name: str) -> Cycle | None:
    """A transaction that was overtaken by one that it has seen, directly or, for causality, over others."""
    read_from: dict[int, list[int]] = {}
    for writer in component.transactions:
        for reader in component.targets(writer, WR):
            read_from.setdefault(reader, []).append(writer)
    is_direct = name != "causality-violation"
    for reader in read_from:
        if not component.has(reader, RW):
            continue
        came: dict[int, int] = {reader: reader}
        waiting = deque([reader])
        while waiting:
            each = waiting.popleft()
            for writer in read_from.get(each, ()):
                component.spend(1)
                if writer in came:
                    continue
                came[writer] = each
                since = dependencies.met_at(reader, writer) if name == "observed-transaction-vanishes" else -1
                if (overtaken := dependencies.overtaken(reader, writer, since)) is not None:
                    vertices = [*overtaken]
                    types = [RW, *[WW] * (len(overtaken) - 2)]
                    while came[vertices[-1]] != reader:
                        vertices.append(came[vertices[-1]])
                        types.append(WR)
                    return component.rotated(name, vertices, [*types, WR])
                if not is_direct:
                    waiting.append(writer)
    return None
