"""Whole runs by the command in namespaces and containers: the counts that issue 5 asks for. Minutes."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tests import kernel

pytestmark = [pytest.mark.linux, pytest.mark.long, pytest.mark.real]

EVERY_FAULT = "partition,kill,pause,clock,loss"
BUG_RUNS_MAX = 5
KILLS = 5

environments = pytest.mark.parametrize("env", kernel.ENVIRONMENTS)


@environments
@pytest.mark.timeout(300)
def test_a_healthy_run_under_every_fault_is_valid_and_each_fault_has_evidence(env: str, tmp_path: Path) -> None:
    before = kernel.traces()
    data = kernel.run(tmp_path, env, EVERY_FAULT, 21, 30, "-e", "tcpdump_mib=4")
    assert data["exit_code"] == 0, data["result"]
    assert not data["result"].get("harness")
    done = kernel.faults((tmp_path / "latest").resolve())
    assert {fault["f"] for fault in done} >= {
        "start-partition",
        "kill",
        "pause",
        "start-clock",
        "start-loss",
    }
    assert all(fault["evidence"] for fault in done if fault["status"] == "installed")
    # One that strikes what another fault holds down can be indeterminate, and says why; most are not.
    doubtful = [fault for fault in done if fault["status"] == "indeterminate"]
    assert all(fault["why"] for fault in doubtful)
    assert len(doubtful) < len(done) / 2
    for node in kernel.NODES:
        assert (tmp_path / "latest" / "nodes" / node / "trace.jsonl").stat().st_size
        packets = [file.read_bytes() for file in (tmp_path / "latest" / "nodes" / node).glob("packets.pcap*")]
        assert all(content[:4] == kernel.PCAP_MAGIC for content in packets)
        assert 100_000 < sum(map(len, packets)) < 5_000_000
    assert not kernel.leaked(before)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("env", "bug"),
    [
        ("netns", "stale-read"),
        ("netns", "reply-before-commit"),
        ("docker", "stale-read"),
        pytest.param("docker", "reply-before-commit", marks=pytest.mark.soak),
    ],
)
def test_each_bug_is_caught_within_five_runs(env: str, bug: str, tmp_path: Path) -> None:
    for seed in range(301, 301 + BUG_RUNS_MAX):
        if kernel.run(tmp_path, env, "partition,kill,pause", seed, 12, "--bug", bug)["exit_code"] == 1:
            return
    pytest.fail(f"{bug} survived {BUG_RUNS_MAX} runs in {env}")


@pytest.fixture(scope="module")
def recorded_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run in that environment; the same one whenever it is asked for."""

    @functools.cache
    def record(env: str) -> Path:
        store = tmp_path_factory.mktemp(f"recorded-{env}")
        nemesis = "partition:one,partition:one-way,kill:one,pause:one,clock:offset,loss"
        assert kernel.run(store, env, nemesis, 5, 8)["exit_code"] in (0, 2)
        return (store / "latest").resolve()

    return record


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("first", "second"), [("netns", "docker"), ("docker", "netns"), ("netns", "local"), ("sim", "netns")]
)
def test_a_schedule_replays_elsewhere_with_the_same_grudges_and_targets(
    first: str, second: str, tmp_path: Path, recorded_in: Callable[[str], Path]
) -> None:
    recorded = recorded_in(first)
    replayed = kernel.run(tmp_path, second, "none", 6, 8, "--schedule", recorded / "schedule.json")
    assert replayed["exit_code"] in (0, 2), replayed
    here = (tmp_path / "latest").resolve()
    schedule = json.loads((recorded / "schedule.json").read_text())
    assert schedule == json.loads((here / "schedule.json").read_text())
    planned = [(entry["f"], entry["value"]) for entry in schedule["entries"]]

    def done_count(run: Path) -> int:
        """How many of the planned ops it began. On a busy machine the last ones are left out, and the heals come instead."""
        pairs = zip(planned, kernel.begun(run), strict=False)
        return next((number for number, (asked, begun) in enumerate(pairs) if asked != begun), len(planned))

    def grudges(run: Path) -> list[object]:
        return [fault["did"] for fault in kernel.faults(run) if fault["f"] == "start-partition"]

    # What was asked is the same op for op; what was done is so where the plan leaves nothing to the moment.
    assert min(done_count(recorded), done_count(here)) >= len(planned) // 2
    pairs = list(zip(grudges(recorded), grudges(here), strict=False))
    assert all(there == again for there, again in pairs)
    assert any("grudge" in did for did, _ in pairs if isinstance(did, dict))


def controller(env: str, store: Path, seed: int) -> tuple[subprocess.Popen[bytes], Path]:
    """A run in the middle of a partition, and its folder."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "harness", "test", "--env", env, "--nemesis", "partition"),
            *("--nodes", "3", "--nemesis-interval", "1", "--time-limit", "60", "--rate", "50"),
            *("--seed", str(seed), "--store", str(store)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 60
    history = store / "current" / "history.jsonl"
    while not (history.exists() and "start-partition" in history.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline_s, "no partition was begun"
        time.sleep(0.05)
    return process, (store / "current").resolve()


@environments
@pytest.mark.timeout(600)
def test_after_kill_9_in_a_partition_cleanup_leaves_everything_as_before(env: str, tmp_path: Path) -> None:
    before = kernel.traces()
    rng = random.Random(4)
    for number in range(KILLS):
        process, _ = controller(env, tmp_path / str(number), number)
        time.sleep(rng.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert kernel.traces() - before, "there is something to clean up"
        cleaned = kernel.themis("cleanup")
        assert cleaned.returncode == 0, cleaned.stdout
        assert not kernel.leaked(before), cleaned.stdout


@environments
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_run_that_is_told_to_stop_removes_everything(env: str, number: signal.Signals, tmp_path: Path) -> None:
    before = kernel.traces()
    process, run = controller(env, tmp_path, 1)
    os.kill(process.pid, number)
    process.wait(60)
    assert not kernel.leaked(before)
    assert json.loads((run / "verdict.json").read_text())["interrupted"]


@environments
@pytest.mark.timeout(300)
def test_cleanup_leaves_a_living_run_alone(env: str, tmp_path: Path) -> None:
    before = kernel.traces(with_living=True)
    process, _ = controller(env, tmp_path, 2)
    mine = {
        line
        for line in kernel.traces(with_living=True) - before
        if line.startswith(("namespace", "container", "mount"))
    }
    assert kernel.themis("cleanup").returncode == 0
    assert mine
    assert mine <= kernel.traces(with_living=True)
    assert process.poll() is None
    process.terminate()
    process.wait(60)
