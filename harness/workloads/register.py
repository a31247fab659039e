"""Reads, writes and compare-and-sets on many registers, each for a bounded number of ops.

By default every written value is unique within its key, so that a read tells exactly which write it saw, and a stale one cannot
hide behind an equal value. A cas mostly starts from the value that was seen last, so that it has a chance; sometimes from the one
before that, so that a replica that is behind may wrongly accept it. `values=small` draws from a few values instead, as Jepsen's
classic does: there, delayed writes collide more often (ABA), and the checker has to work harder.
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Literal

import msgspec

from harness.generators import PENDING, Context, Generator, Invocation, Step, Stream, filled
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import (
    KeyedOptions,
    Positive,
    Weight,
    draws_of,
    final_ops,
    is_used_up,
    issued,
    keyed,
    read_until_ok,
    require_some,
)
from histories.op import Op

_STALE_CAS_SHARE = 0.2
"""How many cas start from the value before the last: enough that each key has some, few enough that most cas
succeed."""


class RegisterOptions(KeyedOptions, frozen=True, kw_only=True):
    """read, write, cas: weights of the mix. values: see the module; values_max: how many, when small. See KeyedOptions.

    A register's check is cheap, whatever ends `info`: only its ops use up a key.
    """

    indeterminate_per_key: Positive = 200
    read: Weight = 5
    write: Weight = 3
    cas: Weight = 2
    values: Literal["unique", "small"] = "unique"
    values_max: Annotated[int, msgspec.Meta(ge=2)] = 5

    def __post_init__(self) -> None:
        require_some(self, "write")
        if not (self.read or self.cas or self.final_keys):
            raise ValueError("read, cas and final_keys are 0: writes that nobody reads prove nothing")


class KeyOps(Generator, frozen=True):
    """The ops on one key. seen: the values that clients last read or wrote, latest first, at most two.

    Invariant: values from next_value up were never written to this key.
    """

    options: RegisterOptions
    salt: int
    key: int
    count: int = 0
    doubts: int = 0
    next_value: int = 0
    seen: tuple[Any, ...] = ()

    def op(self, context: Context) -> Step:
        if is_used_up(self.options, self.count, self.doubts):
            return None
        if not context.free:
            return PENDING, self
        invocation = filled(self._drawn(draws_of(self.salt, self.key, context)), context)
        if invocation is None:
            return PENDING, self
        uses_value = invocation.f != "read"
        return invocation, self._with(self.count + 1, self.doubts, self.next_value + uses_value, self.seen)

    def update(self, context: Context, event: Op) -> Generator:
        if event.key != self.key:
            return self
        if event.type == "info":
            return self._with(self.count, self.doubts + 1, self.next_value, self.seen)
        if event.type != "ok":
            return self
        match event.f, event.value:
            case "cas", [_, value]:
                pass
            case _, value:
                pass
        if value is None or value in self.seen[:1]:
            return self
        return self._with(self.count, self.doubts, self.next_value, (value, *self.seen[:1]))

    def _with(self, count: int, doubts: int, next_value: int, seen: tuple[Any, ...]) -> KeyOps:
        return KeyOps(self.options, self.salt, self.key, count, doubts, next_value, seen)

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


class RegisterWorkload:
    """Keys from 0 up; see the module."""

    name = "register"
    summary = "reads, writes and compare-and-sets on many registers"
    interface = "kv"
    option_type = RegisterOptions
    data_type = "register"

    def commands(self, options: RegisterOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "read", "write", "cas", final="read")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Twice as many threads on a key as nodes, so that each node is asked while another op is under way there."""
        options: RegisterOptions = context.options
        return keyed(context, rng, 2 * len(context.nodes), lambda salt, key: KeyOps(options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        return final_ops(context, read_until_ok)
