"""The order of a run: the main phase with its faults, the heal, a quiet period, the final reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from harness import generators as gen
from harness.generators import Generator, Invocation
from harness.generators.interpreter import Interpreter
from harness.run.live import FINAL, HEAL, QUIET
from harness.run.plan import Plan
from histories.op import Op
from histories.units import NS_PER_S
from nemesis import fault_planner
from nemesis.registry import FaultChoice, final_ops
from nemesis.schedule import Schedule

_log = logging.getLogger("themis")


def generator(plan: Plan, choices: Sequence[FaultChoice], faults: Schedule) -> Generator:
    """The generator of all ops of a run of `plan` under `faults`, from the first to the last."""
    spec, rng, script = plan.spec, plan.rng("generator"), plan.script
    if script is None:
        ops = gen.rate(rng, spec.rate_hz, plan.workload.generator(plan.context, rng))
        final = plan.workload.final_generator(plan.context)
    else:
        ops, final = script.generator(final=False), script.generator(final=True)
    strikes = calmed([Invocation(f, value=value, time=time_ns) for time_ns, f, value in due(plan, faults)], plan)
    heals = [Invocation(f, value=value) for f, value in final_ops(choices)]
    return gen.phases(
        gen.main_phase(gen.lasting(spec.time_limit_s, gen.clients(ops), gen.nemesis(strikes), late_s_max(plan))),
        gen.log(HEAL),
        gen.nemesis(heals),
        gen.log(QUIET),
        gen.sleep(max(spec.quiet_s, plan.target.settling_s(plan.target_options))),
        gen.log(FINAL),
        gen.clients(final),
    )


def calmed(strikes: Sequence[Invocation], plan: Plan) -> list[Invocation]:
    """The fault ops, which rest in the run's calm for all of its length, also where they have fallen behind their times. A schedule
    that was given has its own pauses."""
    spec = plan.spec
    start_ns, end_ns = fault_planner.calm(spec.seed, int(spec.time_limit_s * NS_PER_S), spec.calm_share)
    if start_ns == end_ns or plan.saved is not None:
        return list(strikes)
    rest = Invocation("sleep", value=end_ns - start_ns, time=start_ns, type="sleep")
    before = [strike for strike in strikes if strike.time is not None and strike.time <= start_ns]
    return [*before, rest, *strikes[len(before) :]]


def due(plan: Plan, faults: Schedule) -> list[tuple[int, str, Any]]:
    """The schedule's fault ops that are due within the time limit; a saved schedule may be for a longer run."""
    return [op for op in faults.ops() if op[0] < plan.spec.time_limit_s * NS_PER_S]


def late_s_max(plan: Plan) -> float | None:
    """How long the main phase waits for faults that are late. A replay must do the same faults on a slow machine too, so it waits
    for all of them (None). Faults that were planned too densely for this machine make the run at most twice as long."""
    return None if plan.saved is not None else plan.spec.time_limit_s


def interpreter(
    plan: Plan,
    choices: Sequence[FaultChoice],
    faults: Schedule,
    record: Callable[[Op], None],
    enter: Callable[[str], None],
) -> Interpreter:
    """The interpreter of that generator. It calls `record` with each op as it happens, and `enter` with the name of each phase as
    it begins."""
    spec = plan.spec

    def log(message: str) -> None:
        _log.info("%s", message)
        enter(message)

    return Interpreter(
        generator(plan, choices, faults),
        concurrency=spec.concurrency,
        nodes=spec.nodes,
        seed=spec.seed,
        record=record,
        log=log,
    )
