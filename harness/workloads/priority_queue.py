"""Elements with priorities put into many queues and taken from them, the smallest priority first, and looks at the next.

Every element is new to its key, and priorities come again, so that the order among equals is left open. After the heal, clients
empty the latest queues, 200 ops a key on as many threads as there are nodes, as for queues.
"""

from __future__ import annotations

from random import Random

from harness.generators import Generator, Stream
from harness.workloads.base import WorkloadContext
from harness.workloads.fifo_queue import empty
from harness.workloads.keyed import (
    DrawnOps,
    KeyedOptions,
    Positive,
    Weight,
    chosen,
    final_ops,
    issued,
    keyed,
    require_some,
)


class PriorityQueueOptions(KeyedOptions, frozen=True, kw_only=True):
    """enqueue, dequeue, peek: weights of the mix. priorities: how many there are. See KeyedOptions."""

    final_keys: Weight = 20
    priorities: Positive = 5
    enqueue: Weight = 5
    dequeue: Weight = 4
    peek: Weight = 2

    def __post_init__(self) -> None:
        require_some(self, "enqueue", "dequeue")


def draw(options: PriorityQueueOptions, draws: Stream, number: int) -> tuple[str, list[int] | None]:
    """An enqueue of the number with some priority, a dequeue, or a look at the next."""
    f = chosen(draws, ("enqueue", options.enqueue), ("dequeue", options.dequeue), ("peek", options.peek))
    return f, [draws.below(options.priorities), number] if f == "enqueue" else None


class PriorityQueueWorkload:
    """Keys from 0 up; see the module."""

    name = "priority-queue"
    summary = "elements with priorities put into many queues and taken from them"
    interface = "priority-queue"
    data_type = "priority-queue"
    option_type = PriorityQueueOptions

    def commands(self, options: PriorityQueueOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "enqueue", "dequeue", "peek", final="dequeue")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a key as nodes, so that each node is asked."""
        options: PriorityQueueOptions = context.options
        return keyed(context, rng, len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every thread dequeues until the queue is empty."""
        return final_ops(context, empty)
