"""The causal order: session order, and each write before whoever read it, transitively.

A clock is a vector: for each session, how many of its transactions come before or are the one that has the clock. So `a` comes
before `b` when b's clock counts a (Fidge 1988, Mattern 1989). With k sessions and n transactions all clocks take O(n k).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence

from checkers.causal.reads_from import INITIAL, Trace

Clock = list[int]
Edges = Mapping[int, Sequence[int]]
"""Transaction -> those that come before it, beside session order and reads-from."""


class CausalCycle(Exception):
    """Session order and reads-from (and the extra edges) form a cycle: these transactions, each before the next, the last before
    the first."""

    def __init__(self, nodes: Sequence[int]) -> None:
        super().__init__(f"a cycle of {len(nodes)} transactions")
        self.nodes = tuple(nodes)


def clocks(trace: Trace, extra: Edges | None = None, among: Sequence[int] | None = None) -> list[Clock]:
    """The clock of every transaction. among: how many of each session's take part; the rest have empty clocks.

    The clocks of the causal order itself are worked out once for a trace. Raises CausalCycle.
    """
    if extra is None and among is None:
        if not trace.clock:
            trace.clock = _clocks(trace, {}, None)
        return trace.clock
    return _clocks(trace, extra or {}, among)


def _clocks(trace: Trace, extra: Edges, among: Sequence[int] | None) -> list[Clock]:
    found: list[Clock] = [[] for _ in range(len(trace))]
    for node in topological(trace, extra, among):
        session = trace.session[node]
        place = trace.seq[node] - 1
        clock = found[trace.sessions[session][place - 1]].copy() if place else [0] * len(trace.sessions)
        for _, writer in trace.reads[node]:
            if writer != INITIAL:
                clock = later(clock, found[writer])
        for before in extra.get(node, ()):
            clock = later(clock, found[before])
        clock[session] = place + 1
        found[node] = clock
    return found


def precedes(trace: Trace, clock: list[Clock], a: int, b: int) -> bool:
    """Whether `a` is another transaction than `b` and a cause of it."""
    return a != b and clock[b][trace.session[a]] >= trace.seq[a]


def later(a: Clock, b: Clock) -> Clock:
    """The least clock that is not below either."""
    return [x if x > y else y for x, y in zip(a, b, strict=True)]


def topological(trace: Trace, extra: Edges | None = None, among: Sequence[int] | None = None) -> list[int]:
    """The transactions, each behind all that come before it. Raises CausalCycle."""
    extra = extra or {}
    ends = [len(of_session) for of_session in trace.sessions] if among is None else list(among)
    done = bytearray(len(trace))
    waiting: dict[int, list[int]] = {}
    places = [0] * len(trace.sessions)
    order: list[int] = []
    ready = list(range(len(trace.sessions)))
    while ready:
        session = ready.pop()
        of_session, end = trace.sessions[session], ends[session]
        while places[session] < end:
            node = of_session[places[session]]
            blocker = _blocker(trace, extra, node, done)
            if blocker is not None:
                waiting.setdefault(blocker, []).append(session)
                break
            done[node] = 1
            order.append(node)
            places[session] += 1
            ready += waiting.pop(node, ())
    if len(order) < sum(ends):
        raise CausalCycle(_cycle(trace, extra, done, places, ends))
    return order


def _blocker(trace: Trace, extra: Edges, node: int, done: bytearray) -> int | None:
    for _, writer in trace.reads[node]:
        if writer != INITIAL and not done[writer]:
            return writer
    if node in extra:
        for before in extra[node]:
            if not done[before]:
                return before
    return None


def _cycle(trace: Trace, extra: Edges, done: bytearray, places: Sequence[int], ends: Sequence[int]) -> list[int]:
    """A short cycle among the transactions that could not be ordered: from some of them, the shortest way back to each."""
    starts = [trace.sessions[s][places[s]] for s in range(len(ends)) if places[s] < ends[s]]
    best: list[int] = []
    for start in starts[:50]:
        around = _way_back(trace, extra, done, start)
        if around and (not best or len(around) < len(best)):
            best = around
    assert best, "whoever is blocked waits for somebody who is blocked"
    return best


def predecessors(trace: Trace, extra: Edges, node: int) -> Iterable[int]:
    """Who comes directly before it."""
    if trace.seq[node] > 1:
        yield trace.sessions[trace.session[node]][trace.seq[node] - 2]
    for _, writer in trace.reads[node]:
        if writer != INITIAL:
            yield writer
    yield from extra.get(node, ())


def _way_back(trace: Trace, extra: Edges, done: bytearray, start: int) -> list[int]:
    """The shortest cycle through a transaction that is on one, reached backwards from `start`."""
    # Go back until one comes again: that one is on a cycle.
    seen: dict[int, None] = {}
    node = start
    while node not in seen:
        seen[node] = None
        node = next(before for before in predecessors(trace, extra, node) if not done[before])
    target, towards = node, {node: node}
    level = [node]
    while level:
        following = []
        for each in level:
            for before in predecessors(trace, extra, each):
                if before == target:
                    way = [each]
                    while way[-1] != target:
                        way.append(towards[way[-1]])
                    return way
                if not done[before] and before not in towards:
                    towards[before] = each
                    following.append(before)
        level = following
    raise AssertionError("the transaction is on a cycle")


class Writes:
    """Where each session wrote each key: seqs[key][session] is sorted."""

    def __init__(self, trace: Trace, but: Collection[int] = ()) -> None:
        """but: transactions whose writes are left out."""
        self.sessions = trace.sessions
        self.seqs: list[dict[int, list[int]]] = [{} for _ in trace.keys]
        for session, of_session in enumerate(trace.sessions):
            for node in of_session:
                for key in () if node in but else trace.writes[node]:
                    self.seqs[key].setdefault(session, []).append(trace.seq[node])

    def latest(self, key: int, clock: Clock, but: int, but_seq: int) -> Iterable[int]:
        """The last write of the key by each session that the clock counts; of session `but` only those before `but_seq`."""
        for session, seqs in self.seqs[key].items():
            upto = clock[session]
            if session == but and upto >= but_seq:
                upto = but_seq - 1
            if upto >= seqs[0]:
                yield self.sessions[session][seqs[bisect_right(seqs, upto) - 1] - 1]
