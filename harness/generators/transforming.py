"""Changes the ops of other generators: mixes, maps, filters, watches them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from random import Random

import msgspec

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
    advanced,
    follow,
    lift,
)
from harness.generators.randomness import Stream, salt_of
from histories.op import Op

_SKIPPED_MAX = 10_000
"""Ops that a filter may refuse in a row before that counts as a mistake: without it, one that takes none would hang
the run."""


class RandomCall(Generator, frozen=True):
    """As Call, and the function gets a stream of draws."""

    function: Callable[[Context, Stream], Generatable]
    salt: int

    def op(self, context: Context) -> Step:
        if not context.free:
            return PENDING, self
        return follow(self.function(context, Stream(self.salt ^ context.word)), self, context)


def random_calls(rng: Random, function: Callable[[Context, Stream], Generatable]) -> Generator:
    """`function(context, draws)` is called for the next op or generator, again and again, until it returns None.

    Its randomness must come from `draws`, and it must change nothing: it may be asked twice about the same op.
    """
    return RandomCall(function, salt_of(rng))


class Mix(Generator, frozen=True):
    """Each op from a generator drawn by weight; exhausted ones drop out. totals: running sums of the weights."""

    inner: tuple[Generator, ...]
    weights: tuple[int, ...]
    salt: int

    def op(self, context: Context) -> Step:
        inner = self.inner
        draws = Stream(self.salt ^ context.word)
        is_pending = False
        tried: set[int] = set()
        exhausted: set[int] = set()
        while len(tried) < len(inner):
            position = self._drawn(draws, tried)
            tried.add(position)
            step = inner[position].op(context)
            if step is None:
                exhausted.add(position)
                continue
            if step[1] is not inner[position]:
                inner = (*inner[:position], step[1], *inner[position + 1 :])
            if isinstance(step[0], Pending):
                is_pending = True
                continue
            return step[0], self._without(inner, exhausted)
        return (PENDING, self._without(inner, exhausted)) if is_pending else None

    def update(self, context: Context, event: Op) -> Generator:
        inner = tuple([generator.update(context, event) for generator in self.inner])
        return self if all(map(operator.is_, inner, self.inner)) else Mix(inner, self.weights, self.salt)

    @property
    def is_attentive(self) -> bool:
        return any(generator.is_attentive for generator in self.inner)

    def _drawn(self, draws: Stream, tried: set[int]) -> int:
        """A position not yet tried, by weight."""
        ticket = draws.below(sum(self.weights) if not tried else self._weight_left(tried))
        for position, weight in enumerate(self.weights):
            if position not in tried:
                if ticket < weight:
                    return position
                ticket -= weight
        raise AssertionError("a ticket is below the sum of the weights that it is drawn from")

    def _weight_left(self, tried: set[int]) -> int:
        return sum(weight for position, weight in enumerate(self.weights) if position not in tried)

    def _without(self, inner: tuple[Generator, ...], exhausted: set[int]) -> Mix:
        if not exhausted:
            return self if inner is self.inner else Mix(inner, self.weights, self.salt)
        left = [position for position in range(len(inner)) if position not in exhausted]
        return Mix(tuple(inner[i] for i in left), tuple(self.weights[i] for i in left), self.salt)


def mix(rng: Random, generators: Sequence[Generatable], weights: Sequence[int] | None = None) -> Generator:
    """Each op from one of `generators`, drawn by weight (equal when None) among those that have one; exhausted when
    all are.

    Raises GeneratorError when weights are not positive whole numbers, one for each generator.
    """
    weights = [1] * len(generators) if weights is None else list(weights)
    if len(weights) != len(generators) or any(not isinstance(weight, int) or weight < 1 for weight in weights):
        raise GeneratorError(
            f"mix takes a positive whole weight for each of {len(generators)} generators, not {weights!r}"
        )
    return Mix(tuple(lift(generator) for generator in generators), tuple(weights), salt_of(rng)) if weights else NOTHING


class Mapped(Generator, frozen=True):
    """The inner generator's ops, transformed."""

    function: Callable[[Invocation], Invocation]
    inner: Generator

    def op(self, context: Context) -> Step:
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        mapped = self if inner is self.inner else Mapped(self.function, inner)
        return (PENDING if isinstance(invocation, Pending) else self.function(invocation)), mapped

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Mapped(self.function, inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive


def map_ops(function: Callable[[Invocation], Invocation], generator: Generatable) -> Generator:
    """Ops of `generator` through `function`, which keeps time and process. Jepsen's `map`; events reach it unmapped."""
    return Mapped(function, lift(generator))


def f_map(names: Mapping[str, str], generator: Generatable) -> Generator:
    """Ops of `generator` with their f renamed, where `names` has it: composes nemeses that use the same words."""

    def renamed(invocation: Invocation) -> Invocation:
        f = names.get(invocation.f)
        return invocation if f is None else msgspec.structs.replace(invocation, f=f)

    return Mapped(renamed, lift(generator))


class Filtered(Generator, frozen=True):
    """The ops of the inner generator for which `passes` is true."""

    passes: Callable[[Invocation], bool]
    inner: Generator

    def op(self, context: Context) -> Step:
        inner = self.inner
        for _ in range(_SKIPPED_MAX):
            step = inner.op(context)
            if step is None:
                return None
            invocation, inner = step
            if isinstance(invocation, Pending) or self.passes(invocation):
                return invocation, self if inner is self.inner else Filtered(self.passes, inner)
            context = advanced(context)  # With the same word a random generator would offer the same op again.
        raise GeneratorError(f"a filter refused {_SKIPPED_MAX} ops in a row")

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else Filtered(self.passes, inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive


def filter_ops(passes: Callable[[Invocation], bool], generator: Generatable) -> Generator:
    """The ops of `generator` for which `passes` is true. Raises GeneratorError after 10,000 refusals in a row."""
    return Filtered(passes, lift(generator))


class OnUpdate(Generator, frozen=True):
    """The inner generator; events go to a function."""

    function: Callable[[Generator, Context, Op], Generatable]
    inner: Generator

    def op(self, context: Context) -> Step:
        step = self.inner.op(context)
        if step is None:
            return None
        return step[0], self if step[1] is self.inner else OnUpdate(self.function, step[1])

    def update(self, context: Context, event: Op) -> Generator:
        inner = lift(self.function(self.inner, context, event))
        return self if inner is self.inner else OnUpdate(self.function, inner)


def on_update(function: Callable[[Generator, Context, Op], Generatable], generator: Generatable) -> Generator:
    """`generator`, replaced at each event by `function(generator, context, event)`; that may pass the event on, or
    not."""
    return OnUpdate(function, lift(generator))


class Traced(Generator, frozen=True):
    """The inner generator; every question and answer goes to `sink`."""

    name: str
    inner: Generator
    sink: Callable[[str], None]

    def op(self, context: Context) -> Step:
        step = self.inner.op(context)
        self.sink(f"{self.name} op {context.now_ns} {None if step is None else step[0]!r}")
        return None if step is None else (step[0], Traced(self.name, step[1], self.sink))

    def update(self, context: Context, event: Op) -> Generator:
        self.sink(f"{self.name} update {event!r}")
        return Traced(self.name, self.inner.update(context, event), self.sink)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive


def trace(name: str, generator: Generatable, sink: Callable[[str], None] = print) -> Generator:
    """`generator`; what it is asked, answers and hears goes to `sink`: for finding out why a generator does what it
    does."""
    return Traced(name, lift(generator), sink)
