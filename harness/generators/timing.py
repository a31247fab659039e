"""Decides when ops happen: rate, stagger, delay, time-limit, sleep. Intervals are given in seconds, as on the command line."""

from __future__ import annotations

import math
from random import Random

import msgspec

from harness.generators.core import (
    PENDING,
    Context,
    Generatable,
    Generator,
    GeneratorError,
    Invocation,
    Once,
    Pending,
    Step,
    is_due,
    lift,
    retimed,
    soonest,
    time_of,
)
from harness.generators.randomness import Stream, salt_of
from histories.op import Op
from histories.units import NS_PER_S

LAG_NS_MAX = 100 * 1_000_000
"""How far a late driver may fall behind the plan and still catch up. Timers of an event loop are a millisecond late,
which at 200 ops/s would otherwise cost a fifth of the rate; a stall of a second must not be followed by a burst."""


def nanoseconds(argument: str, seconds: float) -> int:
    """Seconds as ns. Raises GeneratorError, naming the argument, for what is not a length of time."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise GeneratorError(f"{argument} is {seconds!r}; it must be a number of seconds from 0 up")
    return round(seconds * NS_PER_S)


class Paced(Generator, frozen=True):
    """Ops at least, or on average, `interval_ns` apart. next_ns: the next op's planned time; None before the first."""

    interval_ns: int
    inner: Generator
    salt: int | None
    next_ns: int | None = None

    def op(self, context: Context) -> Step:
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        if isinstance(invocation, Pending):
            return PENDING, self if inner is self.inner else self._with(inner)
        time = time_of(invocation)
        planned = time if self.next_ns is None else self.next_ns
        if self.salt is None:
            # An exact delay counts from when the op really happens: two are never closer than it.
            planned = max(planned, time)
            after = planned + self.interval_ns
        else:
            after = max(planned, time - LAG_NS_MAX) + round(
                Stream(self.salt ^ context.word).exponential(self.interval_ns)
            )
        paced = Paced(self.interval_ns, inner, self.salt, after)
        return (retimed(invocation, planned) if planned > time else invocation), paced

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else self._with(inner)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        """The interpreter notices the end of a staggered generator when its next op would be due, and that of a delayed one at
        once."""
        return 0 if self.salt is None else self.next_ns or 0

    def _with(self, inner: Generator) -> Paced:
        return Paced(self.interval_ns, inner, self.salt, self.next_ns)


def stagger(rng: Random, interval_s: float, generator: Generatable) -> Generator:
    """Ops of `generator`, on average `interval_s` apart over all threads, exponentially distributed (as Jepsen since
    0.3.14)."""
    return Paced(nanoseconds("stagger's interval", interval_s), lift(generator), salt_of(rng))


def rate(rng: Random, rate_hz: float, generator: Generatable) -> Generator:
    """A Poisson process of `rate_hz` ops a second over all threads; 0: as fast as threads are free."""
    if not (math.isfinite(rate_hz) and rate_hz >= 0):
        raise GeneratorError(f"rate is {rate_hz!r}; it must be a number of ops a second from 0 up")
    return stagger(rng, 1 / rate_hz, generator) if rate_hz else lift(generator)


def delay(interval_s: float, generator: Generatable) -> Generator:
    """Ops of `generator`, exactly `interval_s` apart when threads are free, and never closer."""
    return Paced(nanoseconds("delay's interval", interval_s), lift(generator), None)


class TimeLimit(Generator, frozen=True):
    """Exhausted `limit_ns` after its first op. cutoff_ns: None before that."""

    limit_ns: int
    inner: Generator
    cutoff_ns: int | None = None

    def op(self, context: Context) -> Step:
        cutoff = self.cutoff_ns
        if cutoff is not None and context.now_ns >= cutoff:
            return None
        step = self.inner.op(context)
        if step is None:
            return None
        invocation, inner = step
        if not isinstance(invocation, Pending):
            if cutoff is None:
                cutoff = time_of(invocation) + self.limit_ns
            if time_of(invocation) >= cutoff:
                return None
        if inner is self.inner and cutoff == self.cutoff_ns:
            return invocation, self
        return invocation, TimeLimit(self.limit_ns, inner, cutoff)

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        return self if inner is self.inner else TimeLimit(self.limit_ns, inner, self.cutoff_ns)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive

    @property
    def quiet_until_ns(self) -> int:
        quiet_ns, cutoff = self.inner.quiet_until_ns, self.cutoff_ns
        return quiet_ns if cutoff is None or quiet_ns < cutoff else 0  # It is over, which it says when asked.


