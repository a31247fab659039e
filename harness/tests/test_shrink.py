"""Shrinking: what is taken away, what must stay, and that the result fails again elsewhere."""

from __future__ import annotations

import errno
import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from harness.campaign import case as cases
from harness.campaign import reproduction
from harness.campaign.case import Case, Failed, recorded_case, run_case
from harness.campaign.reproduction import SHRUNK, keep, read_case, rerun
from harness.campaign.shrink import Shrinker
from harness.cli import themis
from harness.errors import HarnessError, UsageError
from harness.generators import script
from harness.generators.script import Script, ScriptedOp
from harness.run import plan
from harness.run.execute import execute, run_into
from harness.run.sinks import FolderSink, MemorySink
from harness.spec import RunSpec
from harness.store.runs import RunDirectory, Store
from harness.tests.command import themis as ended
from harness.zoo.registry import PLANTED
from nemesis.family import Entry
from nemesis.schedule import Schedule

pytestmark = pytest.mark.xdist_group("shrink")
"""One process: the search that most of them look at is done once."""

SPEC = RunSpec(env="sim", nemesis=("partition", "kill"), bugs=("stale-read",), time_limit_s=6.0, seed=3)


def case_of(spec: RunSpec) -> Case:
    """What a stored run of `spec` would be read as."""
    sink = MemorySink("first")
    execute(plan.prepare(spec), sink)
    assert sink.faults is not None
    return recorded_case(spec, sink.faults, sink.history())


@pytest.fixture(scope="module")
def failed() -> Failed:
    found = run_case(case_of(SPEC))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shrinker(failed: Failed) -> Shrinker:
    shrinker = Shrinker(failed, budget_s=600.0)
    shrinker.shrink()
    return shrinker


def test_a_run_fails_again_by_its_script_where_faults_had_to_wait_for_each_other() -> None:
    """A clock that is read while its node is paused takes its time, so that the next fault is late: by the same time again."""
    planted = next(each for each in PLANTED if (each.target, each.bug) == ("2pc", "presumed-commit"))
    assert run_case(case_of(planted.spec())) is not None


def test_a_run_whose_main_phase_waited_for_late_faults_is_had_again_whole() -> None:
    spec = replace(SPEC, bugs=(), nemesis=("clock", "pause", "kill"), interval_s=0.1, time_limit_s=3.0)
    first, second = MemorySink("first"), MemorySink("second")
    execute(plan.prepare(spec), first)
    assert first.faults is not None
    case = recorded_case(spec, first.faults, first.history())
    assert case.spec.time_limit_s > spec.time_limit_s + 0.2, "the faults were not late"
    execute(plan.prepare(case.spec, saved=case.faults, script=case.script), second)
    # What comes after the heal is awaited by moments that a script does not have.
    asked = [
        [(op.time, op.type, op.process, op.f, op.key, op.value) for op in sink.history() if op.is_client]
        for sink in (first, second)
    ]
    until = next(number for number, op in enumerate(asked[0]) if op[0] > case.spec.time_limit_s * 1e9)
    assert asked[0][:until] == asked[1][:until]


@pytest.mark.long
def test_a_stale_read_needs_a_handful_of_ops(failed: Failed, shrinker: Shrinker) -> None:
    small = shrinker.best
    assert shrinker.is_minimal
    assert len(small.script.ops) <= 12 < len(failed.case.script.ops)
    assert len(small.faults.entries) <= 3
    assert len(small.spec.nodes) <= 3
    assert small.spec.time_limit_s < SPEC.time_limit_s


def test_the_class_of_the_anomaly_stays(failed: Failed, shrinker: Shrinker) -> None:
    again = run_case(shrinker.best)
    assert again is not None
    assert failed.classes[0] in again.classes


@pytest.mark.long
def test_no_op_can_be_missed(shrinker: Shrinker) -> None:
    ops = shrinker.best.script.ops
    for number in range(len(ops)):
        fewer = replace(shrinker.best, script=Script(ops=ops[:number] + ops[number + 1 :]))
        assert cases.first_failure(fewer, shrinker.wanted, 4) is None


class AtOnce(Executor):
    """Runs each call when it is handed out."""

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


@pytest.mark.long
def test_several_processes_find_what_one_finds(failed: Failed, shrinker: Shrinker) -> None:
    together = Shrinker(failed, executor=AtOnce(), jobs=3, budget_s=600.0)
    together.shrink()
    assert together.best == shrinker.best


def test_without_time_the_first_case_stands(failed: Failed) -> None:
    shrinker = Shrinker(failed, budget_s=0.0)
    assert shrinker.shrink() == failed
    assert not shrinker.is_minimal


def test_a_healthy_case_does_not_fail(failed: Failed) -> None:
    assert run_case(replace(failed.case, spec=replace(SPEC, bugs=()))) is None


