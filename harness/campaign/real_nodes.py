"""Planted bugs on real nodes of this machine: found within a few runs or not, and whether what was found can be lifted into the
simulation."""

from __future__ import annotations

import signal
from concurrent.futures import Executor

import msgspec
from msgspec.structs import replace

from checkers.verdict import Validity
from harness.campaign.lift import lift, simulated_case
from harness.environments import fault_table
from harness.errors import Interrupted
from harness.run import plan
from harness.run.execute import run_into
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.zoo.scenario import Planted
from nemesis.registry import families

TIME_LIMIT_S = 20.0
"""Of a run, unless the scenario is shorter."""

INTERVAL_S = 2.0
"""Between faults, at least: real nodes take some time to start."""


class OnRealNodes(msgspec.Struct, frozen=True):
    """runs_count: up to the first INVALID one, or all of them when there was none. lift_tries: simulated runs up to the one that
    fails alike; None: none did. other: whether one failed in another way."""

    runs_count: int
    is_found: bool
    lift_tries: int | None = None
    other: bool = False


def real_spec(planted: Planted, seed: int, env: str = "local") -> RunSpec:
    """The scenario with nodes that are real processes, under those of its faults that they can have in that environment."""
    spec = planted.spec(seed)
    possible = tuple(name for name in spec.nemesis if _is_possible(name, env))
    return replace(
        spec,
        name=f"{spec.target}-{planted.bug}",
        env=env,
        env_options={},
        nemesis=possible,
        time_limit_s=min(spec.time_limit_s, TIME_LIMIT_S),
        interval_s=max(spec.interval_s, INTERVAL_S),
        fault_share=None,
    )


def on_real_nodes(
    planted: Planted, runs_max: int, lift_s: float, store: Store, executor: Executor, jobs: int
) -> OnRealNodes:
    """Up to `runs_max` runs of real nodes, and, where one is INVALID, up to `lift_s` seconds of simulated ones that follow it.
    executor: has `jobs` workers."""
    for number in range(1, runs_max + 1):
        run, result = run_into(store, plan.prepare(real_spec(planted, number)))
        if result.signal:
            raise Interrupted(signal.Signals[result.signal], f"in the middle of {run.path}")
        if result.verdict.validity is Validity.INVALID:
            case, classes = simulated_case(run)
            lifted = lift(case, classes, executor=executor, jobs=jobs, budget_s=lift_s)
            tries = lifted.tried_count if lifted.failed is not None else None
            return OnRealNodes(number, is_found=True, lift_tries=tries, other=lifted.other is not None)
        store.remove(run)
    return OnRealNodes(runs_max, is_found=False)


def _is_possible(fault: str, env: str) -> bool:
    name, _, variant = fault.partition(":")
    return env in fault_table.environments_with(families()[name], variant)
