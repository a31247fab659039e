"""A simulated run that an error of the harness, such as a full disk, cuts short within a step: nobody blames the cluster."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from checkers.verdict import Validity
from harness.environments.sim import message_log, run_files, world
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from histories import jsonl
from targets.raft.core import Raft

SPEC = RunSpec(
    env="sim",
    time_limit_s=1.5,
    rate_hz=120.0,
    nemesis=("partition", "kill"),
    interval_s=0.2,
    env_options={"messages": True},
)
RUNS_COUNT = 12


@pytest.mark.parametrize("stays", [True, False], ids=["the disk stays full", "there is room again"])
@pytest.mark.parametrize("where", ["traces and messages", "history"])
@pytest.mark.long
def test_what_a_cut_step_leaves_is_not_held_against_the_cluster(
    where: str, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that fails is another one in each run; many of them are below a fault op, which waits for what it began."""
    monkeypatch.setattr(world, "TRACE_ROWS_MAX", 16)
    monkeypatch.setattr(message_log, "ENTRIES_MAX", 16)
    owner: Any = run_files if where == "traces and messages" else jsonl.Writer
    name = "_write" if owner is run_files else "append"
    usual = getattr(owner, name)
    rng = Random(stays)
    for seed in range(RUNS_COUNT):
        left = rng.randrange(20, 300 if owner is run_files else 150)
        is_over = False

        def write(*arguments: Any, **more: Any) -> Any:
            nonlocal left, is_over
            left -= 1
            if left == 0 or (left < 0 and stays):
                is_over = True
                raise OSError(errno.ENOSPC, "No space left on device")
            return usual(*arguments, **more)

        monkeypatch.setattr(owner, name, write)
        _, result = execute.run_into(
            Store(tmp_path), plan.prepare(msgspec.structs.replace(SPEC, seed=seed)), is_watched=False
        )
        assert is_over, (seed, left)
        assert result.verdict.validity is not Validity.INVALID, (seed, result.verdict.reason)
        assert any("No space left" in failure.error for failure in result.harness)
        monkeypatch.setattr(owner, name, usual)


def test_a_core_without_memory_is_a_failure_of_the_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps_left = 400
    usual = Raft.step

    def step(self: Raft, *arguments: Any) -> Any:
        nonlocal steps_left
        steps_left -= 1
        if steps_left < 0:
            raise MemoryError
        return usual(self, *arguments)

    monkeypatch.setattr(Raft, "step", step)
    _, result = execute.run_into(Store(tmp_path), plan.prepare(SPEC), is_watched=False)
    assert result.verdict.validity is not Validity.INVALID
    assert "MemoryError" in result.harness[0].error
