"""Elements added to many sets, some of them removed again, looks for one of them, and reads of the whole set.

Every added element is new to its key. A removal or a look takes one of the last few that were added, so that it meets additions
that are still under way. 40 ops a key: an addition or removal whose outcome is unknown doubles the sets that are possible until a
read tells them apart, and a read tells of all of them at once.
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

_LATEST = 5
"""A removal or a look goes back at most so many ops."""


class SetOptions(KeyedOptions, frozen=True, kw_only=True):
    """add, remove, contains, read: weights of the mix. See KeyedOptions."""

    ops_per_key: Positive = 40
    add: Weight = 4
    remove: Weight = 1
    contains: Weight = 2
    read: Weight = 4

    def __post_init__(self) -> None:
        require_some(self, "add", "read")


def draw(options: SetOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """An addition of the number; or a removal of, or a look for, one of the last numbers, which is an element if its op was an
    addition; or a read."""
    f = chosen(
        draws,
        ("add", options.add),
        ("remove", options.remove),
        ("contains", options.contains),
        ("read", options.read),
    )
    if f == "read":
        return f, None
    return f, number if f == "add" else max(0, number - 1 - draws.below(_LATEST))


class SetWorkload:
    """Keys from 0 up; see the module."""

    name = "set"
    summary = "elements added to and removed from many sets, looks for them, and reads"
    interface = "set"
    data_type = "set"
    option_type = SetOptions

    def commands(self, options: SetOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "add", "remove", "contains", "read", final="read")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Twice as many threads on a key as nodes, so that each node is asked while another op is under way there."""
        options: SetOptions = context.options
        return keyed(context, rng, 2 * len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        return final_ops(context, read_until_ok)
