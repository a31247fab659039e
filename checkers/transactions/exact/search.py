"""Orders the pairs that pruning left open, by a SAT solver: one variable for each pair, and a clause for each cycle that was met.

The solver proposes an order of each pair; where the graph then has cycles, each of some short ones becomes a clause, and the solver
proposes again. The first proposal follows the order in which transactions ended, which for a healthy database is nearly right.
"""

from __future__ import annotations

import importlib
from collections import defaultdict, deque
from typing import Any

import msgspec
import numpy as np

from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.transactions.components import components
from checkers.transactions.exact.problem import Edge, Polygraph
from checkers.transactions.exact.prune import Refuted, topological

SOLVER = "glucose4"
CONFLICTS_PER_CALL = 20_000
CYCLES_PER_ROUND = 200
"""More would teach the solver the same again and again."""
EXTRA = "pip install 'themis-consistency[exact]'"


class NoSolver(Exception):
    """There are open pairs, and python-sat is not installed."""


class Progress(msgspec.Struct):
    """How far the search came. rounds: proposals of the solver. clauses: cycles that it was taught."""

    rounds: int = 0
    clauses: int = 0


def order(graph: Polygraph, progress: Progress, deadline: Deadline) -> list[int]:
    """The vertices in an order that every edge follows, with an order of each open pair. Raises Refuted where there is none,
    NoSolver, and OutOfTime."""
    if not graph.open:
        found = topological(graph.vertices, _out(graph.certain))
        if found is None:
            raise Refuted
        return found
    try:
        solvers: Any = importlib.import_module("pysat.solvers")
    except ImportError:
        raise NoSolver(
            f"{len(graph.open):,} pairs of writers are open, and the SAT solver is not installed: {EXTRA}"
        ) from None
    ended = {graph.commits[i]: (txn.end if txn.end >= 0 else 1 << 62) for i, txn in enumerate(graph.txns)}
    beginner = {vertex: graph.commits[i] for i, vertex in enumerate(graph.begins)}
    with solvers.Solver(name=SOLVER) as solver:
        phases = []
        for number, (first, _) in enumerate(graph.open, 1):
            # The first edge that leads from a commit to a begin is that of the two writers.
            source, target = next((s, t) for s, t in first if s in ended and t in beginner)
            solver.add_clause([number, -number])
            phases.append(number if ended[source] <= ended[beginner[target]] else -number)
        solver.set_phases(phases)
        while True:
            deadline.require()
            model = _solve(solver, deadline)
            progress.rounds += 1
            assert len(model) == len(graph.open), "the solver orders every pair"
            chosen: dict[Edge, int] = {}
            for literal in model:
                for edge in graph.open[abs(literal) - 1][literal < 0]:
                    if edge not in graph.certain:
                        chosen.setdefault(edge, literal)
            out = _out(graph.certain)
            for source, target in chosen:
                out[source].append(target)
            found = topological(graph.vertices, out)
            if found is not None:
                return found
            clauses = _clauses(graph.vertices, out, chosen, deadline)
            progress.clauses += len(clauses)
            for clause in clauses:
                if not clause:
                    raise Refuted
                solver.add_clause(clause)


def _solve(solver: Any, deadline: Deadline) -> list[int]:
    while True:
        solver.conf_budget(CONFLICTS_PER_CALL)
        answer = solver.solve_limited()
        if answer is False:
            raise Refuted
        if answer:
            model: list[int] = solver.get_model()
            return model
        if deadline.is_over():
            raise OutOfTime


def _out(edges: set[Edge]) -> dict[int, list[int]]:
    out: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        out[source].append(target)
    return out


def _clauses(count: int, out: dict[int, list[int]], chosen: dict[Edge, int], deadline: Deadline) -> list[list[int]]:
    """For some cycles with few chosen edges: not all of these orders together."""
    sources = np.array([source for source, targets in out.items() for _ in targets], dtype=np.int32)
    targets = np.array([target for found in out.values() for target in found], dtype=np.int32)
    labels = components(count, sources, targets)
    inside: dict[int, list[int]] = {}
    starts: list[Edge] = []
    for source, found in out.items():
        same = [target for target in found if labels[target] == labels[source]]
        if same:
            inside[source] = same
            starts += [(source, target) for target in same if (source, target) in chosen]
    clauses: set[tuple[int, ...]] = set()
    step = max(1, len(starts) // CYCLES_PER_ROUND)
    for source, target in starts[::step]:
        if deadline.is_over():
            break
        path = _cheapest(inside, chosen, target, source)
        literals = {chosen[edge] for edge in [(source, target), *path] if edge in chosen}
        clauses.add(tuple(sorted(-literal for literal in literals)))
    return [list(clause) for clause in clauses]


def _cheapest(inside: dict[int, list[int]], chosen: dict[Edge, int], start: int, goal: int) -> list[Edge]:
    """A path within the component with as few chosen edges as possible: breadth first, certain edges for nothing."""
    cost = {start: 0}
    came: dict[int, int] = {}
    done: set[int] = set()
    waiting = deque([start])
    while waiting:
        vertex = waiting.popleft()
        if vertex in done:
            continue
        done.add(vertex)
        if vertex == goal:
            break
        for target in inside[vertex]:
            price = cost[vertex] + ((vertex, target) in chosen)
            if target not in cost or price < cost[target]:
                cost[target] = price
                came[target] = vertex
                if price == cost[vertex]:
                    waiting.appendleft(target)
                else:
                    waiting.append(target)
    path: list[Edge] = []
    while goal != start:
        path.append((came[goal], goal))
        goal = came[goal]
    return path
