"""`python -m checkers.bench.states`: what the search pays for a state: the model's own form beside the compact one.

First one step of the model and the number of the state that it leads to, in CPU microseconds, by the size of the state. Then whole
searches, without monitors, of histories in which values repeat, in CPU seconds. A search is measured in one process twice, with
and without `Model.compact`; where both decide, the verdict and the number of configurations are the same.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from checkers.bench.objects import Kind, history, making
from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.search import search
from checkers.linearizability.table import Table
from checkers.models.containers import FifoQueue, LifoStack, ListAppend, PriorityQueue, SetModel
from checkers.models.model import Model, Operation

SIZES = (10, 100, 1_000, 10_000)
RUNS = 3
TIME_LIMIT_S = 4.0


def _own(model: type[Model]) -> type[Model]:
    """The same model, whose states are its own."""
    return type(model.__name__, (model,), {"compact": lambda self, operations: None})


class Growing(NamedTuple):
    """put, take: operations of the value i that grow the state and change it there and back."""

    model: type[Model]
    put: Callable[[int], Operation]
    take: Callable[[int], Operation]


GROWING = (
    Growing(LifoStack, lambda i: Operation("push", i), lambda i: Operation("pop", None, i)),
    Growing(FifoQueue, lambda i: Operation("enqueue", i), lambda i: Operation("dequeue", None, i)),
    Growing(PriorityQueue, lambda i: Operation("enqueue", i), lambda i: Operation("dequeue", None, i)),
    Growing(SetModel, lambda i: Operation("add", i), lambda i: Operation("remove", i)),
    Growing(ListAppend, lambda i: Operation("append", i), lambda i: Operation("append", i)),
)


def step_us(growing: Growing, size: int, *, is_compact: bool) -> float:
    """CPU microseconds of one step from a state of that size, its number included; half of the steps take."""
    model = growing.model if is_compact else _own(growing.model)
    operations = [growing.put(i) for i in range(size + 64)] + [growing.take(i) for i in range(size)]
    table = Table(model(), operations, 0)
    state = 0
    for op in range(size):
        (state,) = table.step(state, op)
    took: list[float] = []
    for _ in range(RUNS):
        began_s, done = time.process_time(), 0
        while time.process_time() - began_s < 0.02:
            at = state
            for extra in range(64):
                (at,) = table.step(at, size + extra)
                taken = table.step(at, size + 64 + (size + extra if growing.model is LifoStack else extra) % size)
                done += 2
                at = taken[0] if taken else at
        took.append((time.process_time() - began_s) / done * 1e6)
    return statistics.median(took)


def searched(part: Entries, model: Model) -> tuple[str, int, float]:
    """Verdict, configurations and CPU seconds, the median."""
    took: list[float] = []
    while len(took) < RUNS and sum(took) < TIME_LIMIT_S / 2:
        began_s = time.process_time()
        result = search(part, model, time_limit_s=TIME_LIMIT_S)
        took.append(time.process_time() - began_s)
    return result.validity.value, result.stats.get("configurations", 0), statistics.median(took)


class Searched(NamedTuple):
    """A history that the search decides. values: that are put in; the more repeat, the fewer."""

    name: str
    model: type[Model]
    kind: Kind
    operations: int
    processes: int


def _drawing(put: str, take: str, values: int, put_share: float, look: str = "peek") -> Callable[[Random, int], Any]:
    def draw(rng: Random, number: int) -> tuple[str, Any, Any]:
        chance = rng.random()
        if chance < put_share:
            return put, None, rng.randrange(values)
        if chance < 0.9:
            return take, None, rng.randrange(values) if take in ("remove", "contains") else None
        return look, None, None

    return draw


def searches() -> Iterator[Searched]:
    """Histories in which values repeat, so that no monitor decides them."""
    stack = Kind("lifo-stack", _drawing("push", "pop", 50, 0.5), making("stack"), frozenset({"pop"}))
    queue = Kind("fifo-queue", _drawing("enqueue", "dequeue", 5_000, 0.6), making("queue"), frozenset({"dequeue"}))
    held = Kind("set", _drawing("add", "contains", 5_000, 0.4, "read"), making("set"), frozenset({"contains"}))
    lists = Kind(
        "list-append", _drawing("append", "read", 500, 0.5, "read"), making("list-append"), frozenset({"read"})
    )
    yield Searched("stack with peeks, 50 values", LifoStack, stack, 3_000, 5)
    yield Searched("queue with peeks, 5,000 values", FifoQueue, queue, 1_000, 3)
    yield Searched("set with whole reads", SetModel, held, 3_000, 5)
    yield Searched("list, repeated values", ListAppend, lists, 1_000, 5)


def main() -> int:
    """Print both tables. 0."""
    sys.stdout.write("CPU us of a step and its number: the model's own states, compact ones\n")
    for growing in GROWING:
        cells = []
        for size in SIZES:
            own, compact = (step_us(growing, size, is_compact=each) for each in (False, True))
            cells.append(f"{size:>7,}: {own:8.1f} {compact:8.1f}")
        sys.stdout.write(f"{growing.model.name:16}" + "".join(cells) + "\n")
        sys.stdout.flush()
    sys.stdout.write("CPU s of a search: the model's own states, compact ones\n")
    for each in searches():
        for is_valid in (True, False):
            part = entries(history(each.kind, operations=each.operations, processes=each.processes, is_valid=is_valid))
            verdict, configurations, own_s = searched(part, _own(each.model)())
            verdict_2, configurations_2, compact_s = searched(part, each.model())
            sys.stdout.write(
                f"{each.name:32} {each.operations:>6,} ops {each.processes:>3} clients {'valid' if is_valid else 'swapped':8} "
                f"{verdict:8} {configurations:>10,} {own_s:8.3f}   {verdict_2:8} {configurations_2:>10,} {compact_s:8.3f}\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
