"""What a run needs, put together and checked before anything of it is started."""

from __future__ import annotations

import msgspec

from harness.environments.base import Deployment, Environment, EnvironmentUnavailable
from harness.errors import UsageError
from harness.run.live import Progress
from harness.run.plan import Plan
from harness.run.sinks import Sink
from nemesis.nemesis import Nemesis
from nemesis.registry import FaultChoice, chosen_families
from nemesis.schedule import Schedule

FAULT_TIMEOUT_S = 20.0
"""A fault op that is not done by then is given up as indeterminate; a restart of all nodes takes a second or two."""


class Stage(msgspec.Struct, frozen=True):
    """Everything that a run needs, checked, and nothing of it started."""

    plan: Plan
    environment: Environment
    choices: tuple[FaultChoice, ...]
    faults: Schedule
    nemesis: Nemesis
    progress: Progress


def prepare_stage(plan: Plan, sink: Sink) -> Stage:
    """The environment and the faults, checked but not started. Raises UsageError."""
    spec = plan.spec
    try:
        environment = plan.environment(
            Deployment(
                run_id=sink.run_id,
                directory=sink.directory,
                target=plan.target,
                options=plan.target_options,
                bugs=frozenset(spec.bugs),
                nodes=spec.nodes,
                seed=spec.seed,
                client_timeout_s=spec.client_timeout_s,
                env_options=spec.env_options,
                moves_clocks=plan.moves_clocks,
                loses_unsynced=plan.loses_unsynced,
                topology=plan.topology,
                interface=plan.workload.interface,
                keeps_files=sink.keeps_files,
            )
        )
        environment.check()
    except EnvironmentUnavailable as error:
        raise UsageError(f"environment {spec.env}: {error}") from error
    choices, faults = plan.faults(environment.cluster)
    timeout_s = None if environment.is_virtual else FAULT_TIMEOUT_S
    nemesis = Nemesis(environment.cluster, chosen_families(choices), timeout_s=timeout_s)
    return Stage(plan, environment, tuple(choices), faults, nemesis, Progress(spec.time_limit_s))
