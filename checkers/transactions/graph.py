"""The graph of dependencies between transactions, as integer arrays that stay linear in the history.

Where many transactions come before many others (all that read a version before all that replaced it; all that ended before a
moment before all that began after it), edges lead over *relays*: vertices that are no transactions. An edge into a relay has the
type of the dependency; from a relay on, a path is free until it reaches a transaction. So two hops over relays are one edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checkers.transactions.components import Ints
from checkers.transactions.reading import INFO, OK, Transactions

WW, WR, RW, PROCESS, REALTIME, FREE = range(6)
TYPES: tuple[str, ...] = ("ww", "wr", "rw", "process", "realtime", "free")


class Graph:
    """Edges as they are found. Vertices 0..transactions-1 are transactions, those from there on are relays."""

    def __init__(self, transactions: int) -> None:
        self.transactions = transactions
        self.count = transactions
        self._parts: list[tuple[Ints, Ints, int]] = []

    def add(self, type: int, sources: Ints, targets: Ints) -> None:
        """Edges of this type, without those from a vertex to itself."""
        keep = sources != targets
        if not keep.all():
            sources, targets = sources[keep], targets[keep]
        if len(sources):
            self._parts.append((sources.astype(np.int32), targets.astype(np.int32), type))

    def add_pairs(self, type: int, pairs: Sequence[tuple[int, int]]) -> None:
        """The same for pairs (source, target)."""
        if pairs:
            both = np.array(pairs, dtype=np.int32)
            self.add(type, both[:, 0].copy(), both[:, 1].copy())

    def relays(self, number: int) -> int:
        """So many new relays; the first of them."""
        first = self.count
        self.count += number
        return first

    def fan(self, type: int, before: Sequence[int], after: Sequence[int]) -> None:
        """Each of `before` comes before each of `after`, except before itself; linear in both."""
        befores, afters = list(dict.fromkeys(before)), list(dict.fromkeys(after))
        if len(befores) * len(afters) <= 4 * (len(befores) + len(afters)):
            self.add_pairs(type, [(a, b) for a in befores for b in afters if a != b])
            return
        # Relay up[i] leads to the afters 0..i, relay down[i] to i..: whoever is among them itself takes one on each side.
        count = len(afters)
        up, down = self.relays(count), self.relays(count)
        free = [(up + i, after) for i, after in enumerate(afters)] + [
            (down + i, after) for i, after in enumerate(afters)
        ]
        free += [(up + i, up + i - 1) for i in range(1, count)] + [(down + i, down + i + 1) for i in range(count - 1)]
        self.add_pairs(FREE, free)
        place = {after: i for i, after in enumerate(afters)}
        hops: list[tuple[int, int]] = []
        for each in befores:
            i = place.get(each)
            if i is None:
                hops.append((each, down))
            else:
                hops += [(each, up + i - 1)] if i > 0 else []
                hops += [(each, down + i + 1)] if i + 1 < count else []
        self.add_pairs(type, hops)

    def arrays(self) -> tuple[Ints, Ints, Ints]:
        """(sources, targets, types) of all edges."""
        if not self._parts:
            empty = np.empty(0, dtype=np.int32)
            return empty, empty, empty
        types = [np.full(len(sources), type, dtype=np.int32) for sources, _, type in self._parts]
        return (
            np.concatenate([part[0] for part in self._parts]),
            np.concatenate([part[1] for part in self._parts]),
            np.concatenate(types),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it has no edge."""
        return not self._parts


def add_process_order(graph: Graph, found: Transactions) -> None:
    """Each transaction that ended ok comes before the next of its process that may have happened."""
    last: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    kinds, processes = found.kind, found.process
    for event in found.events:
        number = event >> 1
        kind = kinds[number]
        if event & 1:
            if kind == OK:
                last[processes[number]] = number
        elif kind <= INFO and (before := last.get(processes[number])) is not None:
            pairs.append((before, number))
    graph.add_pairs(PROCESS, pairs)


def add_realtime_order(graph: Graph, found: Transactions) -> None:
    """Each transaction that ended ok comes before all that began after it had ended, and may have happened.

    One relay for each run of ends without a begin between them; a relay leads to the next and to what begins before that. So the
    edges are linear in the transactions, whatever the concurrency.
    """
    events = np.array(found.events, dtype=np.int32)
    numbers, is_end = events >> 1, (events & 1).astype(bool)
    kinds = np.array(found.kind, dtype=np.int8)[numbers] if len(numbers) else np.empty(0, dtype=np.int8)
    keep = (is_end & (kinds == OK)) | (~is_end & (kinds <= INFO))
    numbers, is_end = numbers[keep], is_end[keep]
    if not is_end.any():
        return
    starts_run = is_end.copy()
    starts_run[1:] &= ~is_end[:-1]
    run = np.cumsum(starts_run, dtype=np.int32) - 1  # The last run of ends at or before each event; -1 before all.
    runs = int(run[-1]) + 1
    if not ((~is_end) & (run >= 0)).any():
        return
    first = graph.relays(runs)
    graph.add(REALTIME, numbers[is_end], first + run[is_end])
    begins = ~is_end & (run >= 0)
    graph.add(FREE, first + run[begins], numbers[begins])
    chain = np.arange(first, first + runs - 1, dtype=np.int32)
    graph.add(FREE, chain, chain + 1)
