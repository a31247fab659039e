"""A trace as columns of integers, for the native twins."""

from __future__ import annotations

import importlib
from itertools import chain
from types import ModuleType

import msgspec
import numpy as np
from numpy.typing import NDArray

from checkers.causal.order import Clock
from checkers.causal.reads_from import Trace
from checkers.linearizability.native import is_pure_forced

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

PLACES_MAX = 50_000_000
"""Keys times sessions: the native twins keep some bytes for each. Beyond, the pure twin runs, which keeps what it needs."""


def _built() -> ModuleType | None:
    try:
        return importlib.import_module("checkers.causal._patterns")
    except ImportError:
        return None


native = _built()
"""The native twin where it was built, None otherwise."""


def core(trace: Trace) -> str:
    """Which twin decides this trace: "native" or "pure"."""
    is_too_wide = len(trace.keys) * len(trace.sessions) > PLACES_MAX
    return "pure" if native is None or is_pure_forced() or is_too_wide else "native"


class Columns(msgspec.Struct, frozen=True):
    """What each column holds: checkers/causal/_patterns.pyx."""

    session: Ints
    seq: Ints
    first_read: Ints
    read_key: Ints
    read_writer: Ints
    first_write: Ints
    write_key: Ints
    first_placed: Ints
    placed: Ints
    clock: Ints
    first_seq: Longs
    seqs: Ints


def columns(trace: Trace, clock: list[Clock]) -> Columns:
    """Made once for a trace."""
    if trace.columns is None:
        trace.columns = _columns(trace, clock)
    found: Columns = trace.columns
    return found


def _columns(trace: Trace, clock: list[Clock]) -> Columns:
    n, k = len(trace), len(trace.sessions)
    session, seq = np.array(trace.session, dtype=np.int32), np.array(trace.seq, dtype=np.int32)
    first_read, first_write = _starts(map(len, trace.reads), n), _starts(map(len, trace.writes), n)
    pairs = np.fromiter(
        chain.from_iterable(chain.from_iterable(trace.reads)), dtype=np.int32, count=2 * int(first_read[-1])
    ).reshape(-1, 2)
    write_key = np.fromiter(chain.from_iterable(trace.writes), dtype=np.int32, count=int(first_write[-1]))
    placed = np.fromiter(chain.from_iterable(trace.sessions), dtype=np.int32, count=n)
    writer = np.repeat(np.arange(n, dtype=np.int32), np.diff(first_write))
    place = write_key.astype(np.int64) * k + session[writer]
    order = np.lexsort((seq[writer], place))
    counts = np.bincount(place, minlength=len(trace.keys) * k)
    return Columns(
        session,
        seq,
        first_read,
        np.ascontiguousarray(pairs[:, 0]),
        np.ascontiguousarray(pairs[:, 1]),
        first_write,
        write_key,
        _starts(map(len, trace.sessions), k),
        placed,
        np.fromiter(chain.from_iterable(clock), dtype=np.int32, count=n * k),
        np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)]),
        np.ascontiguousarray(seq[writer][order]),
    )


def _starts(lengths: map[int], count: int) -> Ints:
    starts = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.fromiter(lengths, dtype=np.int32, count=count), out=starts[1:])
    return starts
