"""The smallest cycle of each class, within one strongly connected component of the dependency graph.

A class says which edges a cycle may use and how many anti-dependencies (rw) it has: none (G0, G1c), one (G-single), several
with none next to another (G-nonadjacent), any (G2). A variant adds process or real-time edges. Whether a class exists is
decided, not guessed: for G0 and G1c by components, for G-single by reachability from each rw edge, for G-nonadjacent by
components of the graph whose vertices also say whether they were entered by rw, for G2 by components. What was found makes its
generalizations redundant, as in Elle: a G-single is not reported as G2 again.

The work is bounded by `steps_max` edges looked at. Where that is spent before a class is decided, the search says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import cached_property

import msgspec
import numpy as np

from checkers.transactions.components import Ints, components
from checkers.transactions.graph import FREE, PROCESS, REALTIME, RW, WR, WW
from checkers.transactions.models import CYCLES, VARIANTS, implied_anomalies

STEPS_MAX = 5_000_000
"""Edges looked at for one class in one component: some seconds."""

STARTS_MAX = 200
"""So many edges are tried as the start of a short cycle once the class is known to exist."""

_DATA = frozenset((WW, WR, RW))

EXTRA: dict[str, tuple[int, ...]] = {"": (), "-process": (PROCESS,), "-realtime": (REALTIME,)}


class Cycle(msgspec.Struct, frozen=True):
    """vertices: numbers of transactions, each before the next and the last before the first. types: of the edges from each.

    is_shadowed: along one of its process or real-time edges, anti-dependencies lead the same way. Such a cycle is told only where
    nothing plainer breaks the models that were asked for; what it rules out is ruled out all the same.
    """

    name: str
    vertices: tuple[int, ...]
    types: tuple[int, ...]
    is_shadowed: bool = False


class Found(msgspec.Struct, frozen=True):
    """undecided: classes that the budget left open, of which a cycle may exist."""

    cycles: tuple[Cycle, ...]
    undecided: tuple[str, ...] = ()


class OutOfSteps(Exception):
    """The budget is spent."""


class Component:
    """One strongly connected component. names: of its vertices; those from `transactions` on are relays. span: when each
    transaction of the history began and ended; -1 for never.
    """

    def __init__(
        self,
        names: Sequence[int],
        transactions: int,
        edges: Iterable[tuple[int, int, int]],
        span: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self._span = span
        self.names = list(names)
        self.is_relay = [name >= transactions for name in self.names]
        self._place = place = {name: i for i, name in enumerate(self.names)}
        self.out: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for source, target, type in edges:
            self.out[place[source]].append((place[target], type))
        self.steps = STEPS_MAX
        for successors in self.out:
            successors.sort(key=lambda edge: edge[1])

    def renew(self) -> None:
        """A full budget again."""
        self.steps = STEPS_MAX

    def search(self, variants: Sequence[str]) -> Found:
        """The smallest cycle of each class and variant that is not implied by one found before."""
        cycles: list[Cycle] = []
        undecided: list[str] = []
        redundant: set[str] = set()
        for variant in variants:
            for base in CYCLES:
                name = base + variant
                if name in redundant:
                    continue
                self.renew()
                try:
                    found = self._of_class(base, EXTRA[variant])
                except OutOfSteps:
                    undecided.append(name)
                    continue
                if found is not None:
                    cycle = self._named(found)
                    cycles.append(cycle)
                    redundant |= implied_anomalies((cycle.name,))
        return Found(tuple(cycles), tuple(name for name in undecided if name not in redundant))

    def closed_by(self, pair: tuple[int, int], variant: str) -> str | None:
        """The class of the cycles that two writers of one key close in whichever order they come, if no two rw edges of these are
        neighbours: there is a way from each to the other. Raises OutOfSteps."""
        a, b = self._place[pair[0]], self._place[pair[1]]
        types = frozenset((WW, WR, *EXTRA[variant]))
        for base, resets in (("G-single-item", False), ("G-nonadjacent-item", True)):
            out, kind = self._layered(types, resets=resets)
            count = len(self.out)
            if all(
                any(self._walk(out, kind, start, goal + layer, lambda _: True) is not None for layer in (0, count))
                for start, goal in ((a, b), (b, a))
            ):
                return base + variant
        return None

    @property
    def transactions(self) -> list[int]:
        """The names of its transactions."""
        return [name for name, is_relay in zip(self.names, self.is_relay, strict=True) if not is_relay]

    def has(self, name: int, type: int) -> bool:
        """Whether an edge of this type leads from the transaction."""
        return any(each == type for _, each in self.out[self._place[name]])

    def targets(self, name: int, type: int) -> Iterator[int]:
        """The transactions that edges of this type lead to from this one."""
        self.spend(len(self.out[self._place[name]]))
        return (self.names[target] for target in self._targets(self._place[name], type))

    def spend(self, steps: int) -> None:
        """So many edges were looked at. Raises OutOfSteps."""
        self.steps -= steps
        if self.steps < 0:
            raise OutOfSteps

    def preceded(self, name: str) -> Cycle | None:
        """A short cycle with rw edges, each of which follows a wr edge. Raises OutOfSteps."""
        count = len(self.out)
        out: list[list[int]] = [[] for _ in range(2 * count)]
        kind: list[list[int]] = [[] for _ in range(2 * count)]
        for source, successors in enumerate(self.out):
            for target, type in successors:
                for layer in (0, count):  # A walk in the second layer has just had a wr edge.
                    if type == FREE:
                        to = target + layer
                    elif type == WR:
                        to = target + count
                    elif type == WW or (type == RW and layer):
                        to = target
                    else:
                        continue
                    out[source + layer].append(to)
                    kind[source + layer].append(type)
        found = self._closed_walk(out, kind)
        return None if found is None else self._named(found, name)

    def among(self, name: str, updates: Set[int]) -> Cycle | None:
        """A short cycle with rw edges over transactions that write, and one that only reads at most. Raises OutOfSteps."""
        count = len(self.out)
        is_update = [is_relay or each in updates for each, is_relay in zip(self.names, self.is_relay, strict=True)]
        for reader in (-1, *(vertex for vertex in range(count) if not is_update[vertex])):
            allowed = [each or vertex == reader for vertex, each in enumerate(is_update)]
            if reader >= 0:
                path = next(
                    (
                        [*walked, (reader, type)]
                        for target, type in self.out[reader]
                        if allowed[target]
                        and (walked := self._path(target, reader, _DATA, allowed.__getitem__)) is not None
                    ),
                    None,
                )
                if path is not None:
                    return self._named(path, name)
                continue
            out = [[t for t, _ in each if allowed[v] and allowed[t]] for v, each in enumerate(self.out)]
            kind = [[k for t, k in each if allowed[v] and allowed[t]] for v, each in enumerate(self.out)]
            if (walked := self._closed_walk(out, kind)) is not None:
                return self._named(walked, name)
        return None

    def _closed_walk(self, out: list[list[int]], kind: list[list[int]]) -> list[tuple[int, int]] | None:
        """A short closed walk with an rw edge in a graph whose vertices are these, once or in layers."""
        count = len(self.out)
        sources = np.repeat(np.arange(len(out), dtype=np.int32), [len(each) for each in out])
        targets = np.fromiter((target for each in out for target in each), dtype=np.int32, count=len(sources))
        label: list[int] = components(len(out), sources, targets).tolist()
        best: list[tuple[int, int]] | None = None
        starts = [
            (source, target)
            for source in range(len(out))
            for target, type in zip(out[source], kind[source], strict=True)
            if type == RW and label[source] == label[target]
        ]
        for source, target in starts[:STARTS_MAX]:
            if best is not None and self.steps < STEPS_MAX // 2:
                break
            try:
                path = self._walk(out, kind, target, source, _within(label, label[source], label[source]))
            except OutOfSteps:
                if best is None:
                    raise
                break
            if path is not None:
                walked = [(vertex % count, type) for vertex, type in path]
                walked.append((source % count, RW))
                if best is None or self._length(walked) < self._length(best):
                    best = walked
        return best

    def _layered(self, types: frozenset[int], *, resets: bool) -> tuple[list[list[int]], list[list[int]]]:
        """The graph with each vertex twice: a walk in the second layer has just had an rw edge. resets: any other edge leads back
        to the first layer; else there is no way back, and so but one rw edge."""
        count = len(self.out)
        out: list[list[int]] = [[] for _ in range(2 * count)]
        kind: list[list[int]] = [[] for _ in range(2 * count)]
        for source, successors in enumerate(self.out):
            for target, type in successors:
                for layer in (0, count):
                    if type == RW:
                        if layer:
                            continue
                        to = target + count
                    elif type == FREE or (type in types and not resets):
                        to = target + layer
                    elif type in types:
                        to = target
                    else:
                        continue
                    out[source + layer].append(to)
                    kind[source + layer].append(type)
        return out, kind

    def _of_class(self, base: str, extra: tuple[int, ...]) -> list[tuple[int, int]] | None:
        data = frozenset((WW, *extra)) if base == "G0" else frozenset((WW, WR, *extra))
        match base:
            case "G0":
                return self._shortest(data, WW)
            case "G1c":
                return self._shortest(data, WR)
            case "G-single-item":
                return self._single(data)
            case "G-nonadjacent-item":
                return self._nonadjacent(data)
            case _:
                return self._shortest(data | {RW}, RW)

    def _shortest(self, types: frozenset[int], through: int) -> list[tuple[int, int]] | None:
        """A short cycle of edges of these types, one of which has the type `through`."""
        label = self._labels(types)
        starts = [
            (source, target)
            for source, successors in enumerate(self.out)
            for target, type in successors
            if type == through and label[source] == label[target]
        ]
        best: list[tuple[int, int]] | None = None
        for source, target in starts[:STARTS_MAX]:
            if best is not None and self.steps < STEPS_MAX // 2:
                break
            try:
                path = self._path(target, source, types, _within(label, label[source], label[source]))
            except OutOfSteps:
                if best is None:
                    raise
                break
            if path is not None:
                path.append((source, through))
                if best is None or self._length(path) < self._length(best):
                    best = path
                    if self._length(best) == 2:
                        break
        return best

    def _single(self, types: frozenset[int]) -> list[tuple[int, int]] | None:
        """A short cycle with one rw edge, which joins no two transactions that the other edges join as well."""
        label = self._labels(types)
        whole = self._labels(types | {RW})
        best: list[tuple[int, int]] | None = None
        # A path leads to smaller labels only, so that nearly all edges are ruled out at once; short ways first.
        starts = [
            (label[target] - label[source], source, target)
            for source, successors in enumerate(self.out)
            for target, type in successors
            if type == RW and label[target] >= label[source] and whole[source] == whole[target]
        ]
        starts.sort()
        for tried, (_, source, target) in enumerate(starts):
            if best is not None and (tried > STARTS_MAX or self._length(best) == 2):
                break
            low, high = label[source], label[target]
            try:
                path = self._path(target, source, types, _within(label, low, high))
            except OutOfSteps:
                if best is None:
                    raise
                break
            if path is None:
                continue
            path.append((source, RW))
            hops = self._hops(path)
            rw = next((a, b) for a, b, type in hops if type == RW)
            if self._joins(*rw, types - {PROCESS, REALTIME}):
                continue  # Data order the two without the anti-dependency.
            if best is None or self._length(path) < self._length(best):
                best = path
        return best

    def _nonadjacent(self, types: frozenset[int]) -> list[tuple[int, int]] | None:
        """A short closed walk with rw edges, none of which follows another. Source: Cerone and Gotsman, PODC 2016, §4."""
        whole = self._labels(types | {RW})
        if not any(type == RW and whole[a] == whole[b] for a, each in enumerate(self.out) for b, type in each):
            return None
        return self._closed_walk(*self._layered(types, resets=True))

    def _labels(self, types: frozenset[int]) -> list[int]:
        """The components of the graph of these edges."""
        if types not in self._known_labels:
            sources, targets, kinds = self._arrays
            keep = np.isin(kinds, [*types, FREE])
            self._known_labels[types] = components(len(self.out), sources[keep], targets[keep]).tolist()
        return self._known_labels[types]

    @cached_property
    def _known_labels(self) -> dict[frozenset[int], list[int]]:
        return {}

    @cached_property
    def _arrays(self) -> tuple[Ints, Ints, Ints]:
        """(sources, targets, types) of the edges."""
        every = [(source, target, type) for source, each in enumerate(self.out) for target, type in each]
        columns = np.array(every, dtype=np.int32).reshape(-1, 3)
        return columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy()

    def _path(
        self, start: int, goal: int, types: frozenset[int], may_visit: Callable[[int], bool]
    ) -> list[tuple[int, int]] | None:
        return self._walk(*self._split(types), start, goal, may_visit)

    def _split(self, types: frozenset[int]) -> tuple[list[list[int]], list[list[int]]]:
        if types not in self._splits:
            chosen = [[edge for edge in successors if edge[1] == FREE or edge[1] in types] for successors in self.out]
            self._splits[types] = (
                [[target for target, _ in successors] for successors in chosen],
                [[type for _, type in successors] for successors in chosen],
            )
        return self._splits[types]

    @cached_property
    def _splits(self) -> dict[frozenset[int], tuple[list[list[int]], list[list[int]]]]:
        return {}

    def _walk(
        self,
        out: list[list[int]],
        kind: list[list[int]],
        start: int,
        goal: int,
        may_visit: Callable[[int], bool],
    ) -> list[tuple[int, int]] | None:
        """A path with as few transactions as can be, as (vertex, type of the edge from it), without the goal. Free edges cost
        nothing.

        Raises OutOfSteps.
        """
        came: dict[int, tuple[int, int]] = {}
        done: set[int] = set()
        distance = {start: 0}
        waiting = deque([start])
        while waiting:
            vertex = waiting.popleft()
            if vertex in done:
                continue
            done.add(vertex)
            if vertex == goal:
                return _traced(came, start, goal)
            self.steps -= len(out[vertex]) + 1
            if self.steps < 0:
                raise OutOfSteps
            far = distance[vertex]
            for target, type in zip(out[vertex], kind[vertex], strict=True):
                cost = far + (type != FREE)
                if target not in done and cost < distance.get(target, 1 << 60) and may_visit(target):
                    distance[target] = cost
                    came[target] = (vertex, type)
                    if type == FREE:
                        waiting.appendleft(target)
                    else:
                        waiting.append(target)
        return None

    def _length(self, path: list[tuple[int, int]]) -> int:
        return sum(1 for vertex, _ in path if not self.is_relay[vertex])

    def _hops(self, path: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """(transaction, next transaction, type), without the relays."""
        at = next(i for i, (vertex, _) in enumerate(path) if not self.is_relay[vertex])
        real = [(vertex, type) for vertex, type in [*path[at:], *path[:at]] if not self.is_relay[vertex]]
        return [(vertex, real[(i + 1) % len(real)][0], type) for i, (vertex, type) in enumerate(real)]

    def _joins(self, before: int, after: int, types: Iterable[int]) -> bool:
        """Whether an edge of one of the types leads from `before` to `after`, also over relays."""
        wanted = set(types)
        return any(self._reaches(target, after) for target, type in self.out[before] if type in wanted)

    def _reaches(self, vertex: int, goal: int) -> bool:
        if not self.is_relay[vertex]:
            return vertex == goal
        seen, waiting = {vertex}, [vertex]
        while waiting:
            for target, _ in self.out[waiting.pop()]:
                if target == goal:
                    return True
                if self.is_relay[target] and target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return False

    def _is_ordered_by_data(self, before: int, after: int) -> bool:
        """Whether an anti-dependency leads from `before`, or what began after its end, to `after`, or what ended before it began,
        and agrees with real time."""
        if self._span is None:
            return False
        span = self._span
        first, last = self.names[before], self.names[after]
        for a, successors in enumerate(self.out):
            if self.is_relay[a] or not any(type == RW for _, type in successors):
                continue
            name = self.names[a]
            if name != first and not 0 <= span[first][1] < span[name][0]:
                continue
            for b in self._targets(a, RW):
                other = self.names[b]
                if 0 <= span[name][1] < span[other][0] and (other == last or 0 <= span[other][1] < span[last][0]):
                    return True
        return False

    def _targets(self, vertex: int, wanted: int) -> Iterator[int]:
        """The transactions that edges of the type lead to."""
        seen: set[int] = set()
        waiting = [target for target, type in self.out[vertex] if type == wanted]
        while waiting:
            target = waiting.pop()
            if target in seen:
                continue
            seen.add(target)
            if self.is_relay[target]:
                waiting += [each for each, _ in self.out[target]]
            else:
                yield target

    def rotated(self, name: str, vertices: Sequence[int], types: Sequence[int]) -> Cycle:
        """The cycle of these transactions: the one that ended first is T1."""
        at = vertices.index(min(vertices))
        return Cycle(name, (*vertices[at:], *vertices[:at]), (*types[at:], *types[:at]))

    def _named(self, path: list[tuple[int, int]], name: str = "") -> Cycle:
        hops = self._hops(path)
        at = min(range(len(hops)), key=lambda i: self.names[hops[i][0]])
        hops = [*hops[at:], *hops[:at]]  # The transaction that ended first is T1.
        types = [type for _, _, type in hops]
        name = name or class_of(types)
        is_shadowed = any(type in (PROCESS, REALTIME) and self._is_ordered_by_data(a, b) for a, b, type in hops)
        return Cycle(name, tuple(self.names[a] for a, _, _ in hops), tuple(types), is_shadowed)


def _within(label: list[int], low: int, high: int) -> Callable[[int], bool]:
    """Whether a vertex's label lies in this range."""
    return lambda vertex: low <= label[vertex] <= high


def class_of(types: Sequence[int]) -> str:
    """The name of a cycle of edges of these types, in order."""
    rw = sum(type == RW for type in types)
    is_adjacent = any(type == RW == types[i - 1] for i, type in enumerate(types))
    if rw == 1:
        base = "G-single-item"
    elif rw:
        base = "G2-item" if is_adjacent else "G-nonadjacent-item"
    else:
        base = "G1c" if WR in types else "G0"
    return base + (VARIANTS[2] if REALTIME in types else VARIANTS[1] if PROCESS in types else "")


def _traced(came: dict[int, tuple[int, int]], start: int, goal: int) -> list[tuple[int, int]]:
    path: list[tuple[int, int]] = []
    vertex = goal
    while vertex != start:
        vertex, type = came[vertex]
        path.append((vertex, type))
    return path[::-1]
