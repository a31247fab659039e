"""Generators in sequence: repetition, limits, phases, and generators that end when something has happened."""

from __future__ import annotations

import operator
from collections.abc import Callable

from harness.generators.core import (
    NOTHING,
    PENDING,
    Context,
    Generatable,
    Generator,
    GeneratorError,
    Invocation,
    Pending,
    Step,
    concat,
    filled,
    lift,
)
from histories.op import Op, Process


def _require_count(argument: str, count: int | None) -> None:
    if count is not None and (not isinstance(count, int) or count < 0):
        raise GeneratorError(f"{argument} is {count!r}; it must be a whole number from 0 up")


class Limit(Generator, frozen=True):
    """At most `remaining` more ops. PENDING does not count."""

    remaining: int
    inner: Generator

    def op(self, context: Context) -> Step:
        if self.remaining <= 0:
            return None
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        return invocation, Limit(self.remaining - (invocation is not PENDING), inner)

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Limit(self.remaining, inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive


def limit(count: int, generator: Generatable) -> Generator:
    """The first `count` ops of `generator`."""
    _require_count("limit", count)
    return Limit(count, lift(generator))


def once(generator: Generatable) -> Generator:
    """The first op of `generator`."""
    return limit(1, generator)


class Repeat(Generator, frozen=True):
    """The inner generator's first op again and again: it is updated, but never advanced. remaining None: for ever."""

    remaining: int | None
    inner: Generator

    def op(self, context: Context) -> Step:
        if self.remaining == 0:
            return None
        step = self.inner.op(context)
        if step is None:
            return None
        invocation = step[0]
        if self.remaining is None or isinstance(invocation, Pending):
            return invocation, self
        return invocation, Repeat(self.remaining - 1, self.inner)

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Repeat(self.remaining, inner)


def repeat(generator: Generatable, times: int | None = None) -> Generator:
    """The first op of `generator`, `times` times, or for ever."""
    _require_count("repeat", times)
    return Repeat(times, lift(generator))


class Cycle(Generator, frozen=True):
    """The whole of `original` again and again. remaining: rounds after this one; None: for ever."""

    remaining: int | None
    original: Generator
    current: Generator

    def op(self, context: Context) -> Step:
        step = self.current.op(context)
        remaining = self.remaining
        if step is None:
            if remaining == 0:
                return None
            remaining = None if remaining is None else remaining - 1
            step = self.original.op(context)
            if step is None:
                return None  # A round without any op: another would be no different.
        invocation, current = step
        return invocation, Cycle(remaining, self.original, current)

    def update(self, context: Context, event: Op) -> Generator:
        current = self.current.update(context, event)
        return self if current is self.current else Cycle(self.remaining, self.original, current)


def cycle(generator: Generatable, times: int | None = None) -> Generator:
    """All of `generator`, `times` times over, or for ever."""
    _require_count("cycle", times)
    if times == 0:
        return NOTHING
    lifted = lift(generator)
    return Cycle(None if times is None else times - 1, lifted, lifted)


class Indexed(Generator, frozen=True):
    """make(position), make(position + 1), ..."""

    make: Callable[[int], Invocation]
    position: int

    def op(self, context: Context) -> Step:
        invocation = filled(self.make(self.position), context)
        return (PENDING, self) if invocation is None else (invocation, Indexed(self.make, self.position + 1))


def indexed(make: Callable[[int], Invocation], start: int = 0) -> Generator:
    """One op for each whole number from `start` up, such as unique writes."""
    return Indexed(make, start)


class Synchronize(Generator, frozen=True):
    """Nothing until every thread of the context is free; then the inner generator."""

    inner: Generator

    def op(self, context: Context) -> Step:
        if context.free != context.threads:
            return PENDING, self
        return self.inner.op(context)

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Synchronize(inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        return self.inner.quiet_until_ns


def synchronize(generator: Generatable) -> Generator:
    """`generator`, once all threads are free."""
    return Synchronize(lift(generator))


def phases(*generators: Generatable) -> Generator:
    """One after the other, with a barrier before each: a phase begins when every op of the one before has ended."""
    return concat(*(synchronize(generator) for generator in generators))


def then(first: Generatable, second: Generatable) -> Generator:
    """`first`, then a barrier, then `second` (in reading order, unlike Jepsen's, which is made for `->>`)."""
    return concat(first, synchronize(second))


class MainPhase(Generator, frozen=True):
    """The inner generator until the interpreter is told to stop."""

    inner: Generator

    def op(self, context: Context) -> Step:
        if context.is_stopped:
            return None
        step = self.inner.op(context)
        if step is None:
            return None
        return step[0], self if step[1] is self.inner else MainPhase(step[1])

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else MainPhase(inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        """The interpreter asks all the same once it was told to stop."""
        return self.inner.quiet_until_ns


def main_phase(generator: Generatable) -> Generator:
    """`generator`, which `Interpreter.stop` cuts short; what follows it still runs."""
    return MainPhase(lift(generator))


class UntilOk(Generator, frozen=True):
    """The inner generator until an op of its own ends ok. open: the processes that have one outstanding."""

    inner: Generator
    open: frozenset[Process] = frozenset()
    is_done: bool = False

    def op(self, context: Context) -> Step:
        if self.is_done:
            return None
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        if isinstance(invocation, Pending):
            return PENDING, UntilOk(inner, self.open)
        assert invocation.process is not None, "an invocation that comes out of op() has its process"
        return invocation, UntilOk(inner, self.open | {invocation.process})

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        if event.type == "invoke" or event.process not in self.open:
            return self if inner is self.inner else UntilOk(inner, self.open, self.is_done)
        return UntilOk(inner, self.open - {event.process}, self.is_done or event.type == "ok")


def until_ok(generator: Generatable) -> Generator:
    """Ops of `generator` until one of them ends ok. Others that are under way then end as they end."""
    return UntilOk(lift(generator))


class FlipFlop(Generator, frozen=True):
    """One op of each generator in turn; exhausted when the one whose turn it is has no more."""

    turn: int
    inner: tuple[Generator, ...]

    def op(self, context: Context) -> Step:
        step = self.inner[self.turn].op(context)
        if step is None:
            return None
        invocation, advanced = step
        inner = (*self.inner[: self.turn], advanced, *self.inner[self.turn + 1 :])
        turn = self.turn if invocation is PENDING else (self.turn + 1) % len(inner)
        return invocation, FlipFlop(turn, inner)

    def update(self, context: Context, event: Op) -> Generator:
        inner = tuple(generator.update(context, event) for generator in self.inner)
        return self if all(map(operator.is_, inner, self.inner)) else FlipFlop(self.turn, inner)


def flip_flop(*generators: Generatable) -> Generator:
    """One op of the first, one of the second, and so on around, until the one whose turn it is is exhausted."""
    return FlipFlop(0, tuple(lift(generator) for generator in generators)) if generators else NOTHING


class ProcessLimit(Generator, frozen=True):
    """Ops of at most `count` distinct processes, crashed ones included. seen: those that had one."""

    count: int
    inner: Generator
    seen: frozenset[Process] = frozenset()

    def op(self, context: Context) -> Step:
        if len(self.seen) >= self.count:
            allowed = 0
            for process in self.seen:
                bit = context.bit_of(process)
                if context.process_at(bit) == process:
                    allowed |= bit
            if not allowed & context.threads:
                return None
            context = context.restrict(allowed)
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        if isinstance(invocation, Pending):
            return PENDING, ProcessLimit(self.count, inner, self.seen)
        assert invocation.process is not None, "an invocation that comes out of op() has its process"
        return invocation, ProcessLimit(self.count, inner, self.seen | {invocation.process})

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else ProcessLimit(self.count, inner, self.seen)


def process_limit(count: int, generator: Generatable) -> Generator:
    """Ops of `generator` while no more than `count` processes took part: bounds how many crashed ops a checker must
    bear."""
    _require_count("process-limit", count)
    return ProcessLimit(count, lift(generator))
