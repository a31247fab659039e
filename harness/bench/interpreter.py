"""How fast the interpreter is when nothing else costs time: a client that answers at once, a generator as in a real
run.

Issue 2 asks for 15,000 ops/s.
"""

from __future__ import annotations

import time
from random import Random

from harness import generators as gen
from harness.generators.interpreter import Interpreter
from harness.workloads.base import WorkloadContext
from harness.workloads.register import RegisterOptions, RegisterWorkload
from histories.op import NEMESIS, Op

_CONCURRENCY = 20
_NODES = ("n1", "n2", "n3", "n4", "n5")


def measure(ops_count: int = 50_000) -> dict[str, float]:
    """ops_per_s: client ops begun and ended in a second; concurrency 20, the register workload over many keys,
    staggered."""
    workload, rng = RegisterWorkload(), Random("0/generator")
    context = WorkloadContext(RegisterOptions(), _NODES, _CONCURRENCY)
    recorded: list[Op] = []
    client = gen.limit(ops_count, gen.stagger(rng, 1e-9, workload.generator(context, rng)))
    interpreter = Interpreter(
        gen.phases(
            gen.main_phase(
                gen.time_limit(3600, gen.clients(client, nemesis_generator=[gen.Invocation("fault", time=1)]))
            ),
            gen.nemesis(gen.Invocation("heal")),
            gen.clients(workload.final_generator(context)),
        ),
        concurrency=_CONCURRENCY,
        nodes=_NODES,
        record=recorded.append,
    )
    registers: dict[object, object] = {}
    began = time.perf_counter_ns()
    while not interpreter.finished:
        for op in interpreter.poll(time.perf_counter_ns() - began):
            answer(interpreter, time.perf_counter_ns() - began, op, registers)
    took_s = (time.perf_counter_ns() - began) / 1e9
    count = sum(1 for op in recorded if op.is_client and op.type == "invoke")
    return {"ops_per_s": count / took_s, "ops": float(count), "seconds": took_s}


def answer(interpreter: Interpreter, now_ns: int, op: Op, registers: dict[object, object]) -> None:
    """Complete `op` as a perfect store of registers does."""
    if op.process == NEMESIS:
        interpreter.complete(now_ns, op, "info")
    elif op.f == "read":
        interpreter.complete(now_ns, op, "ok", registers.get(op.key))
    elif op.f == "write":
        registers[op.key] = op.value
        interpreter.complete(now_ns, op, "ok", op.value)
    elif registers.get(op.key) == op.value[0]:
        registers[op.key] = op.value[1]
        interpreter.complete(now_ns, op, "ok", op.value)
    else:
        interpreter.complete(now_ns, op, "fail", op.value, "another value")
