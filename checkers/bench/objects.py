"""Histories of any type of object with a known verdict: a simulated clock gives every operation a call, a return and an
instant between them at which it takes effect on a real object of the type.

An invalid one has the results of two observations swapped. Nothing crashes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from histories.history import History
from histories.op import Op

Draw = Callable[[Random, int], tuple[str, Any, Any]]
"""(randomness, number of the operation) -> f, key, argument."""

Apply = Callable[[str, Any, Any], Any]
"""(f, key, argument) -> result; the object changes."""

_DURATION_NS = 1_000_000
_APART = 40


class Kind(NamedTuple):
    """A type of object. model: what it is checked as. observations: the fs whose results may be swapped."""

    model: str
    draw: Draw
    make: Callable[[], Apply]
    observations: frozenset[str]


def history(kind: Kind, *, operations: int, processes: int, seed: int = 0, is_valid: bool = True) -> History:
    """Each process is busy half of the time. An invalid one swaps two observations some forty operations apart, two
    thirds on, whose results differ and whose operations do not overlap.
    """
    rng = Random(f"{seed}/{kind.model}/{operations}/{processes}")
    free = [(rng.randrange(2 * _DURATION_NS), thread) for thread in range(processes)]
    heapq.heapify(free)
    planned: list[tuple[int, int, int, int, tuple[str, Any, Any]]] = []
    for number in range(operations):
        call_ns, thread = heapq.heappop(free)
        duration_ns = rng.randrange(1, 2 * _DURATION_NS)
        effect_ns, return_ns = call_ns + rng.randrange(duration_ns), call_ns + duration_ns
        planned.append((effect_ns, call_ns, return_ns, thread, kind.draw(rng, number)))
        heapq.heappush(free, (return_ns + 1 + rng.randrange(2 * _DURATION_NS), thread))
    apply = kind.make()
    results: list[Any] = [None] * operations
    for i in sorted(range(operations), key=lambda i: planned[i][0]):
        results[i] = apply(*planned[i][4])
    if not is_valid:
        _swap(kind, planned, results)
    events: list[tuple[int, bool, int]] = []
    for i, (_, call_ns, return_ns, _, _) in enumerate(planned):
        events += [(call_ns, False, i), (return_ns, True, i)]
    ops: list[Op] = []
    for time_ns, is_return, i in sorted(events):
        _, _, _, thread, (f, key, argument) = planned[i]
        value = results[i] if is_return else argument
        ops.append(Op(len(ops), time_ns, "ok" if is_return else "invoke", thread, f, key, value))
    return History(ops)


def _swap(kind: Kind, planned: list[Any], results: list[Any]) -> None:
    seen = [
        i for i in range(len(planned)) if planned[i][4][0] in kind.observations and results[i] not in (None, [], "")
    ]
    for first in seen[2 * len(seen) // 3 :]:
        for second in seen[seen.index(first) + 1 :]:
            same_key = planned[first][4][1] == planned[second][4][1]
            is_apart = second - first >= _APART and planned[first][2] < planned[second][1]
            if same_key and is_apart and results[first] != results[second]:
                results[first], results[second] = results[second], results[first]
                return
    raise ValueError("no two observations differ")


def _fifo() -> Apply:
    queue: deque[Any] = deque()

    def apply(f: str, key: Any, argument: Any) -> Any:
        if f == "enqueue":
            return queue.append(argument)
        if f == "peek":
            return queue[0] if queue else None
        return queue.popleft() if queue else None

    return apply


def _lifo() -> Apply:
    stack: list[Any] = []

    def apply(f: str, key: Any, argument: Any) -> Any:
        if f == "push":
            return stack.append(argument)
        if f == "peek":
            return stack[-1] if stack else None
        return stack.pop() if stack else None

    return apply


def _priority() -> Apply:
    heap: list[Any] = []

    def apply(f: str, key: Any, argument: Any) -> Any:
        if f == "enqueue":
            return heapq.heappush(heap, argument)
        return heapq.heappop(heap) if heap else None

    return apply


def _set() -> Apply:
    held: set[Any] = set()

    def apply(f: str, key: Any, argument: Any) -> Any:
        match f:
            case "add":
                return held.add(argument)
            case "contains":
                return argument in held
            case "remove":
                return held.discard(argument)
        return sorted(held)

    return apply


def _lists() -> Apply:
    held: list[Any] = []

    def apply(f: str, key: Any, argument: Any) -> Any:
        return held.append(argument) if f == "append" else list(held)

    return apply


def _kv() -> Apply:
    held: dict[Any, str] = {}

    def apply(f: str, key: Any, argument: Any) -> Any:
        match f:
            case "put":
                held[key] = argument
            case "append":
                held[key] = held.get(key, "") + argument
            case "get":
                return held.get(key, "")
        return None

    return apply


def _counter() -> Apply:
    total = 0

    def apply(f: str, key: Any, argument: Any) -> Any:
        nonlocal total
        if f == "add":
            total += argument
            return None
        return total

    return apply


def _taking(put: str, take: str, values: int | None = None) -> Draw:
    """Puts of new values, or of one of so many, and takes, in equal parts."""

    def draw(rng: Random, number: int) -> tuple[str, Any, Any]:
        if rng.random() < 0.5:
            return put, None, number if values is None else rng.randrange(values)
        return take, None, None

    return draw


def _peeking(rng: Random, number: int) -> tuple[str, Any, Any]:
    chance = rng.random()
    return ("push", None, number) if chance < 0.4 else ("pop" if chance < 0.75 else "peek", None, None)


def _mixed_priorities(rng: Random, number: int) -> tuple[str, Any, Any]:
    # A new value of a random priority: [priority, number].
    f, key, _ = _taking("enqueue", "dequeue")(rng, number)
    return f, key, rng.randrange(1_000_000) * 1_000_000 + number if f == "enqueue" else None


def _set_ops(rng: Random, number: int) -> tuple[str, Any, Any]:
    chance = rng.random()
    if chance < 0.45:
        return "add", None, number
    # Whole reads are rare: each is as long as the set.
    return ("contains", None, rng.randrange(number + 1)) if chance < 0.98 else ("read", None, None)


def _append_ops(rng: Random, number: int) -> tuple[str, Any, Any]:
    return ("append", None, number) if rng.random() < 0.5 else ("read", None, None)


def _kv_ops(keys: int, put_share: float) -> Draw:
    def draw(rng: Random, number: int) -> tuple[str, Any, Any]:
        key = str(rng.randrange(keys)) if keys > 1 else None
        chance = rng.random()
        if chance < put_share:
            return "put", key, f"={number} "
        return ("append", key, f"x {number} y") if chance < 0.6 else ("get", key, None)

    return draw


def _counter_ops(rng: Random, number: int) -> tuple[str, Any, Any]:
    return ("add", None, rng.randrange(1, 6)) if rng.random() < 0.5 else ("read", None, None)


def unknown_writes(*, is_valid: bool) -> History:
    """3,000 writes of unknown outcome, and then 2,000 reads of distinct values on one key, by one client.

    A crashed write may take effect at any time, so any order of the values is valid; an invalid one reads a value again.
    """
    ops: list[Op] = []
    for value in range(3_000):
        ops.append(Op(len(ops), len(ops), "invoke", 1 + value, "write", None, value))
        ops.append(Op(len(ops), len(ops), "info", 1 + value, "write"))
    seen = Random("unknown writes").sample(range(3_000), 2_000)
    if not is_valid:
        seen[1_333 + _APART] = seen[1_333]
    for value in seen:
        ops.append(Op(len(ops), len(ops), "invoke", 0, "read"))
        ops.append(Op(len(ops), len(ops), "ok", 0, "read", None, value))
    return History(ops)


KINDS: dict[str, Kind] = {
    "queue": Kind("fifo-queue", _taking("enqueue", "dequeue"), _fifo, frozenset({"dequeue"})),
    "queue, 50 values": Kind("fifo-queue", _taking("enqueue", "dequeue", 50), _fifo, frozenset({"dequeue"})),
    "stack": Kind("lifo-stack", _taking("push", "pop"), _lifo, frozenset({"pop"})),
    "stack with peeks": Kind("lifo-stack", _peeking, _lifo, frozenset({"pop", "peek"})),
    "priority queue": Kind("priority-queue", _mixed_priorities, _priority, frozenset({"dequeue"})),
    "priority queue, 50 values": Kind(
        "priority-queue", _taking("enqueue", "dequeue", 50), _priority, frozenset({"dequeue"})
    ),
    "set": Kind("set", _set_ops, _set, frozenset({"contains", "read"})),
    "list-append": Kind("list-append", _append_ops, _lists, frozenset({"read"})),
    "kv": Kind("kv", _kv_ops(1, 0.2), _kv, frozenset({"get"})),
    "kv log": Kind("kv", _kv_ops(10, 0.1), _kv, frozenset({"get"})),
    "counter": Kind("counter", _counter_ops, _counter, frozenset({"read"})),
}
"""By the name that the table uses."""


def making(name: str) -> Callable[[], Apply]:
    """How the object of the kind is made."""
    return KINDS[name].make
