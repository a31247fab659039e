"""Additions to many counters, and reads of them.

Every amount is a power of two of its own within its key, so that a read tells exactly which additions it counted: a lost addition
cannot hide behind another. So a key can take only as many additions as the counter has bits. 30 ops a key: an addition whose
outcome is unknown doubles the sums that are possible until a read tells them apart.
"""

from __future__ import annotations

from random import Random

from harness.generators import Generator, Stream
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import (
    DrawnOps,
    KeyedOptions,
    Positive,
    Weight,
    chosen,
    final_ops,
    issued,
    keyed,
    read_until_ok,
    require_some,
)

_BITS = 30
"""Amounts stay below what one addition may add (targets.machines.counter)."""


class CounterOptions(KeyedOptions, frozen=True, kw_only=True):
    """add, read: weights of the mix. ops_per_key: beyond 30 ops, amounts come again. See KeyedOptions."""

    ops_per_key: Positive = 30
    add: Weight = 5
    read: Weight = 5

    def __post_init__(self) -> None:
        require_some(self, "add", "read")


def draw(options: CounterOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """An addition of the number's own bit, or a read."""
    f = chosen(draws, ("add", options.add), ("read", options.read))
    return f, 1 << number % _BITS if f == "add" else None


class CounterWorkload:
    """Keys from 0 up; see the module."""

    name = "counter"
    summary = "additions to many counters, and reads of them"
    interface = "counter"
    data_type = "counter"
    option_type = CounterOptions

    def commands(self, options: CounterOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "add", "read", final="read")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Twice as many threads on a key as nodes, so that each node is asked while another op is under way there."""
        options: CounterOptions = context.options
        return keyed(context, rng, 2 * len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        return final_ops(context, read_until_ok)
