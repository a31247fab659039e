"""The order of a run: the main phase with its faults, the heal, a quiet period, the final reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import generators as gen
from harness.generators import Generator, Invocation
from harness.interpreter import Interpreter
from harness.plan import NS_PER_S, Plan
from histories.op import Op
from nemesis.registry import FaultChoice, final_ops
from nemesis.schedule import Schedule


def generator(plan: Plan, choices: Sequence[FaultChoice], faults: Schedule) -> Generator:
    """What happens in a run of `plan` under `faults`, from its first op to its last."""
    spec, rng = plan.spec, plan.rng("generator")
    ops = gen.rate(rng, spec.rate_hz, plan.workload.generator(plan.context, rng))
    # A saved schedule may be for a longer run than this one. What is due in time is done, however late the nemesis is:
    # a schedule means the same faults on a slow machine.
    limit_ns = spec.time_limit_s * NS_PER_S
    strikes = [Invocation(f, value=value, time=time_ns) for time_ns, f, value in faults.ops() if time_ns < limit_ns]
    heals = [Invocation(f, value=value) for f, value in final_ops(choices)]
    return gen.phases(
        gen.main_phase(gen.lasting(spec.time_limit_s, gen.clients(ops), also=gen.nemesis(strikes))),
        gen.nemesis(heals),
        gen.sleep(spec.quiet_s),
        gen.clients(plan.workload.final_generator(plan.context)),
    )


def interpreter(
    plan: Plan, choices: Sequence[FaultChoice], faults: Schedule, record: Callable[[Op], None]
) -> Interpreter:
    """The interpreter of that generator; `record` gets each op as it happens."""
    spec = plan.spec
    return Interpreter(
        generator(plan, choices, faults),
        concurrency=spec.concurrency,
        nodes=spec.nodes,
        seed=spec.seed,
        record=record,
    )
