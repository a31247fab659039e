"""The polygraph of a history of registers: edges that are certain, and pairs of writers of a key, one of which comes first.

Serializability asks for an order of transactions, snapshot isolation for one of their begins and commits. Both are acyclic graphs:
with `begin` and `commit` the same vertex, the graph is that of Cobra (Tan, Zhao, Mu, Walfish, OSDI 2020, §3); with two vertices, it
is that of Viper (Zhang, Ji, Mu, Tan, EuroSys 2023, §4). What a transaction read was committed before it began; what overwrites
what it read is committed after it began; of two writers of a key, one is committed before the other begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Any, Literal

import msgspec

from checkers.transactions.reading import INFO, OK, Transactions
from checkers.transactions.register import Registers

INITIAL = -1
"""The writer of what was there before the first write."""

Timing = Literal["", "-process", "-realtime"]
Edge = tuple[int, int]
PAIRS_MAX = 2_000_000
"""Of writers of one key, so that memory stays within a few gigabytes."""


class Txn(msgspec.Struct, frozen=True, gc=False):
    """begin, end: positions in the history; end is -1 where nobody knows. reads: (key, number of the writer)."""

    number: int
    process: int
    begin: int
    end: int
    reads: tuple[tuple[Any, int], ...]
    writes: tuple[Any, ...]


class TooLarge(Exception):
    """The history has more open pairs than fit into memory; the message says how many."""


class Polygraph(msgspec.Struct):
    """vertices: how many. certain: edges. open: for each undecided pair of writers, the edges if the first comes first, and those
    if the second does. begins, commits: the vertices of each transaction of `txns`."""

    txns: Sequence[Txn]
    vertices: int
    begins: Sequence[int]
    commits: Sequence[int]
    certain: set[Edge]
    open: list[tuple[tuple[Edge, ...], tuple[Edge, ...]]]


def committed(found: Transactions) -> list[Txn]:
    """The transactions that took effect: those that ended ok, and those of unknown outcome that somebody read from.

    The history has no anomaly that is no cycle: each value that was read was installed by a transaction, or is the initial one.
    Another one of unknown outcome can be left out of every order.
    """
    registers = Registers(found)

    def writer(key: Any, value: Any) -> int:
        by = registers.final_writer(key, value)
        return INITIAL if by is None else by

    sources = {
        writer(key, value)
        for number, reads in enumerate(registers.reads)
        if found.kind[number] == OK
        for key, value in reads.items()
    }
    txns = []
    for number, (reads, writes) in enumerate(zip(registers.reads, registers.writes, strict=True)):
        kind = found.kind[number]
        if kind == OK or (kind == INFO and number in sources):
            seen = tuple((key, writer(key, value)) for key, value in reads.items()) if kind == OK else ()
            end = found.end[number] if kind == OK else -1
            txns.append(Txn(number, found.process[number], found.begin[number], end, seen, tuple(writes)))
    return txns


def polygraph(txns: Sequence[Txn], timing: Timing, *, is_snapshot: bool) -> Polygraph:
    """What orders these transactions. A read from one that is not among them is left out: so every order of all transactions also
    orders any part of them. Raises TooLarge."""
    width = 2 if is_snapshot else 1
    begins = [width * i for i in range(len(txns))]
    commits = [width * i + width - 1 for i in range(len(txns))]
    certain: set[Edge] = {(begins[i], commits[i]) for i in range(len(txns))} if is_snapshot else set()
    at = {txn.number: i for i, txn in enumerate(txns)}
    writers: dict[Any, list[int]] = defaultdict(list)
    readers: dict[tuple[Any, int], list[int]] = defaultdict(list)
    for i, txn in enumerate(txns):
        for key in txn.writes:
            writers[key].append(i)
        for key, by in txn.reads:
            if by == INITIAL:
                readers[key, INITIAL].append(i)
            elif by in at:
                readers[key, at[by]].append(i)
                certain.add((commits[at[by]], begins[i]))
    for (key, by), some in readers.items():
        if by == INITIAL:
            certain.update((begins[i], commits[j]) for i in some for j in writers[key] if i != j)
    pairs: dict[tuple[int, int], tuple[set[Edge], set[Edge]]] = {}
    count = sum(len(some) * (len(some) - 1) // 2 for some in writers.values())
    if count > PAIRS_MAX:
        raise TooLarge(f"{count:,} pairs of writers of one key, more than {PAIRS_MAX:,}")
    for key, some in writers.items():
        for i, j in combinations(some, 2):
            sides = pairs.setdefault((i, j), (set(), set()))
            for side, first, second in ((sides[0], i, j), (sides[1], j, i)):
                side.add((commits[first], begins[second]))
                side.update((begins[each], commits[second]) for each in readers.get((key, first), ()) if each != second)
    vertices = width * len(txns)
    if timing:
        vertices = _add_time(txns, timing, begins, commits, certain, vertices)
    opened = [(tuple(sorted(first)), tuple(sorted(second))) for first, second in pairs.values()]
    return Polygraph(txns, vertices, begins, commits, certain, opened)


def _add_time(
    txns: Sequence[Txn],
    timing: Timing,
    begins: Sequence[int],
    commits: Sequence[int],
    certain: Collection[Edge],
    vertices: int,
) -> int:
    """Adds the order of processes or of real time, linear in the transactions: each end leads to a vertex, this one to the next of
    its kind, and the last one so far to each begin. The new number of vertices."""
    assert isinstance(certain, set)
    events = sorted(
        [(txn.begin, 0, i) for i, txn in enumerate(txns)] + [(t.end, 1, i) for i, t in enumerate(txns) if t.end >= 0]
    )
    last: dict[int | None, int] = {}
    for _, is_end, i in events:
        group = txns[i].process if timing == "-process" else None
        if is_end:
            if group in last:
                certain.add((last[group], vertices))
            certain.add((commits[i], vertices))
            last[group] = vertices
            vertices += 1
        elif group in last:
            certain.add((last[group], begins[i]))
    return vertices
