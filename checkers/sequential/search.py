"""Sequential consistency of any objects by search: a depth-first walk over how far each session has come and what each key holds.

An operation that cannot change the state is done as soon as it is possible. One of unknown outcome is the last of its session,
and may be left out. States from which nothing leads to the end are remembered, so that each is visited once. Exact; exponential
in the sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entries, Entry
from checkers.models.model import Model, State


class Done(msgspec.Struct, frozen=True):
    """is_sequential: None where the budget ended first. placed_max, operations: how many of the completed operations the
    longest attempt placed, of how many. states: visited."""

    is_sequential: bool | None
    placed_max: int
    operations: int
    states: int


Place = tuple[tuple[int, ...], tuple[State, ...]]


def search(by_key: Mapping[Any, Entries], model: Model, states_max: int | None, deadline: Deadline) -> Done:
    """Whether the operations on all keys together can be put into one order that keeps each process's own."""
    sessions = _sessions(by_key)
    needed = [sum(not entry.is_crashed for _, entry in session) for session in sessions]
    start: Place = (tuple([0] * len(sessions)), tuple(model.initial() for _ in by_key))
    seen: set[Place] = set()
    stack: list[Place] = [start]
    placed_max = 0
    while stack:
        place = _with_pure(stack.pop(), sessions, model)
        if place in seen:
            continue
        seen.add(place)
        placed = sum(min(at, need) for at, need in zip(place[0], needed, strict=True))
        placed_max = max(placed_max, placed)
        if placed == sum(needed):
            return Done(True, placed_max, sum(needed), len(seen))
        if (states_max is not None and len(seen) > states_max) or deadline.is_over():
            return Done(None, placed_max, sum(needed), len(seen))
        stack += _following(place, sessions, model)
    return Done(False, placed_max, sum(needed), len(seen))


Session = Sequence[tuple[int, Entry]]


def _sessions(by_key: Mapping[Any, Entries]) -> list[Session]:
    """Each process's operations in its order, with the number of their key."""
    found: dict[Any, list[tuple[int, Entry]]] = {}
    for number, entries in enumerate(by_key.values()):
        for entry in entries:
            found.setdefault(entry.process, []).append((number, entry))
    return [sorted(session, key=lambda item: item[1].call) for session in found.values()]


def _with_pure(place: Place, sessions: Sequence[Session], model: Model) -> Place:
    """Behind every operation that is possible and changes nothing."""
    at, states = list(place[0]), place[1]
    has_moved = True
    while has_moved:
        has_moved = False
        for number, session in enumerate(sessions):
            while at[number] < len(session):
                key, entry = session[at[number]]
                if not (model.is_pure(entry.operation) and any(True for _ in model.step(states[key], entry.operation))):
                    break
                at[number] += 1
                has_moved = True
    return tuple(at), states


def _following(place: Place, sessions: Sequence[Session], model: Model) -> list[Place]:
    """Every place one operation further, the one whose operation was called first last."""
    at, states = place
    found = []
    for number, session in enumerate(sessions):
        if at[number] == len(session):
            continue
        key, entry = session[at[number]]
        moved = (*at[:number], at[number] + 1, *at[number + 1 :])
        for state in model.step(states[key], entry.operation):
            found.append((entry.call, (moved, (*states[:key], state, *states[key + 1 :]))))
    found.sort(key=lambda item: item[0], reverse=True)
    return [following for _, following in found]
