"""Which states were still possible when the failing operation returned, what brought each about, and where it would
have fitted."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial

import msgspec
import numpy as np

from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entries, Entry, columns
from checkers.linearizability.outcome import SAMPLE_SIZE
from checkers.linearizability.result import Configuration, SearchResult
from checkers.models.model import Model, Operation, State

STEPS_MAX = 50_000
"""Calls of `step` on the way from the configurations that the search left to all states that were possible."""

WRITERS_MAX = 200
"""How many operations back those that lead to a state are looked for; resets twenty times as far, because they are
cheap."""

RESETS_MAX = 20 * WRITERS_MAX

REPLAY_MAX = 2_000
"""Operations that take effect in the order of their return, to see where the failed one would have fitted."""

POOL_MAX = 300

CELLS_MAX = 4_000_000
"""Elements of states that are held at a time: some 32 MB, however long one list is."""

STATES_MAX = 50
"""Possible states that are kept: a reader looks at a few."""

DISTINCT_MAX = 200_000
"""How many different writes are looked through for a value that nobody wrote."""


class Possible(msgspec.Struct, frozen=True):
    """One possible state. configuration: the search's, from which it is reached.

    writer: the last operation to return, of those that lead to the state from another one; None where none does.
    """

    state: State
    configuration: Configuration
    writer: Entry | None


class Possibilities(msgspec.Struct, frozen=True):
    """states: possible just before the failing return; is_complete: these are all of them.

    fits_after: the last operation to return, of those that lead to a state in which the failed one is legal. None where
    none was found; `is_unheard_of` says that all were looked at, so that nothing in the history leads there.
    """

    states: tuple[Possible, ...]
    is_complete: bool
    fits_after: Entry | None
    fits_initially: bool
    is_unheard_of: bool


def size(state: State) -> int:
    """How many elements the state has; 1 for what has none."""
    return max(1, len(state)) if isinstance(state, Sized) else 1


def possibilities(
    entries: Sequence[Entry], model: Model, result: SearchResult, deadline: Deadline | None = None
) -> Possibilities:
    """What was possible when the operation at `result.failed_at` returned; when the deadline passes first, what was
    found by then, and `is_complete` is false.
    """
    assert result.failed_at is not None
    deadline = deadline or Deadline()
    encoded = columns(entries)
    failed = encoded[result.failed_at]
    before = bisect_left(encoded.call, failed.ret)
    states, is_complete = _closure(encoded, before, model, result, deadline.share(0.5))
    recent = _recent(encoded, before, result.failed_at, model)
    writers = recent[:WRITERS_MAX]
    pool, is_whole_pool = _pool([model.initial(), *states], writers, model, deadline.share(0.5))

    def fits(state: State) -> bool:
        return any(True for _ in model.step(state, failed.operation))

    fits_after = _first(recent, pool, model, fits, deadline)
    if fits_after is not None and not model.is_reset(
        fits_after.operation
    ):  # What it leads to depends on what was before.
        fits_after = _last_in_order_of_return(encoded, failed, model, fits, deadline) or fits_after
    is_unheard_of = fits_after is None and (
        (len(recent) < WRITERS_MAX and is_whole_pool) or _only_resets_that_miss(encoded, before, model, fits)
    )
    return Possibilities(
        states=tuple(
            Possible(state, configuration, _first(recent, pool, model, partial(operator.eq, state), deadline))
            for state, configuration in states.items()
        ),
        is_complete=is_complete,
        fits_after=fits_after,
        fits_initially=fits(model.initial()),
        is_unheard_of=is_unheard_of and not deadline.is_over(),
    )


def _closure(
    entries: Entries, before: int, model: Model, result: SearchResult, deadline: Deadline
) -> tuple[dict[State, Configuration], bool]:
    """Each state possible before the failing return, and whether these are all.

    The search leaves open and crashed operations pending; what they may do before the return is worked out here.
    """
    positions = np.flatnonzero(np.array(entries.end, dtype=np.int64)[:before] < 0).tolist()
    crashed = [position for position in positions if not model.is_pure(entries[position].operation)]
    states: dict[State, Configuration] = {}
    is_complete = 0 < len(result.final_configurations) < SAMPLE_SIZE
    steps_left, cells_left = STEPS_MAX, CELLS_MAX
    for configuration in result.final_configurations:
        free = [p for p in configuration.pending if p != result.failed_at and not model.is_pure(entries[p].operation)]
        used = set(configuration.crashed)
        free += [position for position in crashed if position not in used]
        classes = Counter(entries[position].operation for position in free)  # Equal operations are interchangeable.
        unused = tuple(classes.values())
        todo = deque([(configuration.state, unused)])
        seen = set(todo)
        while todo and steps_left > 0 and cells_left > 0 and not deadline.is_over():
            state, left = todo.popleft()
            if len(states) < STATES_MAX:
                states.setdefault(state, configuration)
            is_complete = is_complete and state in states
            for number, operation in enumerate(classes):
                if not left[number]:
                    continue
                steps_left -= 1
                for after in model.step(state, operation):
                    following = (after, (*left[:number], left[number] - 1, *left[number + 1 :]))
                    if after != state and following not in seen:
                        cells_left -= size(after) + len(left)
                        seen.add(following)
                        todo.append(following)
        is_complete = is_complete and not todo
    return states, is_complete


def _recent(entries: Entries, before: int, failed_at: int, model: Model) -> list[Entry]:
    """The last operations that may change the state, the last to return first; the crashed and open ones after the
    completed."""
    failed = entries[failed_at]
    changing: list[Entry] = []
    for position in range(before - 1, -1, -1):
        entry = entries[position]
        if position == failed_at or model.is_pure(entry.operation):
            continue
        if len(changing) < WRITERS_MAX or model.is_reset(entry.operation):
            changing.append(entry)
        if len(changing) >= RESETS_MAX:
            break
    return sorted(changing, key=lambda entry: (0 <= entry.ret < failed.ret, entry.ret, entry.call), reverse=True)


def _only_resets_that_miss(entries: Entries, before: int, model: Model, fits: Callable[[State], bool]) -> bool:
    """Whether every state since the beginning was made by a reset, and none of these fits."""
    used = set(entries.op[:before])
    used -= {number for number in used if model.is_pure(entries.operations[number])}
    if len(used) > DISTINCT_MAX or any(not model.is_reset(entries.operations[number]) for number in used):
        return False
    return not any(fits(after) for number in used for after in model.step(model.initial(), entries.operations[number]))


def _first(
    writers: Iterable[Entry],
    pool: Sequence[State],
    model: Model,
    is_wanted: Callable[[State], bool],
    deadline: Deadline,
) -> Entry | None:
    """The first of the writers that leads from a state of the pool to another one that is wanted; None when the
    deadline passes first.
    """
    known: dict[Operation, bool] = {}
    for entry in writers:
        if deadline.is_over():
            return None
        operation = entry.operation
        if operation not in known:
            # From two states, because a reset changes nothing in the state that it leads to.
            before = pool[:2] if model.is_reset(operation) else pool
            known[operation] = any(
                after != state and is_wanted(after) for state in before for after in model.step(state, operation)
            )
        if known[operation]:
            return entry
    return None


def _last_in_order_of_return(
    entries: Entries, failed: Entry, model: Model, fits: Callable[[State], bool], deadline: Deadline
) -> Entry | None:
    """The last operation after which the failed one is legal when all took effect in the order in which they returned, which keeps
    real time. None where there is none, or that order ends before it, for the model forbids it.
    """
    found, states = None, dict.fromkeys((model.initial(),))
    for position in entries.returns[:REPLAY_MAX]:
        entry = entries[position]
        if entry.ret >= failed.ret:
            break
        if entry.operation.is_refused or model.is_pure(entry.operation):
            continue
        states = dict.fromkeys(after for state in states for after in model.step(state, entry.operation))
        if not states or len(states) > STATES_MAX or deadline.is_over():
            break
        if any(map(fits, states)):
            found = entry
    return found


def _pool(
    start: Iterable[State], writers: Sequence[Entry], model: Model, deadline: Deadline
) -> tuple[list[State], bool]:
    """States that the writers lead to, and whether these are all; some of them where there are many."""
    operations = list({entry.operation: None for entry in writers})
    pool = dict.fromkeys(start)
    todo = deque(pool)
    while todo and len(pool) < POOL_MAX and not deadline.is_over():
        state = todo.popleft()
        for operation in operations:
            for after in model.step(state, operation):
                if after not in pool:
                    pool[after] = None
                    todo.append(after)
    return list(pool), not todo and len(pool) < POOL_MAX
