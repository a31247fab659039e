"""Small transactions that look for one anomaly each, as Jepsen's tests do: long fork, write skew, causal reverse, dirty reads, and
monotonic keys.

All but the last work on groups of fresh keys. A group gets a few transactions, one after the other from whatever threads are free,
so that they overlap; then a fresh group takes its place. What each transaction does depends on its number within its group.
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
from harness.workloads.keyed import RETRY_S, Positive, Weight, chosen
from histories.op import Op

Steps = list[list[Any]]


class GroupOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """groups: worked on at a time. keys_per_group: of each. reads_per_group: transactions that read the whole group, beside those
    that write. final_groups: how many of the latest groups every thread reads after the heal. final_time_limit_s: for how long.
    """

    groups: Positive = 3
    keys_per_group: Annotated[int, msgspec.Meta(ge=2, le=100)] = 2
    reads_per_group: Positive = 6
    final_groups: Weight = 5
    final_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0


class CausalReverseOptions(GroupOptions, frozen=True, kw_only=True):
    """See GroupOptions."""

    keys_per_group: Annotated[int, msgspec.Meta(ge=2, le=100)] = 5


class DirtyReadsOptions(GroupOptions, frozen=True, kw_only=True):
    """reads_per_group: and as many transactions that write. See GroupOptions."""

    keys_per_group: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    reads_per_group: Annotated[int, msgspec.Meta(ge=2)] = 6


class GroupOps(Generator, frozen=True):
    """Transactions without end. groups: those in use, each with how many transactions it got. Invariant: groups from `fresh`
    up were never used."""

    workload: _Grouped
    options: GroupOptions
    salt: int
    groups: tuple[tuple[int, int], ...]
    fresh: int

    def op(self, context: Context) -> Step:
        if not context.free:
            return PENDING, self
        at = Stream(self.salt ^ context.word).below(len(self.groups))
        group, number = self.groups[at]
        # One stream for the whole group: its plan is the same at each of its transactions.
        steps = self.workload.steps(self.options, Stream(self.salt ^ (group + 1)), group, number)
        invocation = filled(Invocation("txn", None, steps), context)
        if invocation is None:
            return PENDING, self
        is_last = number + 1 == self.workload.transactions(self.options)
        groups, fresh = list(self.groups), self.fresh + is_last
        groups[at] = (self.fresh, 0) if is_last else (group, number + 1)
        return invocation, GroupOps(self.workload, self.options, self.salt, tuple(groups), fresh)


class FinalGroups(Generator, frozen=True):
    """Every thread reads the latest groups until it succeeds, each in one transaction. keys: of the latest groups, as they were
    used; those of one group stand together."""

    options: GroupOptions
    seen: tuple[tuple[Any, ...], ...] = ()

    def op(self, context: Context) -> Step:
        options = self.options
        if not self.seen:
            return None
        reads = [
            until_ok(delay(RETRY_S, repeat(Invocation("txn", None, [["r", key, None] for key in keys]))))
            for keys in self.seen[-options.final_groups :]
        ]
        return time_limit(options.final_time_limit_s, each_thread(reads)).op(context)

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "invoke" or event.f != "txn":
            return self
        keys = tuple(key for f, key, _ in event.value if f == "r")
        if len(keys) < self.options.keys_per_group or keys in self.seen:
            return self
        return FinalGroups(self.options, (*self.seen, keys)[-self.options.final_groups :])

    @property
    def is_attentive(self) -> bool:
        return True


class _Grouped:
    """name is the data type too: see checkers.isolation."""

    interface = "kv"
    option_type: Any = GroupOptions

    def transactions(self, options: GroupOptions) -> int:
        """How many a group gets."""
        return options.keys_per_group + options.reads_per_group

    def steps(self, options: GroupOptions, draws: Stream, group: int, number: int) -> Steps:
        """The micro-operations of the group's transaction with this number."""
        raise NotImplementedError

    def commands(self, options: GroupOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"txn"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """All threads, on a few groups at a time."""
        options: GroupOptions = context.options
        groups = tuple((group, 0) for group in range(options.groups))
        return GroupOps(self, options, salt_of(rng), groups, options.groups)

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        options: GroupOptions = context.options
        return FinalGroups(options) if options.final_groups else None


def _keys(options: GroupOptions, group: int) -> range:
    return range(group * options.keys_per_group, (group + 1) * options.keys_per_group)


def _reads(options: GroupOptions, group: int) -> Steps:
    return [["r", key, None] for key in _keys(options, group)]


class LongFork(_Grouped):
    """One transaction after the other writes each key of the group, at a drawn moment; all others read the group."""

    name = "long-fork"
    summary = "single writes, and reads of groups of keys that must see them in one order"
    data_type = "long-fork"

    def steps(self, options: GroupOptions, draws: Stream, group: int, number: int) -> Steps:
        first = draws.below(max(1, options.reads_per_group // 2))
        written = number - first
        if 0 <= written < options.keys_per_group:
            return [["w", _keys(options, group)[written], 1]]
        return _reads(options, group)


class WriteSkew(_Grouped):
    """For each key of a group, one transaction reads all of them and writes this one; then the group is read."""

    name = "write-skew"
    summary = "transactions that read two keys and write one of them, each another"
    data_type = "write-skew"

    def steps(self, options: GroupOptions, draws: Stream, group: int, number: int) -> Steps:
        reads = _reads(options, group)
        return [*reads, ["w", _keys(options, group)[number], 1]] if number < options.keys_per_group else reads


class CausalReverse(_Grouped):
    """The keys of a group are written one after the other, with reads of all of them in between."""

    name = "causal-reverse"
    summary = "writes one after the other, and reads that must not see a later one without an earlier one"
    data_type = "causal-reverse"
    option_type = CausalReverseOptions

    def transactions(self, options: GroupOptions) -> int:
        return options.keys_per_group + max(options.reads_per_group, options.keys_per_group)

    def steps(self, options: GroupOptions, draws: Stream, group: int, number: int) -> Steps:
        if number % 2 == 0 and number // 2 < options.keys_per_group:
            return [["w", _keys(options, group)[number // 2], 1]]
        return _reads(options, group)


class DirtyReads(_Grouped):
    """Transactions write one value to all keys of a group, and others read them all. Every second one that writes must fail as a
    whole: its last step appends to a key that it has just given a number."""

    name = "dirty-reads"
    summary = "transactions that fail after they wrote, and reads that must not see it"
    data_type = "dirty-reads"
    option_type = DirtyReadsOptions

    def transactions(self, options: GroupOptions) -> int:
        return 2 * options.reads_per_group

    def steps(self, options: GroupOptions, draws: Stream, group: int, number: int) -> Steps:
        if number % 2:
            return _reads(options, group)
        keys = _keys(options, group)
        writes: Steps = [["w", key, number] for key in keys]
        return [*writes, ["append", keys[0], number]] if number % 4 else writes


class MonotonicOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """read, write: weights of the mix. keys_max: a transaction that reads reads the keys of so many processes that wrote last.
    final_time_limit_s: for how long every client tries to read in the end; 0: never.
    """

    read: Positive = 5
    write: Positive = 5
    keys_max: Annotated[int, msgspec.Meta(ge=2, le=100)] = 8
    final_time_limit_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0


class MonotonicOps(Generator, frozen=True):
    """Each process writes 1, 2, 3, ... to a key of its own, which has its number: one whose write ended `info` is gone, and with it
    its key, so that values only grow. counts: how many each process has written, those that wrote last at the end; processes that
    are gone drop out after a while."""

    options: MonotonicOptions
    salt: int
    counts: tuple[tuple[Any, int], ...] = ()

    def op(self, context: Context) -> Step:
        bit = context.some_free_bit()
        if not bit:
            return PENDING, self
        process = context.process_at(bit)
        draws = Stream(self.salt ^ context.word)
        f = chosen(draws, ("r", self.options.read), ("w", self.options.write))
        if f == "r" and len(self.counts) > 1:
            reads = [["r", key, None] for key, _ in self.counts[-self.options.keys_max :]]
            invocation = filled(Invocation("txn", None, reads, process=process), context)
            return (PENDING, self) if invocation is None else (invocation, self)
        counts = dict(self.counts)
        count = counts.pop(process, 0) + 1
        invocation = filled(Invocation("txn", None, [["w", process, count]], process=process), context)
        if invocation is None:
            return PENDING, self
        latest = (*counts.items(), (process, count))
        gone = len(latest) - self.options.keys_max
        kept = tuple(each for at, each in enumerate(latest) if at >= gone or each[0] in context.processes)
        return invocation, MonotonicOps(self.options, self.salt, kept)


class FinalMonotonic(Generator, frozen=True):
    """Every thread reads the latest keys until it succeeds."""

    options: MonotonicOptions
    keys: tuple[Any, ...] = ()

    def op(self, context: Context) -> Step:
        if not self.keys:
            return None
        reads = Invocation("txn", None, [["r", key, None] for key in self.keys])
        return time_limit(self.options.final_time_limit_s, each_thread(until_ok(delay(RETRY_S, repeat(reads))))).op(
            context
        )

    def update(self, context: Context, event: Op) -> Generator:
        if event.type != "invoke" or event.f != "txn" or event.value[0][0] != "w" or event.value[0][1] in self.keys:
            return self
        return FinalMonotonic(self.options, (*self.keys, event.value[0][1])[-self.options.keys_max :])

    @property
    def is_attentive(self) -> bool:
        return True


class Monotonic:
    """See MonotonicOps."""

    name = "monotonic"
    summary = "keys whose values only grow, and reads of several of them that must fit into one order"
    interface = "kv"
    data_type = "monotonic"
    option_type = MonotonicOptions

    def commands(self, options: MonotonicOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"txn"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """All threads, on the keys of the processes that wrote last."""
        return MonotonicOps(context.options, salt_of(rng))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        options: MonotonicOptions = context.options
        return FinalMonotonic(options) if options.final_time_limit_s else None