def time_limit(limit_s: float, generator: Generatable) -> Generator:
    """Ops of `generator` for `limit_s` from its first op on; none at or after that."""
    return TimeLimit(nanoseconds("time-limit", limit_s), lift(generator))


class Lasting(Generator, frozen=True):
    """`inner` beside `also`; exhausted when `limit_ns` have passed since its first op and `also` is exhausted as well, or
    `late_ns_max` after that at the latest.

    also: None once it is exhausted. cutoff_ns: None before the first op.
    """

    limit_ns: int
    inner: Generator
    also: Generator | None
    late_ns_max: int | None
    cutoff_ns: int | None = None

    def op(self, context: Context) -> Step:
        cutoff, inner, also = self.cutoff_ns, self.inner, self.also
        if cutoff is not None and self.late_ns_max is not None and context.now_ns >= cutoff + self.late_ns_max:
            return None
        now_ns = context.now_ns
        step: Step = None
        is_quiet = also is not None and cutoff is not None and now_ns < cutoff and also.quiet_until_ns > now_ns
        if is_quiet:
            # Nearly always: whatever `also` has comes later, so that an op of `inner` that is due need not be compared with it.
            step = inner.op(context)
            if step is not None and is_due(step, context):
                return step[0], Lasting(self.limit_ns, step[1], also, self.late_ns_max, cutoff)
        other = None if also is None else also.op(context)
        if other is None:
            if cutoff is not None and now_ns >= cutoff:
                return None
            also = None
        # An op that is due now is taken without a comparison.
        if not is_quiet and not (other is not None and is_due(other, context)):
            step = inner.op(context)
        if soonest(other, step):
            assert step is not None, "None is never the sooner one"
            invocation, inner = step
        elif other is not None:
            invocation, also = other
        else:
            return None
        if not isinstance(invocation, Pending):
            if cutoff is None:
                cutoff = time_of(invocation) + self.limit_ns
            if also is None and time_of(invocation) >= cutoff:
                return None
        if inner is self.inner and also is self.also and cutoff == self.cutoff_ns:
            return invocation, self
        return invocation, Lasting(self.limit_ns, inner, also, self.late_ns_max, cutoff)

    def update(self, context: Context, event: Op) -> Generator:
        inner = self.inner.update(context, event)
        also = None if self.also is None else self.also.update(context, event)
        if inner is self.inner and also is self.also:
            return self
        return Lasting(self.limit_ns, inner, also, self.late_ns_max, self.cutoff_ns)

    @property
    def is_attentive(self) -> bool:
        return self.inner.is_attentive or (self.also is not None and self.also.is_attentive)

    @property
    def quiet_until_ns(self) -> int:
        quiet_ns, cutoff = self.inner.quiet_until_ns, self.cutoff_ns
        if self.also is not None:
            quiet_ns = min(quiet_ns, self.also.quiet_until_ns)
        if cutoff is None or quiet_ns < cutoff:
            return quiet_ns
        return cutoff if self.also is not None else 0  # It is over, which it says when asked.


def lasting(limit_s: float, generator: Generatable, also: Generatable, late_s_max: float | None = None) -> Generator:
    """Ops of `generator` for `limit_s` from the first op on, and for as long as `also` beside it has some: none of `also`
    is lost when its thread is late. late_s_max: how much longer than `limit_s` it may take; None: as long as it takes."""
    late_ns_max = None if late_s_max is None else nanoseconds("lasting's lateness", late_s_max)
    return Lasting(nanoseconds("lasting's limit", limit_s), lift(generator), lift(also), late_ns_max)


def sleep(interval_s: float) -> Generator:
    """One thread does nothing for `interval_s`. Not part of the history."""
    return Once(Invocation("sleep", value=nanoseconds("sleep", interval_s), type="sleep"))


def log(message: str) -> Generator:
    """Hands `message` to the log. Not part of the history."""
    return Once(Invocation("log", value=message, type="log"))


def timed(*schedule: tuple[float, Invocation]) -> list[Invocation]:
    """Each invocation not before its time, in seconds since the run began: a schedule as a sequence."""
    return [
        msgspec.structs.replace(invocation, time=nanoseconds("a schedule's time", time_s))
        for time_s, invocation in schedule
    ]
