"""Ctrl-C and SIGTERM, once and twice, at real runs and sweeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.environments.leftovers import processes_of_run
from harness.tests.command import themis
from histories import jsonl


def started(store: Path, *more: str) -> tuple[subprocess.Popen[str], Path]:
    """A real run under way, and its folder, as soon as operations have happened."""
    controller = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "harness",
            "test",
            "--nodes",
            "3",
            "--time-limit",
            "60",
            "--nemesis",
            "partition",
            "--seed",
            "1",
            "--vacuity",
            "attempts_min=0",
            "--store",
            str(store),
            *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 40
    history = store / "current" / "history.jsonl"
    while not (history.exists() and has_met_a_fault(history.read_text())):
        assert time.monotonic() < deadline, "the run did not begin"
        assert controller.poll() is None, controller.communicate()[0]
        time.sleep(0.05)
    return controller, (store / "current").resolve()


def has_met_a_fault(lines: str) -> bool:
    """A partition was installed, and clients went on for a while."""
    _, installed, after = lines.partition('"status":"installed"')
    return bool(installed) and after.count('"type":"ok"') > 40


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
def test_one_interrupt_heals_and_judges_what_there_is(tmp_path: Path, number: signal.Signals) -> None:
    controller, run = started(tmp_path)
    controller.send_signal(number)
    output, _ = controller.communicate(timeout=40)
    assert controller.returncode == 128 + number, output
    assert f"interrupted by {number.name}: the verdict is on what was recorded" in output
    ops = jsonl.read(run / "history.jsonl").history
    assert [op.f for op in ops.nemesis()][-1] == "stop-partition"
    assert ops.select("ok", "read")
    assert not processes_of_run(run)


@pytest.mark.real
def test_two_interrupts_end_it_at_once_and_keep_the_history(tmp_path: Path) -> None:
    controller, run = started(tmp_path, "--quiet-period", "60")
    controller.send_signal(signal.SIGINT)
    time.sleep(0.3)
    began = time.monotonic()
    controller.send_signal(signal.SIGINT)
    output, _ = controller.communicate(timeout=20)
    assert controller.returncode == 130, output
    assert "told twice to stop" in output
    assert time.monotonic() - began < 10
    assert len(jsonl.read(run / "history.jsonl").history) > 50
    assert not processes_of_run(run)
    assert themis("analyze", run, "--store", tmp_path).returncode in (0, 2)


def test_an_interrupted_sweep_tells_what_it_swept(tmp_path: Path) -> None:
    arguments = ("--env", "sim", "--time-limit", "2", "--bug", "stale-read", "--nemesis", "partition")
    sweep = subprocess.Popen(
        [sys.executable, "-m", "harness", "test", *arguments, "--seeds", "1..100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert sweep.stdout is not None
    assert "seed" in sweep.stdout.readline()
    sweep.send_signal(signal.SIGINT)
    output, errors = sweep.communicate(timeout=30)
    assert sweep.returncode == 1, errors
    assert "interrupted by SIGINT" in errors
    assert " INVALID" in output.splitlines()[-1]
    assert "ended early, after" in output.splitlines()[-1]
