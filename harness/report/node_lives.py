"""What each node was from when to when, as its trace tells: its role and term, down, and how far it had committed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from histories.tracing import Applied, Committed, Crashed, Role, Started, TraceRecord

DOWN = "down"
POINTS_MAX = 600
"""Of a commit index's curve."""

LEADING = frozenset({"leader", "primary", "master", "active"})
"""Roles of which a reader expects one at a time; a page draws them strongest. They decide nothing."""


class LifeSpan(msgspec.Struct, frozen=True):
    """One node in one state. state: "down", or its role. term: None where it has none. until_ns: None: to the end."""

    from_ns: int
    until_ns: int | None
    state: str
    term: int | None = None

    @property
    def is_leading(self) -> bool:
        """Whether the role is one of those that lead."""
        return self.state in LEADING


class Life(msgspec.Struct, frozen=True):
    """spans: in order, without overlap. committed, applied: (ns, index), a few hundred points at most."""

    spans: tuple[LifeSpan, ...]
    committed: tuple[tuple[int, int], ...] = ()
    applied: tuple[tuple[int, int], ...] = ()

    def at(self, time_ns: int) -> LifeSpan | None:
        """The span of that time."""
        return next(
            (s for s in self.spans if s.from_ns <= time_ns and (s.until_ns is None or time_ns < s.until_ns)), None
        )

    def last_down(self, time_ns: int) -> LifeSpan | None:
        """The last time that it went down up to then."""
        return next((s for s in reversed(self.spans) if s.state == DOWN and s.from_ns <= time_ns), None)

    def next_start_ns(self, time_ns: int) -> int | None:
        """When it was first up again after that."""
        return next((s.from_ns for s in self.spans if s.from_ns > time_ns and s.state != DOWN), None)


class _Building:
    def __init__(self) -> None:
        self.spans: list[LifeSpan] = []
        self.state: str | None = None
        self.term: int | None = None
        self.since_ns = 0
        self.last_ns = 0
        self.committed: list[tuple[int, int]] = []
        self.applied: list[tuple[int, int]] = []

    def turn(self, time_ns: int, state: str | None, term: int | None) -> None:
        if (state, term) == (self.state, self.term):
            return
        if self.state is not None and time_ns > self.since_ns:
            self.spans.append(LifeSpan(self.since_ns, time_ns, self.state, self.term))
        self.state, self.term, self.since_ns = state, term, time_ns

    def life(self) -> Life:
        spans = (
            self.spans if self.state is None else [*self.spans, LifeSpan(self.since_ns, None, self.state, self.term)]
        )
        return Life(tuple(spans), _thinned(self.committed), _thinned(self.applied))


def lives(traces: Iterable[TraceRecord], nodes: Iterable[str]) -> dict[str, Life]:
    """The life of each node, also of one that traced nothing. traces: in order of time.

    A node that starts again without a trace of its end was down since its last trace.
    """
    building = {node: _Building() for node in nodes}
    for record in traces:
        one = building.setdefault(record.node, _Building())
        event = record.event
        match event:
            case Role(role=role, term=term):
                one.turn(record.time, role, term)
            case Crashed():
                one.turn(record.time, DOWN, None)
            case Started():
                if event.incarnation > 1 and one.state not in (DOWN, None):
                    one.turn(one.last_ns, DOWN, None)
                one.turn(record.time, "up", None)
            case Committed(index=index):
                one.committed.append((record.time, index))
            case Applied(last=last):
                one.applied.append((record.time, last))
        one.last_ns = record.time
    return {node: one.life() for node, one in building.items()}


def _thinned(points: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    step = max(1, -(-len(points) // POINTS_MAX))
    return tuple(points[::step]) + (tuple(points[-1:]) if points and (len(points) - 1) % step else ())
