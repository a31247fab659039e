"""What workloads on many independent objects share: groups of threads that take one key after the other, and final ops on the
latest keys.

Checking a key costs more the more ops it has that overlap or are indeterminate, for most data types steeply. So each key gets
few ops, and many keys are used: the docstring of each workload says how many, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Annotated, Any

import msgspec

from harness.generators import (
    PENDING,
    Context,
    Generator,
    Invocation,
    Step,
    Stream,
    concat,
    concurrent_keys,
    delay,
    each_thread,
    filled,
    repeat,
    salt_of,
    time_limit,
    until_ok,
)
from harness.workloads.base import WorkloadContext
from histories.op import Op

RETRY_S = 0.05
"""Between two tries of one final op: short against an election, long enough not to drown one."""

Weight = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class KeyedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ops_per_key: after so many ops, a key's threads take the next key. indeterminate_per_key: they also do so when so many of the
    key's ops have ended `info`, because each multiplies what the check has to consider. threads_per_key: 0 for as many as the
    workload finds best. keys_max: 0 for no limit. final_keys: on how many of the latest keys every thread works after the heal.
    final_time_limit_s: how long it does.
    """

    ops_per_key: Positive = 200
    indeterminate_per_key: Positive = 3
    threads_per_key: Weight = 0
    keys_max: Weight = 0
    final_keys: Weight = 10
    final_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0


class DrawnOps(Generator, frozen=True):
    """The ops on one key, each drawn anew. draw: (options, randomness, number) -> f and value. number: counts the key's ops from 0,
    and so makes unique values. doubts: how many ended `info`."""

    draw: Callable[[Any, Stream, int], tuple[str, Any]]
    options: Any
    salt: int
    key: int
    number: int = 0
    doubts: int = 0

    def op(self, context: Context) -> Step:
        if is_used_up(self.options, self.number, self.doubts):
            return None
        if not context.free:
            return PENDING, self
        f, value = self.draw(self.options, draws_of(self.salt, self.key, context), self.number)
        invocation = filled(Invocation(f, self.key, value), context)
        if invocation is None:
            return PENDING, self
        return invocation, DrawnOps(self.draw, self.options, self.salt, self.key, self.number + 1, self.doubts)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "info" or event.key != self.key:
            return self
        return DrawnOps(self.draw, self.options, self.salt, self.key, self.number, self.doubts + 1)


def is_used_up(options: KeyedOptions, ops_count: int, doubts: int) -> bool:
    """Whether a key with so many ops, of which `doubts` ended `info`, gives way to the next."""
    return ops_count >= options.ops_per_key or doubts >= options.indeterminate_per_key


def draws_of(salt: int, key: int, context: Context) -> Stream:
    """The randomness of the next op on this key."""
    # Salted by the key as well, or the groups that work side by side would march in step.
    return Stream(salt ^ context.word ^ key)


def keyed(
    context: WorkloadContext, rng: Random, threads_per_key: int, key_ops: Callable[[int, int], Generator]
) -> Generator:
    """Groups of threads, each on one key until its generator, key_ops(salt, key), is exhausted, then on the next.

    threads_per_key: the number that holds when the options leave it to the workload.
    """
    options: KeyedOptions = context.options
    salt = salt_of(rng)
    threads = min(options.threads_per_key or threads_per_key, context.concurrency)
    return concurrent_keys(context.concurrency, threads, lambda key: key_ops(salt, key), options.keys_max or None)


class FinalOps(Generator, frozen=True):
    """Every thread does what `make` says on each of the latest keys, one after the other. keys: the latest ones used so far, in
    order of first use."""

    make: Callable[[Any], Generator]
    keys_max: int
    time_limit_s: float
    keys: tuple[Any, ...] = ()

    def op(self, context: Context) -> Step:
        ops = concat(*(self.make(key) for key in self.keys))
        return time_limit(self.time_limit_s, each_thread(ops)).op(context)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "invoke" or not event.is_client or event.key in self.keys:
            return self
        return FinalOps(self.make, self.keys_max, self.time_limit_s, (*self.keys, event.key)[-self.keys_max :])

    @property
    def is_attentive(self) -> bool:
        return True


def final_ops(context: WorkloadContext, make: Callable[[Any], Generator]) -> Generator | None:
    """`make(key)` on each of the latest keys, by every thread, and so on every node; None where the options want none."""
    options: KeyedOptions = context.options
    return FinalOps(make, options.final_keys, options.final_time_limit_s) if options.final_keys else None


def read_until_ok(key: Any) -> Generator:
    """Reads the key until a read succeeds: a lost or stale value shows here at the latest."""
    return until_ok(delay(RETRY_S, repeat(Invocation("read", key))))


def chosen(draws: Stream, *weights: tuple[str, int]) -> str:
    """One of the names, as often as its weight says."""
    ticket = draws.below(sum(weight for _, weight in weights))
    for name, weight in weights:
        if ticket < weight:
            return name
        ticket -= weight
    raise AssertionError("the ticket is below the sum")


def issued(options: Any, *weighted: str, final: str | None = None) -> frozenset[str]:
    """The ops of these names whose weight is not 0, and `final` where the options want final ops."""
    names = {name for name in weighted if getattr(options, name)}
    return frozenset(names | {final} if final and options.final_keys else names)


def require_some(options: KeyedOptions, *names: str) -> None:
    """Raises ValueError for a weight that is 0 and without which the workload proves nothing."""
    for name in names:
        if getattr(options, name) == 0:
            raise ValueError(f"{name} is 0: without it the workload proves nothing")
