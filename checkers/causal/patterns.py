"""The bad patterns that need a look at every read and what its causes wrote: native, or in plain Python, with the same answers."""

from __future__ import annotations

from checkers.causal import columns as native_columns
from checkers.causal.columns import columns
from checkers.causal.order import Clock, Writes, precedes
from checkers.causal.reads_from import INITIAL, Trace

Quadruple = tuple[int, int, int, int]


def overwritten(trace: Trace, clock: list[Clock], found_max: int) -> list[Quadruple]:
    """Reads of what a cause of the read had overwritten, as node, key, writer and the other write, the first for each read.

    The search ends with the transaction that brings the `found_max`-th.
    """
    if native_columns.core(trace) == "pure":
        return overwritten_pure(trace, clock, found_max)
    c = columns(trace, clock)
    assert native_columns.native is not None
    rows = native_columns.native.overwritten(
        c.session, c.seq, c.first_read, c.read_key, c.read_writer, c.first_placed, c.placed, c.clock, c.first_seq,
        c.seqs, found_max,
    )  # fmt: skip
    return list(map(tuple, rows.tolist()))


def overwritten_pure(trace: Trace, clock: list[Clock], found_max: int) -> list[Quadruple]:
    """See `overwritten`: the specification of the native twin."""
    writes = Writes(trace)
    found: list[Quadruple] = []
    for node, reads in enumerate(trace.reads):
        for key, writer in reads:
            for other in writes.latest(key, clock[node], trace.session[node], trace.seq[node]):
                if other == writer:
                    continue
                if writer == INITIAL or precedes(trace, clock, writer, other):
                    found.append((node, key, writer, other))
                    break
        if len(found) >= found_max:
            break
    return found


def unordered(trace: Trace, clock: list[Clock]) -> list[Quadruple]:
    """Writes that are no causes of another write of the key, but of a read of that one: other, writer, node, key.

    Each pair of writes once, with the first such read.
    """
    if native_columns.core(trace) == "pure":
        return unordered_pure(trace, clock)
    c = columns(trace, clock)
    assert native_columns.native is not None
    rows = native_columns.native.unordered(
        c.session, c.seq, c.first_read, c.read_key, c.read_writer, c.first_placed, c.placed, c.clock, c.first_seq,
        c.seqs,
    )  # fmt: skip
    return list(map(tuple, rows.tolist()))


def unordered_pure(trace: Trace, clock: list[Clock]) -> list[Quadruple]:
    """See `unordered`: the specification of the native twin."""
    writes = Writes(trace)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for node, reads in enumerate(trace.reads):
        for key, writer in reads:
            if writer == INITIAL:
                continue
            for other in writes.latest(key, clock[node], trace.session[node], trace.seq[node]):
                if other != writer and not precedes(trace, clock, other, writer):
                    found.setdefault((other, writer), (node, key))
    return [(*pair, *reader) for pair, reader in found.items()]
