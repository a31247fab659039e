"""The independent verifier of INVALID: event by event, every configuration that is possible. Slow, short, and its own.

It shares nothing with the searches but the encoding: no windows, no tables, no eager reads, no classes of crashed
operations. Source of the method: Lowe 2017, "Testing for linearizability", §3 (just-in-time linearization), without its
heuristics.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entry
from checkers.models.model import Model, State

CONFIGURATIONS_MAX = 200_000

_Configuration = tuple[State, frozenset[int]]
"""The model's state, and the positions of the operations that took effect and have not returned yet."""


class TooMany(Exception):
    """There are more configurations than allowed, or the time ended; nothing is decided."""


def failing_return(
    entries: Sequence[Entry],
    model: Model,
    *,
    configurations_max: int = CONFIGURATIONS_MAX,
    deadline: Deadline | None = None,
) -> int | None:
    """The position of the first entry whose return nothing can explain; None when the entries are linearizable.

    Raises TooMany when that takes more than `configurations_max` configurations in all, or goes on past the deadline.
    """
    events = [(entry.call, True, position) for position, entry in enumerate(entries)]
    events += [(entry.ret, False, position) for position, entry in enumerate(entries) if not entry.is_crashed]
    open_: set[int] = set()
    possible: set[_Configuration] = {(model.initial(), frozenset())}
    explored = 0
    for _, is_call, position in sorted(events, key=lambda event: (event[0], not event[1])):
        if is_call:
            open_.add(position)
            continue
        todo, reached = list(possible), set(possible)
        while todo:
            state, done = todo.pop()
            if deadline is not None and deadline.is_over():
                raise TooMany("the time ended before the second algorithm finished")
            if position in done:
                continue  # It need not take more effects now: what it can still do, it can do later.
            for other in sorted(open_ - done):
                for after in model.step(state, entries[other].operation):
                    configuration = (after, done | {other})
                    if configuration not in reached:
                        reached.add(configuration)
                        todo.append(configuration)
            if explored + len(reached) > configurations_max:
                raise TooMany(f"more than {configurations_max:,} configurations")
        explored += len(reached)
        possible = {(state, done - {position}) for state, done in reached if position in done}
        open_.discard(position)
        if not possible:
            return position
    return None
