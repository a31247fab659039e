"""How stale reads are: t-visibility and k-staleness (Bailis et al., PBS, VLDB 2012).

A read is stale when an acknowledged write of its key certainly is newer than what it returned: it was invoked after the write
of that value had been acknowledged, and was acknowledged itself before the read was invoked. The age of a read is the time
since the first such write was acknowledged, and its lag is their number, less one for each write that was under way from that
acknowledgement to the read. Fresh reads have age and lag 0. Writes that overlap the one that was read count as neither newer
nor older, so ages and lags are lower bounds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from typing import Any

import numpy as np

from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Finding, Findings, OpNote, Table
from checkers.relaxed.identity import Misfit
from checkers.verdict import Verdict
from histories.history import History
from histories.loaded import paused_gc

CHECKER = "staleness"
QUANTILES = (0.5, 0.9, 0.99, 1.0)
AGES_MS = (0, 1, 10, 100, 1_000, 10_000)
LAGS = (0, 1, 2, 5, 10, 100)
BOUND_NS = 10_000_000_000
"""What the claim bounded-staleness allows: 10 s."""


@paused_gc()
def staleness(history: History, context: object = None, *, bound_ns: int | None = None) -> Verdict:
    """VALID, with quantiles and curves of the ages and lags of all reads of registers; INVALID where a read is older than
    `bound_ns`.

    Ops: `read`, `write`, `cas` of distinct values. UNKNOWN where a value that was read has several writers, a read is explained
    by no write, or no read succeeded. stats: reads, stale, age_ns and lag by quantile, and the share of reads of at most that
    age (t) or lag (k).
    """
    try:
        trace = trace_of(history)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), CHECKER)
    if trace.baseless:
        return Verdict.unknown(f"how old it is cannot be told: {trace.baseless[0].words}", CHECKER)
    ages, lags, readers = _measured(history, trace)
    if not len(ages):
        return Verdict.unknown("nothing was checked: no read succeeded", CHECKER)
    stats: dict[str, Any] = {
        "reads": len(ages),
        "stale": int((lags > 0).sum()),
        "age_ns": _quantiles(ages),
        "lag": _quantiles(lags),
        "t_visibility": {f"{ms} ms": round(float((ages <= ms * 1_000_000).mean()), 6) for ms in AGES_MS},
        "k_staleness": {str(k): round(float((lags <= k).mean()), 6) for k in LAGS},
    }
    oldest = int(ages.argmax())
    if bound_ns is not None and ages[oldest] > bound_ns:
        node = readers[oldest]
        words = (
            f"{trace.name(node)} read what had been overwritten {ages[oldest] / 1e9:.3f} s before, by {lags[oldest]} writes; "
            f"at most {bound_ns / 1e9:g} s was promised"
        )
        rows = tuple((share, int(value)) for share, value in stats["age_ns"].items())
        finding = Finding(
            words,
            ops=(OpNote(trace.op_index[node]),),
            tables=(Table(("share of reads", "age at most, ns"), rows, "age"),),
        )
        return Verdict.invalid(words, CHECKER, evidence=Findings((finding,)), stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def bounded_staleness(history: History, context: object = None) -> Verdict:
    """No read is older than BOUND_NS."""
    return staleness(history, bound_ns=BOUND_NS)


def read_ages(history: History) -> list[tuple[int, int]] | None:
    """(when it was invoked, its age in ns) of each read that succeeded; None where a read is explained by no write.

    Raises Misfit where the ops are none of registers, or a value has several writers.
    """
    trace = trace_of(history)
    if trace.baseless:
        return None
    ages, _, readers = _measured(history, trace)
    invoked, _, _ = _times(history)
    return [(invoked[trace.op_index[node]], int(age)) for node, age in zip(readers, ages, strict=True)]


def _quantiles(values: np.ndarray[Any, Any]) -> dict[str, int]:
    points = np.quantile(values, QUANTILES, method="higher")
    return {str(share): int(point) for share, point in zip(QUANTILES, points, strict=True)}


def _measured(history: History, trace: Trace) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[int]]:
    """Age and lag of each read, and which transaction it was."""
    invoked, ended, acknowledged = _times(history)
    of_key: dict[int, list[tuple[int, int]]] = {}
    for node, keys in enumerate(trace.writes):
        index = trace.op_index[node]
        if index in acknowledged:
            for key in keys:
                of_key.setdefault(key, []).append((invoked[index], ended[index]))
    ordered: dict[int, tuple[list[int], list[int], list[int]]] = {}
    for key, spans in of_key.items():
        spans.sort()
        soonest = [end for _, end in spans]
        for place in range(len(soonest) - 2, -1, -1):
            soonest[place] = min(soonest[place], soonest[place + 1])
        ordered[key] = [begin for begin, _ in spans], soonest, sorted(end for _, end in spans)
    ages, lags, readers = [], [], []
    for node, reads in enumerate(trace.reads):
        for key, writer in reads:
            age = lag = 0
            # A write of unknown outcome may have taken effect at any time, so nothing is certainly newer.
            if key in ordered and (writer == INITIAL or trace.op_index[writer] in acknowledged):
                begins, soonest, ends = ordered[key]
                read_ns = invoked[trace.op_index[node]]
                after_ns = -1 if writer == INITIAL else ended[trace.op_index[writer]]
                place = bisect_left(begins, after_ns + 1)
                if place < len(begins) and soonest[place] < read_ns:
                    age = read_ns - soonest[place]
                    # Those that ended before the read, less all that began before the value was acknowledged.
                    lag = max(1, bisect_left(ends, read_ns) - place)
            ages.append(age)
            lags.append(lag)
            readers.append(node)
    return np.array(ages, dtype=np.int64), np.array(lags, dtype=np.int64), readers


def _times(history: History) -> tuple[dict[int, int], dict[int, int], set[int]]:
    """By the index of either op: when the operation was invoked, when it ended, and whether it was acknowledged."""
    invoked: dict[int, int] = {}
    ended: dict[int, int] = {}
    acknowledged: set[int] = set()
    pending: dict[Hashable, tuple[int, int]] = {}
    for op in history:
        if not op.is_client:
            continue
        if op.type == "invoke":
            pending[op.process] = op.index, op.time
            invoked[op.index] = ended[op.index] = op.time
        else:
            index, time = pending.pop(op.process)
            invoked[op.index] = time
            ended[index] = ended[op.index] = op.time
            if op.type == "ok":
                acknowledged |= {index, op.index}
    return invoked, ended, acknowledged
