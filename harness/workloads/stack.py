"""Elements pushed onto many stacks and popped from them, last in, first out, and looks at the top.

Every element is new to its key, so that one that comes out twice, never, or too early is noticed. After the heal, clients empty the
latest stacks, 200 ops a key on as many threads as there are nodes, as for queues.
"""

from __future__ import annotations

from functools import partial
from random import Random

from harness.generators import Generator, Stream
from harness.workloads.base import WorkloadContext
from harness.workloads.fifo_queue import empty
from harness.workloads.keyed import (
    DrawnOps,
    KeyedOptions,
    Weight,
    chosen,
    final_ops,
    issued,
    keyed,
    require_some,
)


class StackOptions(KeyedOptions, frozen=True, kw_only=True):
    """push, pop, peek: weights of the mix. See KeyedOptions."""

    final_keys: Weight = 20
    push: Weight = 5
    pop: Weight = 4
    peek: Weight = 2

    def __post_init__(self) -> None:
        require_some(self, "push", "pop")


def draw(options: StackOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """A push of the number, a pop, or a look at the top."""
    f = chosen(draws, ("push", options.push), ("pop", options.pop), ("peek", options.peek))
    return f, number if f == "push" else None


class StackWorkload:
    """Keys from 0 up; see the module."""

    name = "stack"
    summary = "elements pushed onto many stacks and popped from them"
    interface = "stack"
    data_type = "stack"
    option_type = StackOptions

    def commands(self, options: StackOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "push", "pop", "peek", final="pop")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a key as nodes, so that each node is asked."""
        options: StackOptions = context.options
        return keyed(context, rng, len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every thread pops until the stack is empty."""
        return final_ops(context, partial(empty, take="pop"))
