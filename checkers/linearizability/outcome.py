"""What a search says when it stops, and how a path through it becomes a linearization."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from checkers.linearizability.problem import Problem, Window
from checkers.linearizability.result import Configuration

SAMPLE_SIZE = 16
"""Configurations kept as evidence: enough to explain a failure, few enough to read."""

Step = tuple[int, int]
"""A choice (r: a completed update, ~c: a crashed operation of class c) and the state it leads to."""


class Outcome(enum.Enum):
    """RUNNING: the budget ended. FOUND: a linearization. EXHAUSTED: there is none. GAVE_UP: too wide to go on."""

    RUNNING = "running"
    FOUND = "found"
    EXHAUSTED = "exhausted"
    GAVE_UP = "gave up"


class Snapshot(NamedTuple):
    """A configuration at a return event that the holder knows. used: crashed operations, by class."""

    updates: int
    pures: int
    state: int
    used: tuple[int, ...]


class Path(NamedTuple):
    """A replayed path. linearization: positions in the entries. overdrawn: classes it used more often than they were
    called.
    """

    linearization: list[int]
    overdrawn: tuple[int, ...]
    used: tuple[int, ...]


def decode(problem: Problem, k: int, snapshot: Snapshot) -> Configuration:
    """A configuration at return event k in terms of the model's states and the positions in the entries."""
    window = Window(problem)
    while window.k < k:
        window.forward()
    done: list[int] = []
    pending: list[int] = []
    for opened, mask in ((window.updates, snapshot.updates), (window.pures, snapshot.pures)):
        for number in opened:
            (done if mask & problem.bit[number] else pending).append(problem.entry[number])
    crashed = [position for c, used in enumerate(snapshot.used) for position in problem.class_entries[c][:used]]
    state = problem.table.states[snapshot.state]
    return Configuration(state, tuple(sorted(done)), tuple(sorted(pending)), tuple(sorted(crashed)))


def replay(problem: Problem, steps: Iterable[Step]) -> Path:
    """The linearization of a path that both rules 1 (eager) and the steps describe, in full.

    A class that is overdrawn contributes no further operations.
    """
    window = Window(problem)
    order: list[int] = []
    used = [0] * len(problem.class_op)
    overdrawn: list[int] = []
    state, updates, pures = 0, 0, 0

    def settle(fresh: Sequence[int]) -> None:
        """Linearize the pure operations among these that are legal now, and pass the return events that are done."""
        nonlocal updates, pures
        while window.k < problem.size:
            for number in fresh:
                mask = window.legal_of((number,), state) & ~pures
                if mask:
                    pures |= mask
                    order.append(problem.entry[number])
            if not window.is_done(updates, pures):
                return
            if problem.is_pure[window.k]:
                pures &= ~problem.bit[window.k]
            else:
                updates &= ~problem.bit[window.k]
            window.forward()
            fresh = problem.calls[window.k]

    settle(window.pures)
    for number, following in steps:
        if number >= 0:
            updates |= problem.bit[number]
            order.append(problem.entry[number])
        else:
            crashed = ~number
            if used[crashed] < window.available[crashed]:
                order.append(problem.class_entries[crashed][used[crashed]])
            elif crashed not in overdrawn:
                overdrawn.append(crashed)
            used[crashed] += 1
        state = following
        settle(window.pures)
    return Path(order, tuple(overdrawn), tuple(used))
