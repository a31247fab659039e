"""Decides pairs by what is certain: an order of two writers that would close a cycle of certain edges is impossible.

Reachability over the certain edges is kept as one bit set for each vertex; each round decides what it can, until nothing changes
(Cobra, §4.2; PolySI: Huang, Liu, Chen, Wei, Basin, Li, Pan, VLDB 2023, §4.3).
"""

from __future__ import annotations

from collections import defaultdict

from checkers.linearizability.deadline import Deadline
from checkers.transactions.exact.problem import Edge, Polygraph

VERTICES_MAX = 60_000
"""Bit sets of so many vertices take 450 MB."""


class Refuted(Exception):
    """The certain edges alone have a cycle, or some pair fits neither way."""


def prune(graph: Polygraph, deadline: Deadline) -> int:
    """Decides what is decided by certain edges: these grow, and `open` shrinks. How many pairs were decided. Raises Refuted, and
    OutOfTime."""
    decided = 0
    while True:
        reach = reachable(graph.vertices, graph.certain, deadline)
        left = []
        for number, (first, second) in enumerate(graph.open):
            if number % 4096 == 0:
                deadline.require()
            can_first = not any(reach[target] >> source & 1 for source, target in first)
            can_second = not any(reach[target] >> source & 1 for source, target in second)
            if can_first and can_second:
                left.append((first, second))
            elif can_first or can_second:
                graph.certain.update(first if can_first else second)
            else:
                raise Refuted
        changed = len(graph.open) - len(left)
        graph.open = left
        decided += changed
        if not changed:
            return decided


def reachable(count: int, edges: set[Edge], deadline: Deadline) -> list[int]:
    """For each vertex, the bits of those that it leads to, itself included. Raises Refuted where the edges have a cycle, and
    OutOfTime."""
    out: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        out[source].append(target)
    order = topological(count, out)
    if order is None:
        raise Refuted
    reach = [0] * count
    for number, vertex in enumerate(reversed(order)):
        if number % 4096 == 0:
            deadline.require()
        bits = 1 << vertex
        for target in out.get(vertex, ()):
            bits |= reach[target]
        reach[vertex] = bits
    return reach


def topological(count: int, out: dict[int, list[int]]) -> list[int] | None:
    """The vertices, each before those that it leads to; None where there is a cycle."""
    waits = [0] * count
    for targets in out.values():
        for target in targets:
            waits[target] += 1
    ready = [vertex for vertex in range(count) if not waits[vertex]]
    order: list[int] = []
    while ready:
        vertex = ready.pop()
        order.append(vertex)
        for target in out.get(vertex, ()):
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    return order if len(order) == count else None
