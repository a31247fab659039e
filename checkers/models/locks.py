"""Locks: what `acquire` and `release` may answer. Several names per lock are several keys of the history.

The argument names the owner (a client; None when the history does not tell owners apart, as Knossos' mutex). A refused
acquire says that the lock was not to be had at that moment, a refused release that the owner did not hold it.
A lock that frees itself (a lease that ran out) has no sequential specification without time: record its expiry as a
release.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from checkers.models.model import Model, Operation, State
from checkers.models.shape import is_integer, is_observed, items
from histories.op import freeze

_FREE: tuple[Any, ...] = ()


class Mutex(Model):
    """One owner at a time; only the owner releases. Ops: `acquire` owner, `release` owner. State: () or (owner,)."""

    name = "mutex"
    fs = frozenset({"acquire", "release"})

    def __init__(self, initial: Any = _FREE) -> None:
        """initial: the owner who holds it at first; the empty list: nobody."""
        self._initial = _holder(initial)

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        is_acquire = operation.f == "acquire"
        after: State = (operation.argument,) if is_acquire else _FREE
        is_possible = state == (_FREE if is_acquire else (operation.argument,))
        if operation.is_refused:
            return () if is_possible else (state,)
        return (after,) if is_possible else ()

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        return "the lock is free" if not state else "the lock is held" + _by(state[0])

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused


class ReentrantMutex(Model):
    """The owner may acquire again, up to `depth_max` times (None: no limit), and releases as often as it acquired.

    Ops and their meaning as `mutex`. State: None or (owner, depth).
    """

    name = "reentrant-mutex"
    fs = frozenset({"acquire", "release"})

    def __init__(self, depth_max: int | None = None, initial: Any = _FREE) -> None:
        """initial: the owner who acquired it once before; the empty list: nobody. Raises ValueError."""
        if depth_max == 0 and initial != _FREE:
            raise ValueError("initial: nobody can hold a mutex whose depth_max is 0")
        self._depth_max = depth_max
        self._initial = (*_holder(initial), 1) if initial != _FREE else None

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert state is None or isinstance(state, tuple)
        owner, depth = state or (operation.argument, 0)
        is_owner = owner == operation.argument
        if operation.f == "acquire":
            is_possible = is_owner and (self._depth_max is None or depth < self._depth_max)
            depth += 1
        else:
            is_possible = is_owner and depth > 0
            depth -= 1
        if operation.is_refused:
            return () if is_possible else (state,)
        return ((owner, depth) if depth else None,) if is_possible else ()

    def describe(self, state: State) -> str:
        assert state is None or isinstance(state, tuple)
        return "the lock is free" if state is None else f"the lock is held {state[1]} times" + _by(state[0])

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused


class FencedLock(Model):
    """A mutex whose `acquire` returns a fencing token, a whole number greater than every token before it.

    Ops: `acquire` owner (result: the token), `release` owner. State: (() or (owner,), the least that the last token can
    have been; None before the first). An acquire of unknown result took some token: the least possible one, because a
    greater one would only allow less later.
    Source: Kleppmann, "How to do distributed locking" (2016).
    """

    name = "fenced-lock"
    fs = frozenset({"acquire", "release"})

    def __init__(self, initial: Any = _FREE, token: int | None = None) -> None:
        """initial: the owner who holds it at first; the empty list: nobody. token: the last one given out before."""
        self._initial = (_holder(initial), token)

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, tuple)
        held, last = state
        is_acquire = operation.f == "acquire"
        is_possible = held == (_FREE if is_acquire else (operation.argument,))
        if operation.is_refused:
            return () if is_possible else (state,)
        if not is_possible:
            return ()
        if not is_acquire:
            return ((_FREE, last),)
        if not operation.is_known:
            return (((operation.argument,), None if last is None else last + 1),)
        return (((operation.argument,), operation.result),) if last is None or operation.result > last else ()

    def check(self, operation: Operation) -> str | None:
        if operation.f == "acquire" and is_observed(operation) and not is_integer(operation.result):
            return f"acquire returns a fencing token, a whole number, not {operation.result!r}"
        return None

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        held, last = state
        token = "no token was given out" if last is None else f"the last token was {last} or more"
        return ("the lock is free" if not held else "the lock is held" + _by(held[0])) + f", {token}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused


class Semaphore(Model):
    """`permits` permits; several may be held by one owner. Ops: `acquire` owner, `release` owner, one permit each.

    A refused acquire says that no permit was left. State: the owners that hold one, sorted by repr, with repetitions.
    """

    name = "semaphore"
    fs = frozenset({"acquire", "release"})

    def __init__(self, permits: int = 1, initial: Any = ()) -> None:
        """initial: the owners who hold a permit at first, with repetitions. Raises ValueError."""
        owners = items(initial, "what is held of the semaphore")
        if len(owners) > permits:
            raise ValueError(f"initial: {len(owners)} owners cannot hold {permits} permits")
        self._permits = permits
        self._initial = tuple(sorted(owners, key=repr))

    def initial(self) -> State:
        return self._initial

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, tuple)
        owners: list[Hashable] = list(state)
        is_acquire = operation.f == "acquire"
        is_possible = len(owners) < self._permits if is_acquire else operation.argument in owners
        if operation.is_refused:
            return () if is_possible else (state,)
        if not is_possible:
            return ()
        if is_acquire:
            owners.append(operation.argument)
        else:
            owners.remove(operation.argument)
        return (tuple(sorted(owners, key=repr)),)

    def describe(self, state: State) -> str:
        assert isinstance(state, tuple)
        holders = f" (held by {', '.join(map(repr, state))})" if state else ""
        return f"{self._permits - len(state)} of {self._permits} permits are free{holders}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused


def _holder(initial: Any) -> tuple[Any, ...]:
    """The state in which the owner holds the lock; that in which nobody does for the empty list."""
    return _FREE if initial in ((), []) else (freeze(initial),)


def _by(owner: object) -> str:
    return "" if owner is None else f" by {owner!r}"
