"""Read your writes, monotonic reads, monotonic writes, writes follow reads (Terry et al., PDIS 1994, §3), by what clients saw.

Terry's definitions speak of servers. Seen by clients, each says which writes a read must not be older than:

- read your writes: those of its own session before it;
- monotonic reads: those that its session has read;
- monotonic writes: those that precede, in the writer's session, one that its session has read;
- writes follow reads: those that the writer had read before, in its session, one that its session has read.

A read is older than such a write when it returned what was there at first, or the value of a write that is a cause of that write
(checkers.causal.order). Reads of one session also disagree among themselves when they return a value again after another one.
Causal consistency forbids all of it. What two clients saw in opposite orders breaks no guarantee of either.

One pass: each session takes over, for each other one, what that one wrote and read up to the last write that it read there. O(n k)
for n transactions of k sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec

from checkers.causal import columns
from checkers.causal.check import described, out_of_reach
from checkers.causal.order import CausalCycle, Clock, clocks, precedes
from checkers.causal.reads_from import INITIAL, Trace, trace_of
from checkers.evidence import Edge, Finding, Findings, OpNote
from checkers.relaxed.identity import Misfit
from checkers.verdict import Verdict
from histories.history import History
from histories.loaded import paused_gc

Guarantee = Literal["read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads"]
GUARANTEES: tuple[Guarantee, ...] = get_args(Guarantee)

FINDINGS_MAX = 20


class Breach(msgspec.Struct, frozen=True):
    """A read that was too old.

    reader, key, writer: who read what by whom (INITIAL: what was there at first). newer: the write that it should have seen.
    via: the read of the same session that binds it to `newer`, or -1; behind: what that read saw, for the two guarantees about
    writes; and the writer's own read of `newer`, for writes follow reads.
    """

    reader: int
    key: int
    writer: int
    newer: int
    via: int = -1
    behind: int = -1
    seen_by_writer: int = -1


@paused_gc()
def session_guarantee(
    history: History, guarantee: Guarantee, *, initial: Any = None, nil_reads: bool = False
) -> Verdict:
    """Whether every session of reads, writes, cas and txn has that guarantee.

    UNKNOWN where a value that was read has several writers, a read is explained by no write, causes form a cycle, or no read
    succeeded. stats: sessions, transactions, reads, breaches.
    """
    try:
        trace = trace_of(history, initial, nil_reads=nil_reads)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), guarantee)
    stats: dict[str, Any] = {"sessions": len(trace.sessions), "transactions": len(trace), "reads": trace.reads_count}
    if trace.baseless:
        return Verdict.unknown(
            f"what is older cannot be told: {trace.baseless[0].words} (--consistency causal finds that invalid)",
            guarantee,
            stats=stats,
        )
    if reason := out_of_reach(trace):
        return Verdict.unknown(reason, guarantee, stats=stats)
    if not trace.reads_count:
        return Verdict.unknown("nothing was checked: no read succeeded", guarantee, stats=stats)
    try:
        clock = clocks(trace)
    except CausalCycle:
        return Verdict.unknown(
            "what is older cannot be told: causes form a cycle (--consistency causal finds that invalid)",
            guarantee,
            stats=stats,
        )
    findings: list[Finding] = []
    count = 0
    for breach in breaches(trace, clock, guarantee):
        count += 1
        if count <= FINDINGS_MAX:
            findings.append(_finding(trace, guarantee, breach))
    stats["breaches"] = count
    if findings:
        return Verdict.invalid(findings[0].words, guarantee, evidence=Findings(tuple(findings)), stats=stats)
    return Verdict.valid(guarantee, stats=stats)


Bound = tuple[int, int, int, int]
"""A write that reads must not be older than: the write, and via, behind, seen_by_writer of a Breach."""


def breaches(trace: Trace, clock: list[Clock], guarantee: Guarantee) -> Iterator[Breach]:
    """The reads that break it, session by session; of each read and key the first reason."""
    if columns.core(trace) == "pure":
        yield from breaches_pure(trace, clock, guarantee)
        return
    c = columns.columns(trace, clock)
    assert columns.native is not None
    rows = columns.native.breaches(
        GUARANTEES.index(guarantee), len(trace.keys), c.session, c.seq, c.first_read, c.read_key, c.read_writer,
        c.first_write, c.write_key, c.first_placed, c.placed, c.clock,
    )  # fmt: skip
    for row in rows.tolist():
        yield Breach(*row)


def breaches_pure(trace: Trace, clock: list[Clock], guarantee: Guarantee) -> Iterator[Breach]:
    """See `breaches`: the specification of the native twin."""
    for session, of_session in enumerate(trace.sessions):
        session_bounds = _Bounds(trace, session, guarantee)
        for node in of_session:
            session_bounds.see(node)
            for key, writer in trace.reads[node]:
                found = _older(trace, clock, session_bounds, node, key, writer)
                if found is not None:
                    yield found
            if guarantee == "monotonic-reads":
                session_bounds.keep(node)
            if guarantee == "read-your-writes":
                for key in trace.writes[node]:
                    session_bounds.bind(key, (node, -1, -1, -1))


def _older(trace: Trace, clock: list[Clock], bounds: _Bounds, node: int, key: int, writer: int) -> Breach | None:
    for _, (newer, via, behind, seen) in sorted(bounds.of_key.get(key, {}).items()):
        if newer != writer and (writer == INITIAL or precedes(trace, clock, writer, newer)):
            return Breach(node, key, writer, newer, via, behind, seen)
    if bounds.guarantee == "monotonic-reads":
        latest = bounds.latest.get(key)
        if latest is not None and latest[0] not in (writer, INITIAL) and (key, writer) in bounds.gone:
            return Breach(node, key, writer, latest[0], latest[1], bounds.gone[key, writer])
    return None


class _Bounds:
    """What one session's reads must not be older than, as far as it has come.

    of_key[key][session]: the last such write by that session. pulled[session]: how many of its transactions were looked at. latest:
    what the session last read of the key, and where; gone: key and writer -> where it was read, for what is no longer the latest.
    """

    def __init__(self, trace: Trace, session: int, guarantee: Guarantee) -> None:
        self.trace = trace
        self.session = session
        self.guarantee = guarantee
        self.of_key: dict[int, dict[int, Bound]] = {}
        self.pulled = [0] * len(trace.sessions)
        self.latest: dict[int, tuple[int, int]] = {}
        self.gone: dict[tuple[int, int], int] = {}

    def bind(self, key: int, bound: Bound) -> None:
        """Later reads of the key must not be older than this write."""
        trace, newer = self.trace, bound[0]
        of_key = self.of_key.setdefault(key, {})
        known = of_key.get(trace.session[newer])
        if known is None or trace.seq[known[0]] < trace.seq[newer]:
            of_key[trace.session[newer]] = bound

    def see(self, node: int) -> None:
        """Take over what the reads of this transaction tell."""
        trace = self.trace
        for key, writer in trace.reads[node]:
            if writer == INITIAL:
                continue
            match self.guarantee:
                case "monotonic-reads":
                    self.bind(key, (writer, node, -1, -1))
                case "monotonic-writes":
                    self._pull(node, writer, upto=trace.seq[writer] - 1)
                case "writes-follow-reads":
                    self._pull(node, writer, upto=trace.seq[writer])

    def _pull(self, node: int, writer: int, upto: int) -> None:
        trace = self.trace
        other = trace.session[writer]
        for place in range(self.pulled[other], upto):
            earlier = trace.sessions[other][place]
            if self.guarantee == "monotonic-writes":
                for key in trace.writes[earlier]:
                    self.bind(key, (earlier, node, writer, -1))
            else:
                for key, seen in trace.reads[earlier]:
                    if seen != INITIAL:
                        self.bind(key, (seen, node, writer, earlier))
        self.pulled[other] = max(self.pulled[other], upto)

    def keep(self, node: int) -> None:
        """These reads are now the session's latest."""
        for key, writer in self.trace.reads[node]:
            latest = self.latest.get(key)
            if latest is not None and latest[0] != writer:
                self.gone[key, latest[0]] = latest[1]
            self.latest[key] = writer, node