def test_a_cluster_that_never_had_a_node() -> None:
    ops = tuple(ScriptedOp(time_ns=at, thread=thread, f="read", key=1) for at, thread in enumerate((0, 1, 2, 4, 5)))
    entries = (
        Entry(1, "kill", ["n1", "n2"]),
        Entry(2, "kill", ["n2"]),
        Entry(3, "start-partition", {"grudge": {"n1": ["n2", "n3"], "n2": ["n1"]}, "shape": "one"}),
        Entry(4, "start-partition", {"grudge": {"n2": ["n1"]}, "shape": "one"}),
        Entry(5, "stop-partition", None),
    )
    nodes = ("n1", "n2", "n3")
    spec = RunSpec(env="sim", nodes=nodes, concurrency=6)
    small = cases.without_node(Case(spec, Schedule(nodes=nodes, entries=entries), Script(ops=ops)), "n2")
    assert small.spec.nodes == small.faults.nodes == ("n1", "n3")
    assert [(entry.time_ns, entry.value) for entry in small.faults.entries] == [
        (1, ["n1"]),
        (3, {"grudge": {"n1": ["n3"]}, "shape": "one"}),
        (5, None),
    ]
    at = [small.spec.nodes[op.thread % 2] for op in small.script.ops]
    assert (at[0], at[2], at[4]) == ("n1", "n3", "n3"), "clients stay at their nodes"
    assert small.spec.concurrency % 2 == 0
    assert small.spec.concurrency > max(small.threads)


@pytest.mark.long
def test_the_command_keeps_a_run_that_replays_and_a_test_that_fails(tmp_path: Path) -> None:
    """The whole way: a failing run, shrunk, run again in another process, by `replay` and by pytest."""
    store = str(tmp_path / "store")
    runner = CliRunner()
    ran = runner.invoke(
        themis,
        f"test --env sim --bug stale-read --nemesis partition,kill --nodes 3 --seed 1 --time-limit 4 --store {store}".split(),
    )
    assert "INVALID" in ran.output
    shrunk = runner.invoke(themis, ["shrink", "latest", "--jobs", "1", "--budget", "600", "--json", "--store", store])
    told = json.loads(shrunk.stdout)
    assert told["is_minimal"]
    assert told["after"]["client_ops"] <= 12
    run = RunDirectory(Path(told["run"]))
    assert run.path.parent.name == "raft-register-stale-read-shrunk"
    assert read_case(run).script == script.load(run.script, run.read_spec().concurrency)
    again = rerun(run.path)
    assert again is not None
    assert told["anomaly"] in again.classes
    replayed = subprocess.run(
        [sys.executable, "-m", "harness", "replay", str(run.path)], capture_output=True, text=True, check=False
    )
    assert (replayed.returncode, replayed.stdout[:8]) == (0, "the same")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", told["test"]],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert tested.returncode == 1
    assert "which nothing from" in tested.stdout


@pytest.mark.parametrize("env", ["local", "sim"])
def test_what_cannot_be_shrunk_is_refused_in_words(tmp_path: Path, env: str) -> None:
    spec = RunSpec(env=env, time_limit_s=1.0, nodes=("n1",), concurrency=1)
    run = Store(tmp_path).create(spec, "some")
    refused = CliRunner().invoke(themis, ["shrink", str(run.path), "--store", str(tmp_path)], standalone_mode=False)
    said = str(refused.exception)
    assert ("a run of the environment local" if env == "local" else "No such file") in said


def test_a_run_that_was_valid_is_refused(tmp_path: Path) -> None:
    run, _ = run_into(Store(tmp_path), plan.prepare(replace(SPEC, bugs=(), time_limit_s=0.5)))
    refused = CliRunner().invoke(themis, ["shrink", str(run.path), "--store", str(tmp_path)], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert "so there is nothing to shrink" in str(refused.exception)


def full(*_arguments: object) -> None:
    """In the place of something that writes a file."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_when_the_smallest_run_is_kept(
    shrinker: Shrinker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(reproduction, "write_atomically", full)
        with pytest.raises(UsageError, match="cannot be written: No space left"):
            keep(Store(tmp_path), shrinker.failed, "some", SHRUNK)
    monkeypatch.setattr(FolderSink, "history", full)
    with pytest.raises(HarnessError, match=r"failed in memory and not when it was kept: .*No space left"):
        keep(Store(tmp_path), shrinker.failed, "some", SHRUNK)


def test_a_store_that_cannot_be_written_is_refused_before_the_search(tmp_path: Path) -> None:
    run, _ = run_into(Store(tmp_path / "store"), plan.prepare(SPEC))
    (tmp_path / "file").touch()
    asked = ["shrink", str(run.path), "--store", str(tmp_path / "file" / "store")]
    refused = CliRunner().invoke(themis, asked, standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert "cannot be written" in str(refused.exception)


def test_what_can_be_pasted_is_quoted(tmp_path: Path) -> None:
    run, _ = run_into(Store(tmp_path / "two words"), plan.prepare(SPEC))
    told = ended("shrink", run.path, "--store", tmp_path / "two words", "--jobs", "1", "--budget", "0.1")
    assert told.returncode == 0, told.stderr
    for verb in ("themis inspect", "pytest"):
        [words] = re.findall(f": {verb} (.*)", told.stdout)
        [path] = shlex.split(words)
        assert Path(path).exists()
