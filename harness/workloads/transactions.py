"""Transactions over several keys at once: reads and appends to lists (txn-append), or reads and writes of registers (txn-register).

A few keys are in use at a time, so that transactions meet; one that was written often gives way to a fresh one, so that no list
grows long. Every element is new to its key, so that a read tells which writes came before it. Lists tell their order themselves.
The order of a register's values is only partly known, so that txn-register finds less, of more stores.
"""

from __future__ import annotations

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
    delay,
    each_thread,
    filled,
    repeat,
    salt_of,
    time_limit,
    until_ok,
)
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import RETRY_S, Positive, Weight
from histories.op import Op


class TransactionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """keys: in use at a time. writes_per_key: after so many, a fresh key takes its place. steps_min, steps_max: micro-operations
    of a transaction. read, write: weights of the mix. final_keys: how many of the latest keys every thread reads after the heal.
    final_time_limit_s: how long it tries.
    """

    keys: Positive = 5
    writes_per_key: Positive = 32
    steps_min: Positive = 1
    steps_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    read: Weight = 5
    write: Weight = 5
    final_keys: Weight = 10
    final_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0

    def __post_init__(self) -> None:
        for name in ("read", "write"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} is 0: without it the workload proves nothing")
        if self.steps_min > self.steps_max:
            raise ValueError(f"steps_min is {self.steps_min}, more than steps_max, {self.steps_max}")


class Transactions(Generator, frozen=True):
    """Transactions without end. f: of the micro-operations that write. keys: those in use, each with how often it was written.

    Invariant: keys from next_key up, and elements from next_element up, were never used.
    """

    options: TransactionOptions
    f: str
    salt: int
    keys: tuple[tuple[int, int], ...]
    next_key: int
    next_element: int = 0

    def op(self, context: Context) -> Step:
        if not context.free:
            return PENDING, self
        draws = Stream(self.salt ^ context.word)
        options = self.options
        keys, next_key, element = list(self.keys), self.next_key, self.next_element
        steps: list[list[Any]] = []
        for _ in range(options.steps_min + draws.below(options.steps_max - options.steps_min + 1)):
            at = draws.below(len(keys))
            key, count = keys[at]
            if draws.below(options.read + options.write) < options.read:
                steps.append(["r", key, None])
                continue
            steps.append([self.f, key, element])
            element += 1
            if count + 1 < options.writes_per_key:
                keys[at] = key, count + 1
            else:
                keys[at] = next_key, 0
                next_key += 1
        invocation = filled(Invocation("txn", None, steps), context)
        if invocation is None:
            return PENDING, self
        return invocation, Transactions(options, self.f, self.salt, tuple(keys), next_key, element)

    def update(self, context: Context, event: Op) -> Generator:
        return self


class FinalReads(Generator, frozen=True):
    """Every thread reads the latest keys in one transaction until it succeeds. key_count: keys used so far are below it."""

    keys_max: int
    time_limit_s: float
    key_count: int = 0

    def op(self, context: Context) -> Step:
        keys = range(max(0, self.key_count - self.keys_max), self.key_count)
        if not keys:
            return None
        reads = Invocation("txn", None, [["r", key, None] for key in keys])
        return time_limit(self.time_limit_s, each_thread(until_ok(delay(RETRY_S, repeat(reads))))).op(context)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "invoke" or event.f != "txn":
            return self
        count = max((key + 1 for _, key, _ in event.value), default=0)
        return FinalReads(self.keys_max, self.time_limit_s, count) if count > self.key_count else self

    @property
    def is_attentive(self) -> bool:
        return True


class _TransactionWorkload:
    interface = "kv"
    option_type = TransactionOptions
    _write: str

    def commands(self, options: TransactionOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"txn"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """All threads work on the same keys."""
        options: TransactionOptions = context.options
        keys = tuple((key, 0) for key in range(options.keys))
        return Transactions(options, self._write, salt_of(rng), keys, options.keys)

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        options: TransactionOptions = context.options
        return FinalReads(options.final_keys, options.final_time_limit_s) if options.final_keys else None


class AppendTransactions(_TransactionWorkload):
    """Lists; see the module."""

    name = "txn-append"
    summary = "transactions that read and append to several lists"
    data_type = "txn-append"
    _write = "append"


class RegisterTransactions(_TransactionWorkload):
    """Registers; see the module."""

    name = "txn-register"
    summary = "transactions that read and write several registers"
    data_type = "txn-register"
    _write = "w"
