"""What a simulated cluster did, as a set of behaviours: the coverage of a run.

A behaviour is two nodes that are in certain abstract states at the same moment. The state of a node: whether it runs, its role, how
far its term and the term of its last entry lie behind the highest of the cluster, and whether its log ends with entries of an
earlier term that are not decided. Names and numbers are left out, so that it does not matter which nodes it is about, and how long
the run has lasted. Pairs tell more than nodes alone (two leaders, a leader whose log lags behind a follower's), and there are few
enough of them that a rare one means something; states of the whole cluster are too many, and nearly all of them rare.

That what nodes tell of themselves can steer faults is from Meng, Pirlea, Roychoudhury and Sergey, "Greybox Fuzzing of Distributed
Systems" (CCS 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any, cast
from zlib import crc32

from harness.environments.base import Environment
from harness.environments.sim.environment import SimEnvironment
from harness.environments.sim.world import TraceRow
from harness.run.sinks import MemorySink
from histories.tracing import (
    Accepted,
    Appended,
    Chosen,
    Committed,
    Crashed,
    Installed,
    Promised,
    Recovered,
    Role,
    Started,
    Truncated,
)
from nemesis.schedule import Schedule

KINDS = frozenset(
    (Accepted, Appended, Chosen, Committed, Crashed, Installed, Promised, Recovered, Role, Started, Truncated)
)
"""The events that change a state."""

BEHIND_MAX = 2
"""A term that is further behind counts as so far behind."""

Behaviours = dict[int, int]
"""Behaviour, as a number that is the same in every process -> when it was first seen, in ns of virtual time."""


class BehaviourSink(MemorySink):
    """Also sees what the cluster does."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._rows: list[TraceRow] = []

    @contextmanager
    def opened(self, environment: Environment, faults: Schedule) -> Iterator[None]:
        cast(SimEnvironment, environment).world.keep_traces = self._take
        with super().opened(environment, faults):
            yield

    def _take(self, rows: Sequence[TraceRow]) -> None:
        self._rows += [row for row in rows if row[2].__class__ in KINDS]

    def behaviours(self) -> Behaviours:
        """Those of the run, when it is over."""
        assert self.environment is not None
        assert self.faults is not None
        cast(SimEnvironment, self.environment).world.pass_on_traces()
        return behaviours(self._rows, self.faults.nodes)


def behaviours(rows: Sequence[TraceRow], nodes: Sequence[str]) -> Behaviours:
    """The behaviours of a run, of what its nodes traced, in order."""
    views = {node: _NodeView() for node in nodes}
    found: Behaviours = {}
    for time_ns, node, event in rows:
        if node not in views or not views[node].follow(event):
            continue
        terms = sorted({view.term for view in views.values()}, reverse=True)
        last_terms = sorted({view.last_term for view in views.values()}, reverse=True)
        states = sorted(view.state(terms, last_terms) for view in views.values())
        for pair in combinations(states, 2):
            found.setdefault(_number(pair), time_ns)
    return found


def _number(behaviour: object) -> int:
    """Equal behaviours have equal numbers, under any hash seed."""
    return crc32(repr(behaviour).encode())


class _NodeView:
    """What is known of one node."""

    def __init__(self) -> None:
        self.is_up = True
        self.role = ""
        self.term = self.last_term = self.last_index = self.decided_index = 0
        self.waits = False
        """Whether its log ends with entries of an earlier term that are not decided."""

    def follow(self, event: Any) -> bool:
        """Take in what the node traced; whether anything of it can show in a state."""
        last_term, waited, is_shown = self.last_term, self.waits, False
        match event:
            case Appended(index=index, term=term, commands=commands):
                self.last_index, self.last_term = index + len(commands) - 1, term
            case Committed(index=index):
                self.decided_index = index
            case Accepted(slot=slot, ballot=ballot, more=more):
                self.last_term = ballot[0]
                if isinstance(slot, int):
                    self.last_index = max(self.last_index, slot + len(more))
            case Chosen(slot=slot):
                is_shown = not isinstance(slot, int)  # Of a log, Committed tells.
            case Role(role=role, term=term):
                is_shown = (role, term) != (self.role, self.term)
                self.role, self.term = role, term
            case Promised(ballot=ballot):
                is_shown = ballot[0] > self.term
                self.term = max(self.term, ballot[0])
            case Started():
                self.is_up = is_shown = True
            case Crashed():
                self.is_up, self.role, is_shown = False, "", True
            case Recovered():
                self.last_index = event.last_index
                self.last_term = event.terms[-1][1] if event.terms else event.snapshot_term
            case Truncated(from_index=from_index):
                self.last_index = from_index - 1
            case Installed(index=index, term=term):
                self.last_index = self.decided_index = index
                self.last_term = term
        self.waits = self.last_term < self.term and self.decided_index < self.last_index
        return is_shown or self.last_term != last_term or self.waits != waited

    def state(self, terms: Sequence[int], last_terms: Sequence[int]) -> tuple[str, int, int, bool]:
        """terms, last_terms: all that nodes have, the highest first."""
        return (
            self.role if self.is_up else "down",
            min(BEHIND_MAX, terms.index(self.term)),
            min(BEHIND_MAX, last_terms.index(self.last_term)),
            self.waits,
        )
