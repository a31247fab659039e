"""Histories of a CAS register with a known verdict.

A valid one is linearizable by construction: a simulated clock gives every operation a call, a return and an instant
between them at which it takes effect on one register. An invalid one has one read changed to a value that had been
overwritten before; where that value is chosen so that no order can explain it, the verdict is known without any
checker.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import Any, Literal, NamedTuple

from histories.history import History
from histories.op import Op, OpType

Variant = Literal["valid", "middle", "end"]

VALUES = 5
_DURATION_NS = 1_000_000


class _Operation(NamedTuple):
    """process: the thread; the history gives it a new number after each crash. effect_ns None: it never takes
    effect.
    """

    f: str
    argument: Any
    call_ns: int
    return_ns: int
    effect_ns: int | None
    is_crashed: bool
    thread: int


class Stale(NamedTuple):
    """Which operation, by order of calls, was changed to return what.

    is_certain: no linearization explains it, whatever the crashed operations did.
    """

    operation: int
    value: int
    is_certain: bool


def cas_register(
    *,
    operations: int,
    processes: int,
    crashed: float = 0.0,
    variant: Variant = "valid",
    seed: int = 0,
    spare: bool = False,
) -> tuple[History, Stale | None]:
    """A history of reads, writes and cas in equal parts, each process busy half of the time, and the stale read in it.

    crashed: the share of operations that end `info`; every second one takes effect. variant: where the stale read is
    put. spare: crashed operations never write the last value, so that a stale read of it is certainly wrong.
    A cas that saw another value ends `fail`.
    """
    rng = Random(f"{seed}/{operations}/{processes}/{crashed}")
    planned = _planned(rng, operations, processes, crashed, spare)
    results = _results(planned)
    stale = None if variant == "valid" else _stale(rng, planned, results, 0.5 if variant == "middle" else 0.97)
    if stale is not None:
        results[stale.operation] = ("ok", stale.value)
    return _history(planned, results, processes), stale


def _planned(rng: Random, operations: int, processes: int, crashed: float, spare: bool) -> list[_Operation]:
    """The operations, in order of their calls. Durations and pauses have the same mean."""
    free = [(rng.randrange(2 * _DURATION_NS), thread) for thread in range(processes)]
    heapq.heapify(free)
    planned = []
    for _ in range(operations):
        call_ns, thread = heapq.heappop(free)
        duration_ns = rng.randrange(1, 2 * _DURATION_NS)
        is_crashed = rng.random() < crashed
        takes_effect = not is_crashed or rng.random() < 0.5
        values = VALUES - 1 if is_crashed and spare else VALUES
        argument: Any = None
        match rng.randrange(3):
            case 0:
                f = "read"
            case 1:
                f, argument = "write", rng.randrange(values)
            case _:
                f, argument = "cas", [rng.randrange(VALUES), rng.randrange(values)]
        effect_ns = call_ns + rng.randrange(duration_ns) if takes_effect else None
        return_ns = call_ns + duration_ns
        planned.append(_Operation(f, argument, call_ns, return_ns, effect_ns, is_crashed, thread))
        heapq.heappush(free, (return_ns + 1 + rng.randrange(2 * _DURATION_NS), thread))
    return planned


def _results(planned: list[_Operation]) -> list[tuple[OpType, Any]]:
    """How each operation ends, in the order in which they take effect."""
    results: list[tuple[OpType, Any]] = [("info", operation.argument) for operation in planned]
    effects = sorted((operation.effect_ns, i) for i, operation in enumerate(planned) if operation.effect_ns is not None)
    value = None
    for _, i in effects:
        operation = planned[i]
        ending: tuple[OpType, Any] = ("ok", operation.argument)
        if operation.f == "read":
            ending = ("ok", value)
        elif operation.f == "write":
            value = operation.argument
        elif operation.argument[0] == value:
            value = operation.argument[1]
        else:
            ending = ("fail", operation.argument)
        if not operation.is_crashed:
            results[i] = ending
    return results


def _stale(rng: Random, planned: list[_Operation], results: list[tuple[OpType, Any]], place: float) -> Stale:
    """A read near the place, and a value that it cannot have returned; failing that, the one least likely."""
    middle = int(len(planned) * place)
    reach = max(200, len(planned) // 100)
    nearby = range(max(0, middle - reach), min(len(planned), middle + reach))
    reads = [i for i in nearby if planned[i].f == "read" and results[i][0] == "ok"]
    found: list[tuple[int, int, int]] = []
    for i in sorted(reads, key=lambda i: abs(i - middle)):
        for value in range(VALUES):
            if _is_overwritten(planned, results, i, value):
                explaining = sum(1 for j in range(i) if results[j][0] == "info" and _writes(planned[j]) == value)
                if explaining == 0:
                    return Stale(i, value, is_certain=True)
                found.append((explaining, i, value))
    if not found:  # With hundreds of processes everything is concurrent with everything.
        return Stale(min(reads, key=lambda i: abs(i - middle)), VALUES, is_certain=True)
    _, i, value = min(found)
    return Stale(i, value, is_certain=False)


def _is_overwritten(planned: list[_Operation], results: list[tuple[OpType, Any]], read: int, value: int) -> bool:
    """Whether a completed write w of another value returned before the read was called, and nothing completed that may
    have written `value` is concurrent with w or comes between w and the end of the read: so the read cannot see it.
    """
    near = range(max(0, read - 400), min(len(planned), read + 400))
    done = [j for j in near if results[j][0] == "ok"]
    before = [j for j in done if planned[j].f == "write" and planned[j].return_ns < planned[read].call_ns]
    last = max((j for j in before if planned[j].argument != value), key=lambda j: planned[j].call_ns, default=None)
    return last is not None and not any(
        _writes(planned[j]) == value
        and planned[j].return_ns >= planned[last].call_ns
        and planned[j].call_ns <= planned[read].return_ns
        for j in done
    )


def _writes(operation: _Operation) -> int | None:
    """The value that the register holds after it."""
    match operation.f:
        case "write":
            written: int = operation.argument
        case "cas":
            written = operation.argument[1]
        case _:
            return None
    return written


def _history(planned: list[_Operation], results: list[tuple[OpType, Any]], processes: int) -> History:
    return History(_ops(planned, results, processes))


def _ops(planned: list[_Operation], results: list[tuple[OpType, Any]], processes: int) -> Iterator[Op]:
    events = [(operation.call_ns, 0, i) for i, operation in enumerate(planned)]
    events += [(operation.return_ns, 1, i) for i, operation in enumerate(planned)]
    events.sort()
    process_of = list(range(processes))
    for index, (time_ns, is_return, i) in enumerate(events):
        operation = planned[i]
        process = process_of[operation.thread]
        if not is_return:
            yield Op(index, time_ns, "invoke", process, operation.f, None, operation.argument)
            continue
        type_, value = results[i]
        yield Op(index, time_ns, type_, process, operation.f, None, value)
        if type_ == "info":
            process_of[operation.thread] += processes
