"""Elements put into many queues and taken from them, first in, first out.

Every element is new to its key, so that one that comes out twice, or never, is noticed. After the heal, clients empty the latest 20
queues: a lost element shows there at the latest. As many threads on a key as there are nodes. A queue lives for 200 ops, some
seconds at usual rates, so that a fault that takes elements away strikes while they are inside.
"""

from __future__ import annotations

from random import Random
from typing import Any

from harness.generators import Context, Generator, Invocation, Step, Stream, delay, repeat
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import (
    RETRY_S,
    DrawnOps,
    KeyedOptions,
    Weight,
    chosen,
    final_ops,
    issued,
    keyed,
    require_some,
)
from histories.op import Op


class QueueOptions(KeyedOptions, frozen=True, kw_only=True):
    """enqueue, dequeue: weights of the mix. See KeyedOptions."""

    final_keys: Weight = 20
    enqueue: Weight = 5
    dequeue: Weight = 5

    def __post_init__(self) -> None:
        require_some(self, "enqueue", "dequeue")


def draw(options: QueueOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """An enqueue of the number, or a dequeue."""
    f = chosen(draws, ("enqueue", options.enqueue), ("dequeue", options.dequeue))
    return f, number if f == "enqueue" else None


class UntilEmpty(Generator, frozen=True):
    """Takes from the key until one finds it empty."""

    key: Any
    inner: Generator
    is_empty: bool = False

    def op(self, context: Context) -> Step:
        step = None if self.is_empty else self.inner.op(context)
        return None if step is None else (step[0], UntilEmpty(self.key, step[1]))

    def update(self, context: Context, event: Op) -> Generator:
        found_nothing = event.type == "ok" and event.key == self.key and event.value is None
        return UntilEmpty(self.key, self.inner.update(context, event), self.is_empty or found_nothing)


def empty(key: Any, take: str = "dequeue") -> Generator:
    """Takes from the key until it is empty."""
    return UntilEmpty(key, delay(RETRY_S, repeat(Invocation(take, key))))


class QueueWorkload:
    """Keys from 0 up; see the module."""

    name = "queue"
    summary = "elements put into many queues and taken from them"
    interface = "queue"
    data_type = "queue"
    option_type = QueueOptions

    def commands(self, options: QueueOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "enqueue", "dequeue", final="dequeue")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a key as nodes, so that each node is asked."""
        options: QueueOptions = context.options
        return keyed(context, rng, len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every thread dequeues until the queue is empty."""
        return final_ops(context, empty)
