"""Many locks, acquired and released by threads that contend for them.

The owner is the thread, which outlives its processes: when the outcome of an acquisition is unknown, the same owner releases the
lock, so that it does not stay locked for ever. A lock must never have two owners at a time, and each fencing token must be greater
than those before it. 40 ops a key on as many threads as there are nodes: more would only wait for each other.
"""

from __future__ import annotations

from random import Random
from typing import Any

from harness.generators import PENDING, Context, Generator, Invocation, Step, delay, filled
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import RETRY_S, KeyedOptions, Positive, Weight, draws_of, final_ops, is_used_up, keyed
from histories.op import Op

_IDLE_RELEASE_SHARE = 0.05
"""How many ops of a thread that holds nothing are releases all the same, which must be refused."""


class LockOptions(KeyedOptions, frozen=True, kw_only=True):
    """See KeyedOptions."""

    ops_per_key: Positive = 40
    final_keys: Weight = 3


class LockOps(Generator, frozen=True):
    """The ops on one lock. holders: bits of the threads that hold it, or may. doubts: how many ops ended `info`."""

    options: LockOptions
    salt: int
    key: int
    count: int = 0
    holders: int = 0
    doubts: int = 0

    def op(self, context: Context) -> Step:
        if is_used_up(self.options, self.count, self.doubts):
            return None
        bit = context.some_free_bit()
        if not bit:
            return PENDING, self
        is_idle_release = draws_of(self.salt, self.key, context).random() < _IDLE_RELEASE_SHARE
        f = "release" if self.holders & bit or is_idle_release else "acquire"
        owner = bit.bit_length() - 1
        invocation = filled(Invocation(f, self.key, owner, process=context.process_at(bit)), context)
        if invocation is None:
            return PENDING, self
        return invocation, LockOps(self.options, self.salt, self.key, self.count + 1, self.holders, self.doubts)

    def update(self, context: Context, event: Op) -> Generator:
        if event.key != self.key or event.type == "invoke":
            return self
        bit, holders = context.bit_of(event.process), self.holders
        if event.f == "acquire" and event.type != "fail":
            holders |= bit
        elif event.f == "release" and event.type != "info":
            holders &= ~bit
        doubts = self.doubts + (event.type == "info")
        if (holders, doubts) == (self.holders, self.doubts):
            return self
        return LockOps(self.options, self.salt, self.key, self.count, holders, doubts)


class LastTurn(Generator, frozen=True):
    """One thread frees the lock, if it is the owner, and takes and frees it once more. f: what comes next."""

    key: Any
    f: str = "release"
    is_served: bool = False

    def op(self, context: Context) -> Step:
        bit = context.some_free_bit()
        if self.f == "nothing":
            return None
        if not bit:
            return PENDING, self
        invocation = filled(
            Invocation(self.f, self.key, bit.bit_length() - 1, process=context.process_at(bit)), context
        )
        return (PENDING, self) if invocation is None else (invocation, self)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type == "invoke" or event.key != self.key:
            return self
        match event.f, event.type:
            case "acquire", "ok":
                return LastTurn(self.key, "release", is_served=True)
            case "acquire", "fail":
                return self
            case "release", "ok" | "fail":
                return LastTurn(self.key, "nothing" if self.is_served else "acquire", self.is_served)
        return LastTurn(self.key, "release", self.is_served)  # It may hold the lock.


class LockWorkload:
    """Keys from 0 up; see the module."""

    name = "lock"
    summary = "many locks with fencing tokens, acquired and released"
    interface = "lock"
    data_type = "lock"
    option_type = LockOptions

    def commands(self, options: LockOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"acquire", "release"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a lock as nodes, so that each node is asked."""
        options: LockOptions = context.options
        return keyed(context, rng, len(context.nodes), lambda salt, key: LockOps(options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every thread, and so every node, has each of the latest locks once more."""
        return final_ops(context, lambda key: delay(RETRY_S, LastTurn(key)))
