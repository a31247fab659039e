"""Runs a generator in virtual time against clients that are three lines long: for testing generators and workloads.

Source: jepsen.generator.test. `quick`, `perfect` and `imperfect` are its clients.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.generators.core import Generatable
from harness.generators.interpreter import Interpreter
from histories.op import NEMESIS, Op, OpType

LATENCY_NS = 10


class Ending(msgspec.Struct, frozen=True):
    """How a simulated client ends an op, and how long after its invocation."""

    type: OpType = "ok"
    latency_ns: int = LATENCY_NS
    value: Any = None


Client = Callable[[Op], Ending]


def quick(op: Op) -> Ending:
    """Every op is ok at once."""
    return Ending(latency_ns=0, value=op.value)


def perfect(op: Op) -> Ending:
    """Every op is ok after 10 ns."""
    return Ending(value=op.value)


def imperfect(op: Op) -> Ending:
    """A thread's ops end ok, info, fail in turn, by the index of the op, after 10 ns."""
    types: tuple[OpType, ...] = ("ok", "info", "fail")
    return Ending(type=types[op.index % 3], value=op.value)


def simulate(
    generator: Generatable,
    client: Client = perfect,
    *,
    concurrency: int = 2,
    nodes: Sequence[str] = ("n1", "n2", "n3"),
    seed: int = 0,
    ops_max: int = 100_000,
    stop_ns: int | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> list[Op]:
    """The history of `generator` with `client`: every op that was recorded, nemesis ops ending info.

    ops_max: when so many are recorded the run is aborted; outstanding ops never end. stop_ns: when the main phase is stopped.
    Raises AssertionError when the generator waits for what will never happen.
    """
    recorded: list[Op] = []
    interpreter = Interpreter(
        generator, concurrency=concurrency, nodes=nodes, record=recorded.append, seed=seed, log=log
    )
    endings: list[tuple[int, int, Op, Ending]] = []
    now_ns = 0
    while True:
        if stop_ns is not None and now_ns >= stop_ns:
            interpreter.stop()
        for op in interpreter.poll(now_ns):
            ending = client(op)
            heapq.heappush(endings, (now_ns + ending.latency_ns, op.index, op, ending))
        if len(recorded) >= ops_max:
            interpreter.abort()
        if interpreter.finished:
            return recorded
        next_ns = [] if interpreter.wake_ns is None else [interpreter.wake_ns]
        next_ns += [endings[0][0]] if endings else []
        assert next_ns, "the generator is pending, and nothing is outstanding that could change that"
        if stop_ns is not None and now_ns < stop_ns:
            next_ns.append(stop_ns)
        now_ns = min(next_ns)
        while endings and endings[0][0] <= now_ns:
            _, _, op, ending = heapq.heappop(endings)
            interpreter.complete(now_ns, op, "info" if op.process == NEMESIS else ending.type, ending.value)


def invocations(history: Sequence[Op]) -> list[Op]:
    """Only the invocations."""
    return [op for op in history if op.type == "invoke"]
