"""Reads, writes and compare-and-sets on many registers, each for a bounded number of ops.

By default every written value is unique within its key, so that a read tells exactly which write it saw, and a stale
one cannot hide behind an equal value. A cas mostly starts from the value that was seen last, so that it has a chance;
sometimes from the one before that, so that a replica that is behind gets its chance to accept it. `values=small`
draws from a few values instead, as Jepsen's classic does: there, delayed writes collide more often (ABA), and the
checker has to work harder.
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Literal

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

_STALE_CAS_SHARE = 0.2
"""How many cas start from the value before the last: enough that each key has some, few enough that most cas
succeed."""

_RETRY_S = 0.05
"""Between two tries of one final read: short against an election, long enough not to drown one."""

Weight = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class RegisterOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ops_per_key: then its threads take the next key. threads_per_key: 0 for twice the nodes, so that each key is
    asked of every node while another op is under way there. keys_max: 0 for no end. read, write, cas: weights of the
    mix. values: see the module; values_max: how many, when small. final_keys: how many of the latest keys every
    thread reads after the heal.
    """

    ops_per_key: Positive = 200
    threads_per_key: Weight = 0
    keys_max: Weight = 0
    read: Weight = 5
    write: Weight = 3
    cas: Weight = 2
    values: Literal["unique", "small"] = "unique"
    values_max: Annotated[int, msgspec.Meta(ge=2)] = 5
    final_keys: Weight = 10
    final_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0

    def __post_init__(self) -> None:
        if self.write == 0:
            raise ValueError("write is 0: a register that nobody writes proves nothing")


class KeyOps(Generator, frozen=True):
    """The ops on one key. seen: the values that clients last read or wrote, latest first, at most two.

    Invariant: values from next_value up were never written to this key.
    """

    options: RegisterOptions
    salt: int
    key: int
    left: int
    next_value: int = 0
    seen: tuple[Any, ...] = ()

    def op(self, context: Context) -> Step:
        if not self.left:
            return None
        if not context.free:
            return PENDING, self
        # Salted by the key as well, or the groups that work side by side would march in step.
        draws = Stream(self.salt ^ context.word ^ self.key)
        invocation = filled(self._drawn(draws), context)
        if invocation is None:
            return PENDING, self
        uses_value = invocation.f != "read"
        return invocation, self._with(self.left - 1, self.next_value + uses_value, self.seen)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "ok" or event.key != self.key:
            return self
        match event.f, event.value:
            case "cas", [_, value]:
                pass
            case _, value:
                pass
        if value is None or value in self.seen[:1]:
            return self
        return self._with(self.left, self.next_value, (value, *self.seen[:1]))

    def _with(self, left: int, next_value: int, seen: tuple[Any, ...]) -> KeyOps:
        return KeyOps(self.options, self.salt, self.key, left, next_value, seen)

    def _drawn(self, draws: Stream) -> Invocation:
        options = self.options
        ticket = draws.below(options.read + options.write + options.cas)
        if ticket < options.read:
            return Invocation("read", self.key)
        is_write = ticket < options.read + options.write
        if options.values == "small":
            new = draws.below(options.values_max)
            return (
                Invocation("write", self.key, new)
                if is_write
                else Invocation("cas", self.key, [draws.below(options.values_max), new])
            )
        if is_write or not self.seen:
            return Invocation("write", self.key, self.next_value)
        old = self.seen[-1 if draws.random() < _STALE_CAS_SHARE else 0]
        return Invocation("cas", self.key, [old, self.next_value])


class FinalReads(Generator, frozen=True):
    """Every thread reads each of the latest keys until it succeeds. keys: the latest ones used so far, in order of
    first use."""

    keys_max: int
    time_limit_s: float
    keys: tuple[Any, ...] = ()

    def op(self, context: Context) -> Step:
        reads = concat(*(until_ok(delay(_RETRY_S, repeat(Invocation("read", key)))) for key in self.keys))
        return time_limit(self.time_limit_s, each_thread(reads)).op(context)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "invoke" or not event.is_client or event.key in self.keys:
            return self
        return FinalReads(self.keys_max, self.time_limit_s, (*self.keys, event.key)[-self.keys_max :])

    @property
    def is_attentive(self) -> bool:
        return True


class RegisterWorkload:
    """Keys from 0 up; see the module."""

    name = "register"
    summary = "reads, writes and compare-and-sets on many registers"
    interface = "kv"
    option_type = RegisterOptions
    data_type = "register"

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Groups of threads, each on one key for ops_per_key ops, then on the next."""
        options: RegisterOptions = context.options
        salt = salt_of(rng)

        def make(key: int) -> Generator:
            return KeyOps(options, salt, key, options.ops_per_key)

        threads_per_key = min(options.threads_per_key or 2 * len(context.nodes), context.concurrency)
        return concurrent_keys(context.concurrency, threads_per_key, make, options.keys_max or None)

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every thread, and so every node, reads the latest keys: what was lost or is stale shows at the latest
        here."""
        options: RegisterOptions = context.options
        return FinalReads(options.final_keys, options.final_time_limit_s) if options.final_keys else None
