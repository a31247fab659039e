"""Two-phase commit as real nodes, under real faults of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.verdict import Validity
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store


@pytest.mark.linux
@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("env", "workload"), [("netns", "txn-append"), ("netns", "bank"), ("docker", "bank")])
def test_two_phase_commit_is_strict_serializable_under_partitions_kills_pauses_and_clocks(
    env: str, workload: str, tmp_path: Path
) -> None:
    spec = RunSpec(
        env=env,
        target="2pc",
        workload=workload,
        nodes=("n1", "n2", "n3"),
        nemesis=("partition", "kill", "pause", "clock"),
        time_limit_s=8.0,
        interval_s=2.0,
        rate_hz=50.0,
        seed=5,
    )
    _, result = execute.run_into(Store(tmp_path), plan.prepare(spec))
    assert result.verdict.validity is Validity.VALID, result.verdict
    assert not result.harness
    assert result.verdict.parts["invariants"].stats["blocking"]["votes"] > 0
