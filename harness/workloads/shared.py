"""A few objects that all clients share to the end, and that every node is read for when all is quiet: for eventually and
causally consistent stores.

Every client reads and writes every object, so that what one client reads and then writes makes chains of causes over clients,
keys and nodes. Values, elements and amounts are new each time. In the end every client reads every object several times: a
store that lets clients go to any node is then read on all of them.
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
    concat,
    each_thread,
    filled,
    salt_of,
    time_limit,
)
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import Positive, Weight, chosen, issued, read_until_ok

_LATEST = 20
"""A removal or a look takes one of the last so many elements."""


class SharedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """keys: objects. read, update: weights of the mix. final_rounds: how often each client reads each object in the end; 0: never.
    final_time_limit_s: for how long at most."""

    keys: Positive = 5
    read: Annotated[int, msgspec.Meta(ge=1)] = 5
    update: Annotated[int, msgspec.Meta(ge=1)] = 5
    final_rounds: Weight = 3
    final_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0


class SharedSetOptions(SharedOptions, frozen=True, kw_only=True):
    """remove: weight of removals beside the updates, which add; 0 for a set that only grows. See SharedOptions."""

    remove: Weight = 2


class SharedCounterOptions(SharedOptions, frozen=True, kw_only=True):
    """subtract: weight of additions of a negative amount; 0 for a counter that only grows. See SharedOptions."""

    subtract: Weight = 2


class SharedOps(Generator, frozen=True):
    """draw: the mix's f and value for a drawn op and its number. number: counts all ops from 0."""

    workload: Any
    options: Any
    salt: int
    number: int = 0

    def op(self, context: Context) -> Step:
        if not context.free:
            return PENDING, self
        draws = Stream(self.salt ^ context.word)
        key = draws.below(self.options.keys)
        f, value = self.workload.draw(self.options, draws, self.number)
        invocation = filled(Invocation(f, key, value), context)
        if invocation is None:
            return PENDING, self
        return invocation, SharedOps(self.workload, self.options, self.salt, self.number + 1)


class _Shared:
    """What the three have in common."""

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """All clients on all objects, without end."""
        return SharedOps(self, context.options, salt_of(rng))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every client reads every object `final_rounds` times."""
        options: SharedOptions = context.options
        if not options.final_rounds:
            return None
        reads = concat(*(read_until_ok(key) for _ in range(options.final_rounds) for key in range(options.keys)))
        return time_limit(options.final_time_limit_s, each_thread(reads))


class SharedRegisters(_Shared):
    """See the module."""

    name = "shared-registers"
    summary = "reads and writes of a few registers that all clients share, then reads on every node"
    interface = "kv"
    data_type = "register"
    option_type = SharedOptions

    def commands(self, options: SharedOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"read", "write"})

    def draw(self, options: SharedOptions, draws: Stream, number: int) -> tuple[str, int | None]:
        """A read, or a write of the number."""
        f = chosen(draws, ("read", options.read), ("write", options.update))
        return f, None if f == "read" else number


class SharedCounters(_Shared):
    """See the module."""

    name = "shared-counters"
    summary = "additions to a few counters that all clients share, then reads on every node"
    interface = "counter"
    data_type = "counter"
    option_type = SharedCounterOptions

    def commands(self, options: SharedCounterOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"read", "add"})

    def draw(self, options: SharedCounterOptions, draws: Stream, number: int) -> tuple[str, int | None]:
        """A read, or an addition of a small amount."""
        f = chosen(draws, ("read", options.read), ("add", options.update), ("subtract", options.subtract))
        amount = 1 + draws.below(9)
        return ("read", None) if f == "read" else ("add", amount if f == "add" else -amount)


class SharedSets(_Shared):
    """See the module."""

    name = "shared-sets"
    summary = "additions to, removals from and reads of a few sets that all clients share, then reads on every node"
    interface = "set"
    data_type = "set"
    option_type = SharedSetOptions

    def commands(self, options: SharedSetOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"read", "add"}) | issued(options, "remove")

    def draw(self, options: SharedSetOptions, draws: Stream, number: int) -> tuple[str, int | None]:
        """A read, the addition of the number, or the removal of a late one, which an addition made if it was one of this key."""
        f = chosen(draws, ("read", options.read), ("add", options.update), ("remove", options.remove))
        if f == "remove":
            return f, max(0, number - 1 - draws.below(_LATEST * options.keys))
        return f, None if f == "read" else number
