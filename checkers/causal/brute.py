"""Causal consistency by its definitions: try every order. The specification that the bad patterns are tested against.

Bouajjani et al. 2017, §3: co contains session order and whatever the definition needs; here co is the least that it can be, because
more causes forbid more. Exponential: for up to about seven transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkers.causal.check import Strength
from checkers.causal.reads_from import INITIAL, Trace


def is_causal(trace: Trace, strength: Strength) -> bool:
    """Whether the definition holds."""
    causes = causal_order(trace)
    if trace.baseless or any(node in causes[node] for node in range(len(trace))):
        return False
    nodes = range(len(trace))
    match strength:
        case "weak-causal":
            return all(
                any(explains(trace, order, (node,)) for order in orders([*sorted(causes[node]), node], causes))
                for node in nodes
                if trace.reads[node]
            )
        case "causal-memory":
            return all(
                any(
                    explains(trace, order, [*_before(trace, node), node])
                    for order in orders([*sorted(causes[node]), node], causes)
                )
                for node in nodes
                if trace.reads[node]
            )
        case "causal":
            return any(
                all(
                    explains(trace, [each for each in order if each in causes[node] or each == node], (node,))
                    for node in nodes
                )
                for order in orders(nodes, causes)
            )


def causal_order(trace: Trace) -> list[frozenset[int]]:
    """For each transaction those before it, itself where it is on a cycle."""
    direct: list[set[int]] = [set() for _ in range(len(trace))]
    for of_session in trace.sessions:
        for place, node in enumerate(of_session):
            direct[node] |= set(of_session[:place])
    for node, reads in enumerate(trace.reads):
        direct[node] |= {writer for _, writer in reads if writer != INITIAL}
    while True:
        grown = [before | {far for near in before for far in direct[near]} for before in direct]
        if grown == direct:
            return [frozenset(before) for before in direct]
        direct = grown


def _before(trace: Trace, node: int) -> Sequence[int]:
    return trace.sessions[trace.session[node]][: trace.seq[node] - 1]


def orders(nodes: Sequence[int], causes: Sequence[frozenset[int]]) -> Iterator[list[int]]:
    """Every order of the nodes that keeps the causes among them."""
    if not nodes:
        yield []
        return
    for node in nodes:
        if not any(other in causes[node] for other in nodes):
            left = [other for other in nodes if other != node]
            for rest in orders(left, causes):
                yield [node, *rest]


def explains(trace: Trace, order: Sequence[int], readers: Sequence[int]) -> bool:
    """Whether each of the readers read what was there at its place in the order."""
    held: dict[int, int] = {}
    for node in order:
        if node in readers and any(held.get(key, INITIAL) != writer for key, writer in trace.reads[node]):
            return False
        for key in trace.writes[node]:
            held[key] = node
    return True
