"""Virtual time and the one event queue. Everything that happens in a simulation is an entry of this queue, in the order of its
time and, at equal times, in the order in which it was scheduled: so a run is a function of its seed.

Entries are plain tuples and callbacks take one argument: this loop runs thousands of times in each virtual second.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, NoReturn

from checkers.invariants import Observers, Violation
from checkers.invariants.violation import Handler
from harness.environments.sim.message_log import MessageLog
from histories.tracing import TraceEvent
from histories.units import NS_PER_S

Entry = tuple[int, int, Callable[[Any], None], Any]
TraceRow = tuple[int, str, TraceEvent]
"""time ns, node, event: a TraceRecord before it is one."""

TRACE_ROWS_MAX = 4096
"""So many rows are held, and then passed on together."""


PAST_EVENTS_MAX = 2_000_000
"""Entries of the queue after a broken invariant: what broken nodes do then may be without end."""

PAST_END_NS = 20 * NS_PER_S
"""How long after its time past a broken invariant a run may still take to heal and to read for the last time."""


class InvariantViolated(Exception):
    """The step that just ran broke a protocol invariant; `World.violation` holds it. Ends the run where it stands.

    Where the run goes on past it (`World.past_violation_ns`), it is raised when that time is over.
    """


class World:
    """Time, queue and observers of one simulated run.

    seed: each component draws from `rng(name)`, a child of it, so that one more draw in one place moves nothing elsewhere.
    """

    def __init__(self, seed: int, observers: Observers | None, messages: MessageLog | None) -> None:
        self.seed = seed
        self.now_ns = 0
        self.heap: list[Entry] = []
        self.next_seq: Callable[[], int] = itertools.count().__next__
        self.keep_traces: Callable[[Sequence[TraceRow]], None] | None = None
        """Takes what the nodes trace, in blocks and in order; None: nobody wants it. The invariants see each event at once."""
        self._rows: list[TraceRow] = []
        self.observers = observers
        self._watching: Mapping[type, tuple[Handler, ...]] = {} if observers is None else observers.handlers
        self.messages = messages
        self.violation: Violation | None = None
        self.past_violation_ns = 0
        """How long the run goes on after a violation; 0: it ends there."""
        self.on_past_end: Callable[[], None] = lambda: None
        """Called when that time is over: the run is to heal and to end."""
        self.is_over = False
        """A violation has ended the run."""
        self.failure: Exception | None = None
        """What ended the run although the cluster was not to blame: see `fail`."""
        self.run: Callable[[int, Callable[[], bool]], None] = self.advance
        """`advance`, with the clients going on where there are any: for faults that take time."""

    def rng(self, component: str) -> random.Random:
        """A generator of this component's own."""
        return random.Random(f"{self.seed}/{component}")

    def at(self, time_ns: int, callback: Callable[[Any], None], argument: Any) -> None:
        """`callback(argument)` runs at `time_ns`, or now if that has passed."""
        now_ns = self.now_ns
        heappush(self.heap, (time_ns if time_ns > now_ns else now_ns, self.next_seq(), callback, argument))

    def advance(self, until_ns: int, is_over: Callable[[], bool]) -> None:
        """Run what is due up to `until_ns`, and stop before that as soon as `is_over()` after an entry.

        The clock stands at the last entry, or at `until_ns` when that was reached.
        """
        heap = self.heap
        with self.whole_steps():
            while heap and heap[0][0] <= until_ns:
                self.now_ns, _, callback, argument = heappop(heap)
                callback(argument)
                if is_over():
                    return
        if until_ns > self.now_ns:
            self.now_ns = until_ns

    @contextmanager
    def whole_steps(self) -> Iterator[None]:
        """An error in here, such as of a full disk, cut a step short: what would come of that is not the cluster's doing."""
        try:
            yield
        except InvariantViolated:
            raise
        except Exception as error:
            self.fail(error)
            raise

    def fail(self, error: Exception) -> None:
        """The run cannot go on, and the cluster is not to blame: nothing that is due happens any more, no rule judges, and nothing
        more is traced. Raises the first such error; those that follow come of it."""
        if self.failure is None:
            self.failure = error
            self.heap.clear()
            self._watching = {}
            self.keep_traces = None
            if self.messages is not None:
                self.messages.keep = None
            raise error

    def _violated(self, violation: Violation) -> None:
        """Keep the violation. Raises InvariantViolated unless the run goes on for a while."""
        self.violation = violation
        self._watching = {}  # The verdict is in: what the tear-down does is not the cluster's doing.
        if not self.past_violation_ns:
            self.end()
        next_seq = self.next_seq
        last = next_seq() + PAST_EVENTS_MAX

        def counted() -> int:
            seq = next_seq()
            if seq > last:
                self.end()
            return seq

        self.next_seq = counted
        self.at(self.now_ns + self.past_violation_ns, lambda _: self.on_past_end(), None)
        self.at(self.now_ns + self.past_violation_ns + PAST_END_NS, lambda _: self.end(), None)

    def end(self) -> NoReturn:
        """The violation ends the run now. Raises InvariantViolated."""
        assert self.violation is not None, "only a violation ends a run early"
        self.is_over = True
        raise InvariantViolated(self.violation.words)

    @contextmanager
    def watching(self, kind: type[TraceEvent], look: Callable[[int, str, Any], None]) -> Iterator[None]:
        """`look` sees each event of this kind meanwhile, behind the invariants."""
        before = self._watching
        watching = self._watching = {**before, kind: (*before.get(kind, ()), look)}
        try:
            yield
        finally:
            if self._watching is watching:  # Else an invariant is broken, and nobody looks any more.
                self._watching = before

    def is_read(self, kind: type[TraceEvent]) -> bool:
        """Whether anyone would take an event of this kind: its files or an invariant."""
        return self.keep_traces is not None or kind in self._watching

    def pass_on_traces(self) -> None:
        """What was traced so far is with `keep_traces`."""
        rows, self._rows = self._rows, []
        if self.keep_traces is not None and rows:
            self.keep_traces(rows)

    def trace(self, node: str, event: TraceEvent) -> None:
        """Keep what a node said about itself, and ask the invariants. Raises InvariantViolated where one ends the run."""
        if self.keep_traces is not None:
            self._rows.append((self.now_ns, node, event))
            if len(self._rows) >= TRACE_ROWS_MAX:
                self.pass_on_traces()
        handlers = self._watching.get(event.__class__)
        if handlers is not None:
            for handle in handlers:
                violation = handle(self.now_ns, node, event)
                if violation is not None:
                    self._violated(violation)
                    return
