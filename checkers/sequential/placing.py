"""An order of all transactions that keeps what was derived, and in which each read sees the last write of its key.

A read that can be placed is placed at once: it changes nothing, so it hinders nobody. A write can be placed when no read is
left of what it overwrites, because with distinct writes that value never comes again. Of several writes the one that ended
first is tried first: in a system that works the order of the history is nearly right. States from which no order leads to the
end are remembered.
"""

from __future__ import annotations

import msgspec

from checkers.causal.reads_from import INITIAL
from checkers.linearizability.deadline import Deadline
from checkers.sequential.saturation import Saturation


class Placing(msgspec.Struct, frozen=True):
    """order: all transactions, or None. is_exhausted: every order was tried. placed_max: how many the longest attempt placed.
    states: how many states were left as hopeless."""

    order: tuple[int, ...] | None
    is_exhausted: bool
    placed_max: int
    states: int


def place(saturation: Saturation, states_max: int | None, deadline: Deadline) -> Placing:
    """Search for an order, at most `states_max` dead ends and as long as the deadline allows."""
    return _Search(saturation, states_max, deadline).run()


class _Search:
    """held: key -> its last writer. left: (key, writer) -> reads of it that are not placed. trail: what was placed, with what its
    writes replaced."""

    def __init__(self, saturation: Saturation, states_max: int | None, deadline: Deadline) -> None:
        trace = self.trace = saturation.trace
        self.clock = saturation.clock
        self.states_max = states_max
        self.deadline = deadline
        self.places = [0] * len(trace.sessions)
        self.held = [INITIAL] * len(trace.keys)
        self.left: dict[tuple[int, int], int] = {}
        for reads in trace.reads:
            for pair in reads:
                self.left[pair] = self.left.get(pair, 0) + 1
        self.trail: list[tuple[int, tuple[int, ...]]] = []
        self.hopeless: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()

    def run(self) -> Placing:
        trace, placed_max = self.trace, 0
        choices: list[tuple[int, list[int]]] = []  # Length of the trail, and the writes that were not tried there.
        dead_ends = 0
        while True:
            self._place_reads()
            placed_max = max(placed_max, len(self.trail))
            if len(self.trail) == len(trace):
                return Placing(tuple(node for node, _ in self.trail), True, placed_max, dead_ends)
            candidates = [] if self._is_hopeless() else self._candidates()
            if candidates:
                choices.append((len(self.trail), candidates))
            else:
                dead_ends += 1
                if (self.states_max is not None and dead_ends > self.states_max) or self.deadline.is_over():
                    return Placing(None, False, placed_max, dead_ends)
            while choices and not choices[-1][1]:
                self._undo(choices.pop()[0])
                self.hopeless.add(self._state())
            if not choices:
                return Placing(None, True, placed_max, dead_ends)
            length, candidates = choices[-1]
            self._undo(length)
            self._put(candidates.pop())

    def _state(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self.places), tuple(self.held)

    def _is_hopeless(self) -> bool:
        return bool(self.hopeless) and self._state() in self.hopeless

    def _place_reads(self) -> None:
        trace, places = self.trace, self.places
        has_placed = True
        while has_placed:
            has_placed = False
            for session, of_session in enumerate(trace.sessions):
                while places[session] < len(of_session):
                    node = of_session[places[session]]
                    if trace.writes[node] or not self._can_read(node):
                        break
                    self._put(node)
                    has_placed = True

    def _can_read(self, node: int) -> bool:
        return all(self.held[key] == writer for key, writer in self.trace.reads[node])

    def _candidates(self) -> list[int]:
        """The writes that can come next, the best one last."""
        trace, places = self.trace, self.places
        found = []
        for session, of_session in enumerate(trace.sessions):
            if places[session] < len(of_session):
                node = of_session[places[session]]
                if trace.writes[node] and self._can_read(node) and self._can_write(node):
                    found.append(node)
        return sorted(found, reverse=True)

    def _can_write(self, node: int) -> bool:
        trace, places, session = self.trace, self.places, self.trace.session[node]
        if any(upto > places[other] for other, upto in enumerate(self.clock[node]) if other != session):
            return False
        for key in trace.writes[node]:
            held = self.held[key]
            left = self.left.get((key, held), 0) - trace.reads[node].count((key, held))
            if left > 0:
                return False
        return True

    def _put(self, node: int) -> None:
        trace = self.trace
        for pair in trace.reads[node]:
            self.left[pair] -= 1
        self.trail.append((node, tuple(self.held[key] for key in trace.writes[node])))
        for key in trace.writes[node]:
            self.held[key] = node
        self.places[trace.session[node]] += 1

    def _undo(self, length: int) -> None:
        trace = self.trace
        while len(self.trail) > length:
            node, replaced = self.trail.pop()
            for pair in trace.reads[node]:
                self.left[pair] += 1
            for key, before in zip(trace.writes[node], replaced, strict=True):
                self.held[key] = before
            self.places[trace.session[node]] -= 1
