"""Values appended to many lists, and reads of the whole list.

Every appended value is new to its key, so that a read tells exactly which appends came before it, and in which order. 40 ops a key
on as many threads as there are nodes: appends whose outcome is unknown may come in any order until a read shows them.
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


class AppendOptions(KeyedOptions, frozen=True, kw_only=True):
    """append, read: weights of the mix. See KeyedOptions."""

    ops_per_key: Positive = 40
    append: Weight = 5
    read: Weight = 5

    def __post_init__(self) -> None:
        require_some(self, "append", "read")


def draw(options: AppendOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """An append of the number, or a read."""
    f = chosen(draws, ("append", options.append), ("read", options.read))
    return f, number if f == "append" else None


class AppendWorkload:
    """Keys from 0 up; see the module."""

    name = "append"
    summary = "values appended to many lists, and reads of them"
    interface = "kv"
    data_type = "append"
    option_type = AppendOptions

    def commands(self, options: AppendOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "append", "read", final="read")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a key as nodes, so that each node is asked."""
        options: AppendOptions = context.options
        return keyed(context, rng, len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        return final_ops(context, read_until_ok)
