"""The independent verifier of INVALID: event by event, every configuration that is possible. Slow, short, and its own.

It shares nothing with the searches but the encoding: no windows, no tables, no eager reads, no classes of crashed
operations. On demand, a state from which the model says that some operation to come can never be reached is left out, else
every order of the appends that are open would be tried.
Source of the method: Lowe 2017, "Testing for linearizability", §3 (just-in-time linearization), without its
heuristics.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entry
from checkers.models.model import Model, State, speaks_for

CONFIGURATIONS_MAX = 200_000

AWAITED_MAX = 8
"""Operations to come that a state is held against."""

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
    looks_ahead: bool = False,
) -> int | None:
    """The position of the first entry whose return nothing can explain; None when the entries are linearizable.

    looks_ahead: leave out states without hope, so that an earlier return may be found, before which hope ended.
    Raises TooMany when that takes more than `configurations_max` configurations in all, or goes on past the deadline.
    """
    events = [(entry.call, True, position) for position, entry in enumerate(entries)]
    events += [(entry.ret, False, position) for position, entry in enumerate(entries) if not entry.is_crashed]
    hopes = _Hopes(entries if looks_ahead else (), model)
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
                    if configuration not in reached and not hopes.are_vain(*configuration):
                        reached.add(configuration)
                        todo.append(configuration)
            if explored + len(reached) > configurations_max:
                raise TooMany(f"more than {configurations_max:,} configurations")
        explored += len(reached)
        possible = {(state, done - {position}) for state, done in reached if position in done}
        open_.discard(position)
        hopes.returned(position)
        if not possible:
            return position
    return None


class _Hopes:
    """Pure completed operations to come, each with the operations that lead to a state from which it can be reached."""

    def __init__(self, entries: Sequence[Entry], model: Model) -> None:
        self.entries = entries
        self.model = model
        self._sources: dict[int, set[int]] = {}
        if not speaks_for(model, "can_reach"):
            return
        pure = [p for p, entry in enumerate(entries) if not entry.is_crashed and model.is_pure(entry.operation)]
        landings = [model.leads_to(entry.operation) for entry in entries]
        for awaited in sorted(pure, key=lambda position: entries[position].ret)[-AWAITED_MAX:]:
            operation = entries[awaited].operation
            self._sources[awaited] = {
                source
                for source, landing in enumerate(landings)
                if landing is not None and model.can_reach(landing[0], operation)
            }

    def returned(self, position: int) -> None:
        """The operation is neither awaited any more, nor can it still lead anywhere."""
        self._sources.pop(position, None)
        for sources in self._sources.values():
            sources.discard(position)

    def are_vain(self, state: State, done: frozenset[int]) -> bool:
        """Whether something that is awaited can never be reached."""
        return any(
            awaited not in done and sources <= done and not self.model.can_reach(state, self.entries[awaited].operation)
            for awaited, sources in self._sources.items()
        )