_SAYS: dict[Guarantee, str] = {
    "read-your-writes": "although the same client had written",
    "monotonic-reads": "although the same client had read",
    "monotonic-writes": "although the same client had read a later write of the client that wrote",
    "writes-follow-reads": "although the same client had read a write whose writer had read",
}


def _finding(trace: Trace, guarantee: Guarantee, breach: Breach) -> Finding:
    key = trace.keys[breach.key]
    of_key = "" if key is None else f" of key {key!r}"
    read = trace.value(breach.reader, breach.key, is_write=False)
    newer = trace.value(breach.newer, breach.key, is_write=True)
    words = f"{trace.name(breach.reader)} read {read!r}{of_key}, {_SAYS[guarantee]} {newer!r} before"
    if guarantee == "monotonic-reads" and breach.behind >= 0:
        words += f", and {read!r} before that"
    index = trace.op_index
    nodes = dict.fromkeys(
        node
        for node in (breach.writer, breach.newer, breach.seen_by_writer, breach.behind, breach.via, breach.reader)
        if node >= 0
    )
    edges = [Edge(index[breach.newer], index[breach.reader], "should have been seen")]
    if breach.via >= 0:
        edges.append(Edge(index[breach.via], index[breach.reader], "the same client did it before"))
    if breach.writer >= 0 and guarantee != "monotonic-reads":
        edges.append(Edge(index[breach.writer], index[breach.newer], "is a cause of it"))
    return Finding(
        words, key=key, ops=tuple(OpNote(index[node], described(trace, node)) for node in nodes), edges=tuple(edges)
    )
