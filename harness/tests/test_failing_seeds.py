"""A sweep keeps its failing seeds as folders: which, how many, and what happens when one cannot be kept."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checkers import Validity
from harness.campaign import failing_seeds
from harness.errors import Interrupted
from harness.run import execute as execute_module
from harness.run import plan
from harness.run.plan import Plan
from harness.run.sinks import FolderSink
from harness.store.runs import Result, RunDirectory, Store
from harness.tests.command import themis, themis_process
from histories import jsonl

STALE = (
    "test",
    "--env",
    "sim",
    "--time-limit",
    "3",
    "--bug",
    "stale-read",
    "--nemesis",
    "partition",
    "--name",
    "swept",
)


def runs(store: Path) -> list[RunDirectory]:
    return list(Store(store).runs())


@pytest.mark.real
@pytest.mark.long
def test_processes_keep_every_failing_seed_as_a_run_like_any_other(tmp_path: Path) -> None:
    ended = themis_process(*STALE, "--seeds", "1..4", "--jobs", "2", "--store", tmp_path, "--json")
    assert ended.returncode == 1, ended.stderr
    failed = json.loads(ended.stdout)["failed"]
    assert {Path(one["run"]) for one in failed} == {run.path for run in runs(tmp_path)}
    assert len(failed) >= 3
    for one in failed:
        run = RunDirectory(Path(one["run"]))
        kept = run.read_result()
        assert kept is not None
        assert run.read_spec().seed == one["seed"]
        assert kept.verdict.parts["linearizable"].validity is Validity.INVALID
        assert len(jsonl.read(run.history).history) > 100
        assert (run.path / "report.html").stat().st_size > 10_000
    told = themis("inspect", "latest", "--store", tmp_path)
    assert "linearizable, key 0" in told.stdout
    assert themis("replay", "latest", "--store", tmp_path).returncode == 0


def test_no_more_are_kept_than_asked_for(tmp_path: Path) -> None:
    ended = themis(*STALE, "--seeds", "1..5", "--keep-failures", "2", "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert len(runs(tmp_path)) == 2
    assert ended.stdout.count("kept in ") == 3, "two lines and the sum"
    sum_line = next(line for line in ended.stdout.splitlines() if "failing runs kept in" in line)
    assert re.match(r"2 of \d failing runs", sum_line)
    assert "--keep-failures 2" in sum_line


@pytest.mark.real
@pytest.mark.long
def test_only_the_seed_that_ends_a_hunt_is_kept(tmp_path: Path) -> None:
    ended = themis_process(*STALE, "--seeds", "1..9", "--jobs", "2", "--fail-fast", "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    (run,) = runs(tmp_path)
    assert f"INVALID seed {run.read_spec().seed}" in ended.stdout


def test_a_run_that_proves_nothing_is_not_kept(tmp_path: Path) -> None:
    vacuous = ("test", "--env", "sim", "--time-limit", "2", "--vacuity", "ok_min=100000", "--seeds", "1..2")
    ended = themis(*vacuous, "--store", tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert not runs(tmp_path)


def test_a_full_disk_ends_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(store: Store, *arguments: Any) -> RunDirectory:
        raise store.unwritable(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(Store, "create", create)
    ended = themis(*STALE, "--seeds", "1..2", "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.count("not kept: the store") == 2
    assert "2 seeds: 2 INVALID" in ended.stdout


def test_ctrl_c_while_a_run_is_kept_leaves_no_half_run_and_loses_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(*arguments: Any) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(failing_seeds, "execute", execute)
    ended = themis(*STALE, "--seeds", "1..3", "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "INVALID seed 1" in ended.stdout
    assert "interrupted by SIGINT" in ended.stderr
    assert not runs(tmp_path)
    assert ended.stdout.splitlines()[-1].endswith("ended early, after 1 of 3 seeds")


def test_a_seed_that_ends_otherwise_when_it_is_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(planned: Plan, sink: FolderSink) -> Result:
        return execute_module.execute(plan.prepare(replace(planned.spec, bugs=())), sink)

    monkeypatch.setattr(failing_seeds, "execute", execute)
    ended = themis(*STALE, "--seeds", "1..1", "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "VALID when it was kept, and INVALID in memory" in ended.stdout
