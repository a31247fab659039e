"""Monotonic keys: values of a key only grow, so that what transactions read of several keys must fit into one order.

Ops: whatever ended ok and tells values of keys: a map {key: number} as in Elle's monotonic-key-graph (Jepsen's `inc` and `read`),
or micro-operations r and w of a `txn`. A transaction with a smaller value of a key comes before each with a greater one; a cycle
of these rules out serializability and repeatable read.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise
from typing import Any

import numpy as np

from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.isolation.reading import Call, calls_on_one, refuse, steps_of
from checkers.transactions.components import components
from checkers.verdict import Verdict
from histories.history import History
from histories.op import freeze
from histories.printing import quoted
from histories.wellformed import Problem

CHECKER = "monotonic"
FINDINGS_MAX = 3


def monotonic(history: History) -> Verdict:
    """The values that transactions saw of several keys fit into one order. UNKNOWN when none saw two keys.

    Of a key that a transaction reads and then writes, the last value counts. An absent key comes before all its values.
    Raises UnfitTransactions for values that are no numbers. The edges are linear in the history: those with one value of a key lead
    to a vertex of their own, which leads to those with the next value.
    """
    states = _read(history)
    by_key: dict[Any, dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (_, seen) in enumerate(states):
        for key, value in seen.items():
            by_key[key][value].append(number)
    sources: list[int] = []
    targets: list[int] = []
    relays: list[Any] = []
    for key, with_value in by_key.items():
        values = sorted(with_value, key=lambda value: (value is not None, value or 0))
        previous = -1
        for smaller, greater in pairwise(values):
            relay = len(states) + len(relays)
            relays.append(key)
            for number in with_value[smaller]:
                sources.append(number)
                targets.append(relay)
            for number in with_value[greater]:
                sources.append(relay)
                targets.append(number)
            if previous >= 0:
                sources.append(previous)
                targets.append(relay)
            previous = relay
    count = len(states) + len(relays)
    labels = components(count, np.array(sources, dtype=np.int32), np.array(targets, dtype=np.int32))
    several = sum(1 for _, seen in states if len(seen) > 1)
    stats = {"transactions": len(states), "of_several_keys": several, "keys": len(by_key)}
    members: dict[int, list[int]] = defaultdict(list)
    for number, label in enumerate(labels[: len(states)].tolist()):
        members[label].append(number)
    broken = [some for some in members.values() if len(some) > 1]
    stats["cycles"] = len(broken)
    if broken:
        out: dict[int, list[int]] = defaultdict(list)
        for source, target in zip(sources, targets, strict=True):
            if labels[source] == labels[target]:
                out[source].append(target)
        smallest = sorted(broken, key=len)[:FINDINGS_MAX]
        findings = tuple(_finding(states, relays, _cycle(out, some[0], len(states))) for some in smallest)
        return Verdict.invalid(findings[0].words, CHECKER, evidence=Findings(findings), stats=stats)
    if not several:
        return Verdict.unknown("nothing was tested: no transaction saw several keys", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


State = tuple[Call, dict[Any, Any]]
"""A transaction, and the value of each key that it knows of."""


def _cycle(out: dict[int, list[int]], start: int, states_count: int) -> list[int]:
    """A shortest cycle through `start`: transactions, each followed by the relay that leads to the next."""
    came: dict[int, int] = {}
    waiting = deque([start])
    while start not in came:
        vertex = waiting.popleft()
        for following in out[vertex]:
            if following not in came:
                came[following] = vertex
                waiting.append(following)
    path = [start]
    while path[-1] != start or len(path) == 1:
        path.append(came[path[-1]])
    path.reverse()
    return path[:-1]


def _finding(states: list[State], relays: list[Any], cycle: list[int]) -> Finding:
    """The relays between two transactions are all of one key."""
    hops: list[tuple[int, Any]] = []
    for vertex in cycle:
        if vertex < len(states):
            hops.append((vertex, None))
        else:
            hops[-1] = hops[-1][0], relays[vertex - len(states)]
    sentences: list[str] = []
    edges: list[Edge] = []
    for number, (vertex, key) in enumerate(hops):
        other = hops[(number + 1) % len(hops)][0]
        (before, seen), (after, seen_after) = states[vertex], states[other]
        why = f"{quoted(key)} was {quoted(seen[key])}, and then {quoted(seen_after[key])}"
        sentences.append(f"op {before.index} comes before op {after.index}, because {why}")
        edges.append(Edge(before.index, after.index, why))
    words = "the values of keys that only grow make a cycle: " + "; but ".join(
        ["; ".join(sentences[:-1]), sentences[-1]]
    )
    return Finding(words, ops=tuple(OpNote(states[vertex][0].index) for vertex, _ in hops), edges=tuple(edges))


def _read(history: History) -> list[State]:
    """Whatever ended ok and tells values."""
    states: list[State] = []
    problems: list[Problem] = []
    for call in calls_on_one(history):
        if call.type != "ok":
            continue
        seen: dict[Any, Any] = {}
        if isinstance(call.told, dict):
            seen = {freeze(key): value for key, value in call.told.items()}
        else:
            steps = steps_of(call)
            if isinstance(steps, Problem):
                detail = f"{quoted(call.told)} is neither a map of keys to numbers nor a list of micro-operations"
                problems.append(
                    steps if isinstance(call.told, list | tuple) else Problem(call.position, "value", detail)
                )
                continue
            seen = {key: value for _, key, value in steps}
        for key, value in seen.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value != value):
                problems.append(
                    Problem(call.position, "value", f"{quoted(value)} of the key {quoted(key)} is no number")
                )
                break
        else:
            states.append((call, seen))
    refuse(problems)
    return states
