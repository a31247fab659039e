"""Where acknowledged writes were in simulated runs, against what the nodes' logs really hold."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from checkers.custody import custody
from harness.environments.sim.environment import SimEnvironment
from harness.run import plan
from harness.run.execute import execute
from harness.spec import RunSpec
from harness.tests.simulated import TraceSink

SPEC = RunSpec(
    env="sim", nemesis=("partition", "kill"), time_limit_s=15.0, interval_s=1.0, rate_hz=50.0, concurrency=10
)


@pytest.mark.parametrize("bugs", [(), ("volatile-log",)])
@pytest.mark.long
def test_every_acknowledged_write_is_where_the_traces_say(bugs: tuple[str, ...]) -> None:
    sink = TraceSink("custody")
    execute(plan.prepare(msgspec.structs.replace(SPEC, seed=2, bugs=bugs, env_options={"invariants": False})), sink)
    environment = cast(SimEnvironment, sink.environment)
    records = sink.records
    logs = {node.name: core._log for node in environment.nodes if (core := cast(Any, node._core)) is not None}
    writes = [
        (invocation.index, completion)
        for invocation, completion in sink.history().pairs()
        if completion is not None and completion.type == "ok" and invocation.f == "write"
    ]
    lost = 0
    for op, completion in writes[:: max(1, len(writes) // 25)]:
        found = custody(records, op)
        assert found is not None
        assert found.served_by == completion.node
        assert found.served_ns < completion.time
        assert found.served_by in found.holders(found.served_ns)
        if not bugs:
            assert len(found.holders(found.served_ns)) >= 3, "a majority of disks"
        for node, log in logs.items():
            is_held = log.last_index >= found.index and log.entry(found.index).command == found.command
            assert (node in found.holders(records[-1].time)) == is_held
        lost += any(loss.why == "crash" for part in found.nodes.values() for loss in part.losses)
    assert bool(lost) == bool(bugs), "healthy disks give back what was acknowledged"
