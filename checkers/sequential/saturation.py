"""What every sequential order of distinct writes must keep: derived until nothing new follows.

From a read r of what w wrote, for every other write v of that key: what comes before r comes before w, and what comes behind w
comes behind r. A cycle refutes sequential consistency. Without one nothing is proved, because two writes may stay unordered
(deciding is NP-complete: Gibbons and Korach 1997), but the derived order leaves few ways to try. (Saturation: Bouajjani et al.,
POPL 2017, §6; Biswas and Enea, OOPSLA 2019, §5.)
"""

from __future__ import annotations

from bisect import bisect_left

from checkers.causal.order import Clock, Writes, clocks
from checkers.causal.reads_from import INITIAL, Trace
from checkers.linearizability.deadline import Deadline

Why = dict[tuple[int, int], tuple[int, int, int]]
"""Derived edge -> reader, key and writer (INITIAL: nobody) of the read that it follows from."""


class Contradiction(Exception):
    """A read of what was there at first comes behind a write of that key. node, key: the read. other: the write."""

    def __init__(self, node: int, key: int, other: int) -> None:
        super().__init__(f"transaction {node} read key {key} behind {other}")
        self.node, self.key, self.other = node, key, other


class Saturation:
    """The derived order. clock: of each transaction. before: the derived edges; why: what each follows from."""

    def __init__(self, trace: Trace, deadline: Deadline) -> None:
        """Raises CausalCycle (`why` is then complete for its edges), Contradiction, OutOfTime."""
        self.trace = trace
        self.writes = Writes(trace)
        self.before: dict[int, list[int]] = {}
        self.why: Why = {}
        self.clock: list[Clock] = []
        self.rounds = 0
        self._deadline = deadline

    def run(self) -> None:
        """Derive everything. Raises as the constructor's text says."""
        trace = self.trace
        self.clock = clocks(trace)
        grown = True
        while grown:
            self._deadline.require()
            self.rounds += 1
            grown = False
            for node, reads in enumerate(trace.reads):
                for key, writer in reads:
                    grown |= self._behind(node, key, writer)
                    grown |= self._ahead(node, key, writer)
            if grown:
                self.clock = clocks(trace, self.before)

    def _behind(self, node: int, key: int, writer: int) -> bool:
        """What comes before the read comes before the write that it saw."""
        trace, has_grown = self.trace, False
        for other in self.writes.latest(key, self.clock[node], trace.session[node], trace.seq[node]):
            if writer == INITIAL:
                raise Contradiction(node, key, other)
            if other != writer:
                has_grown |= self._add(other, writer, (node, key, writer))
        return has_grown

    def _ahead(self, node: int, key: int, writer: int) -> bool:
        """What comes behind the write comes behind the reads of it."""
        trace, clock, has_grown = self.trace, self.clock, False
        for session, seqs in self.writes.seqs[key].items():
            of_session = trace.sessions[session]
            place = 0
            if writer != INITIAL:
                home, own = trace.session[writer], trace.seq[writer]
                if session == home:
                    place = bisect_left(seqs, own + 1)
                else:
                    place = bisect_left(seqs, own, key=lambda seq: clock[of_session[seq - 1]][home])
            if place < len(seqs) and of_session[seqs[place] - 1] == node:
                place += 1
            if place < len(seqs):
                has_grown |= self._add(node, of_session[seqs[place] - 1], (node, key, writer))
        return has_grown

    def _add(self, a: int, b: int, why: tuple[int, int, int]) -> bool:
        trace = self.trace
        if a == b or self.clock[b][trace.session[a]] >= trace.seq[a] or (a, b) in self.why:
            return False
        self.why[a, b] = why
        self.before.setdefault(b, []).append(a)
        return True
