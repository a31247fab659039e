"""Histories of registers and append-only lists in which every value is put in once, with a known verdict.

A valid one is linearizable by construction: each operation takes effect on one object at an instant between its call and
its return. An invalid one is a valid one with one change that the distinct values make certain: two observations that
lie far apart are exchanged, or an acknowledged write is lost: every later read shows the value before it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import Any, Literal

from histories.history import History
from histories.op import Op, OpType

Kind = Literal["register", "cas-register", "list-append", "kv-append"]
Change = Literal["valid", "swapped", "lost", "out of order"]

MODELS: dict[Kind, str] = {
    "register": "register",
    "cas-register": "cas-register",
    "list-append": "list-append",
    "kv-append": "kv",
}
"""The model of each kind."""

APPENDS_MAX = 500
"""Appends to one key: a read returns the whole value, so the data grows with their square."""

SWAP_DISTANCE = 40
"""Operations between the two observations that are exchanged, at least the number of processes."""

_DURATION_NS = 1_000_000
_WRITES = 0.5


def distinct(
    kind: Kind,
    *,
    operations: int,
    processes: int,
    crashed: float = 0.0,
    change: Change = "valid",
    seed: int = 0,
    appends_max: int = APPENDS_MAX,
) -> History:
    """A history of reads and writes in equal parts (writes and cas in equal parts for a cas-register), each process busy
    half of the time. A cas that saw another value ends `fail`. crashed: the share of operations that end `info`; every
    second one takes effect. List-append and kv-append begin a new key after `appends_max` appends.
    """
    rng = Random(f"{seed}/{kind}/{operations}/{processes}/{crashed}")
    events = list(_events(rng, kind, operations, processes, crashed, appends_max))
    results = _results(rng, kind, events, operations, change, 2 * processes + SWAP_DISTANCE)
    return History(_ops(events, results, processes))


_Event = tuple[int, int, int, tuple[int, str, Any, Any, bool]]
"""Time; 0: call, 1: effect, 2: return; which operation; and that: thread, f, key, argument, is_crashed."""


def _events(
    rng: Random, kind: Kind, operations: int, processes: int, crashed: float, appends_max: int
) -> Iterator[_Event]:
    free = [(rng.randrange(2 * _DURATION_NS), thread) for thread in range(processes)]
    heapq.heapify(free)
    waiting: list[_Event] = []
    appended = 0
    for i in range(operations):
        call_ns, thread = heapq.heappop(free)
        while waiting and waiting[0][0] <= call_ns:
            yield heapq.heappop(waiting)
        duration_ns = rng.randrange(2, 2 * _DURATION_NS)
        is_crashed = rng.random() < crashed
        key = appended // appends_max if "append" in kind else None
        is_write = rng.random() < _WRITES
        argument: Any = None
        match kind:
            case "register":
                f, argument = ("write", i + 1) if is_write else ("read", None)
            case "cas-register":
                f, argument = (("write", "cas")[rng.randrange(2)], i + 1) if is_write else ("read", None)
            case "list-append":
                f, argument = ("append", i + 1) if is_write else ("read", None)
            case "kv-append":
                f, argument = ("append", f"x {thread} {i} y") if is_write else ("get", None)
        appended += is_write
        operation = (thread, f, key, argument, is_crashed)
        heapq.heappush(waiting, (call_ns, 0, i, operation))
        if not is_crashed or rng.random() < 0.5:
            heapq.heappush(waiting, (call_ns + 1 + rng.randrange(duration_ns - 1), 1, i, operation))
        heapq.heappush(waiting, (call_ns + duration_ns, 2, i, operation))
        heapq.heappush(free, (call_ns + duration_ns + 1 + rng.randrange(2 * _DURATION_NS), thread))
    while waiting:
        yield heapq.heappop(waiting)


def _results(
    rng: Random, kind: Kind, events: list[_Event], operations: int, change: Change, distance: int
) -> dict[int, tuple[str, Any]]:
    """Operation -> how it ends, f's argument for a cas included ("cas [old, new]" is chosen when it takes effect)."""
    results: dict[int, tuple[str, Any]] = {}
    values: dict[Any, Any] = {}
    empty: Any = {"list-append": [], "kv-append": None}.get(kind)
    reads: list[int] = []
    lost = _missed_write(events, operations // 2, is_log="append" in kind) if change == "lost" else -1
    for _, what, i, (_, f, key, argument, is_crashed) in events:
        if what != 1:
            continue
        value = values.get(key, empty)
        if f in ("read", "get"):
            results[i] = ("ok", value)
            if not is_crashed and value != empty:
                reads.append(i)
            continue
        if i == lost:
            results[i] = ("ok", argument)
            continue
        match f:
            case "append" if kind == "list-append":
                values[key] = [*value, argument]
            case "append":
                values[key] = (value or "") + argument
            case "cas":
                argument = [value, argument]
                values[key] = argument[1]
            case _:
                values[key] = argument
        results[i] = ("ok", argument)
    if change in ("swapped", "out of order"):
        keys = {i: key for _, what, i, (_, _, key, _, _) in events if what == 1}
        at = len(reads) // 2 if change == "swapped" else int(len(reads) * 0.97) - distance
        while True:
            a, b = reads[at], reads[at + distance]
            if keys[a] == keys[b] and results[a] != results[b]:
                break
            at -= 1
        if change == "swapped":
            results[a], results[b] = results[b], results[a]
        else:
            results[b] = results[a]
    return results


def _missed_write(events: list[_Event], middle: int, *, is_log: bool) -> int:
    """A write that somebody misses, if possible in the second half: a read that was called after the write had returned
    shows the value before it. In a log any later read of its key does. A register's next value hides the write, so the read must be
    the next to take effect, and the write before must have returned when this one was called.
    """
    returned: set[int] = set()
    last_before: dict[int, int] = {}
    latest, latest_key, is_later, found = -1, None, is_log, -1
    for _, what, i, (_, f, key, _, is_crashed) in events:
        if what == 2 and not is_crashed:
            returned.add(i)
        elif what == 0 and latest in returned:
            last_before[i] = latest
        elif what == 1 and f in ("read", "get"):
            if is_later and not is_crashed and key == latest_key and last_before.get(i, -2) == latest:
                if latest >= middle:
                    return latest
                found = latest
        elif what == 1:
            is_later = f != "cas" and not is_crashed and (is_log or last_before.get(i, -2) == latest)
            latest, latest_key = i, key
    if found < 0:
        raise ValueError("no read certainly misses a write")
    return found


def _ops(events: list[_Event], results: dict[int, tuple[str, Any]], processes: int) -> Iterator[Op]:
    process_of = list(range(processes))
    index = 0
    for time_ns, what, i, (thread, f, key, argument, is_crashed) in events:
        if what == 1:
            continue
        if f == "cas":
            argument = results[i][1] if i in results else [argument, -argument]
        process = process_of[thread]
        type_: OpType = "invoke" if what == 0 else "info" if is_crashed else "ok"
        value = argument if what == 0 or is_crashed else results[i][1]
        yield Op(index, time_ns, type_, process, f, key, value)
        index += 1
        if type_ == "info":
            process_of[thread] += processes
