"""The independent verifier of VALID: replays a linearization. It shares nothing with the searches but the encoding."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.linearizability.encode import Entry
from checkers.models.model import Model, State


def verify(entries: Sequence[Entry], model: Model, linearization: Sequence[int]) -> str | None:
    """None when the positions in `linearization` prove the entries linearizable, else what is wrong with them, in
    words.

    Each completed entry is in it once and each crashed one at most once; none comes after one that was called after it
    had returned (intervals are closed: ret(a) < call(b) puts a before b); and the model allows the operations in this
    order.
    """
    seen: set[int] = set()
    states: set[State] = {model.initial()}
    latest_call = -1
    for place, position in enumerate(linearization):
        if not 0 <= position < len(entries):
            return f"place {place}: there is no entry {position}"
        if position in seen:
            return f"place {place}: entry {position} is there twice"
        seen.add(position)
        entry = entries[position]
        if not entry.is_crashed and entry.ret < latest_call:
            return f"place {place}: entry {position} comes after one that was called after it had returned"
        latest_call = max(latest_call, entry.call)
        states = {after for state in states for after in model.step(state, entry.operation)}
        if not states:
            return f"place {place}: the model {model.name} does not allow entry {position}, {entry.operation}, here"
    for position, entry in enumerate(entries):
        if not entry.is_crashed and position not in seen:
            return f"entry {position} completed, but is not in the linearization"
    return None
