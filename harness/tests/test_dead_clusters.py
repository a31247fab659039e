"""Runs in which nodes run and do not answer: no fault gets stuck on them, and a cluster that is dead to the end is not green."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from checkers.windows import fault_results, fault_windows
from histories import jsonl
from histories.faults import FaultResult


def run(tmp_path: Path, target: str, entries: list[tuple[float, str, Any]], time_limit_s: float) -> tuple[int, str]:
    """A run of three nodes under this schedule: its exit code, and what it printed."""
    planned = [{"time_ns": round(s * 1e9), "f": f, "value": value} for s, f, value in entries]
    (tmp_path / "mine.json").write_text(json.dumps({"version": 1, "entries": planned}))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "test", "--env", "local", "--target", f"harness.tests.quorum:{target}"),
            *("--nodes", "3", "--schedule", str(tmp_path / "mine.json"), "--time-limit", f"{time_limit_s:g}"),
            *("--seed", "1", "--rate", "50", "--client-timeout", "0.5", "--store", str(tmp_path / "store")),
            *("--workload-option", "final_time_limit_s=2"),
        ],
        capture_output=True,
        text=True,
        timeout=90,
    )
    return ended.returncode, ended.stdout + ended.stderr


def results(tmp_path: Path) -> list[tuple[str, FaultResult]]:
    history = jsonl.read(tmp_path / "store" / "latest" / "history.jsonl").history
    return [(op.f, result) for op, result in fault_results(history)]


@pytest.mark.long
@pytest.mark.real
def test_a_node_that_needs_the_others_to_answer_does_not_keep_them_from_being_started(tmp_path: Path) -> None:
    entries = [(0.5, "kill", ["n1", "n2"]), (1.0, "restart", ["n3"]), (1.5, "start", ["n1", "n2"])]
    code, text = run(tmp_path, "TARGET", entries, 6)
    assert code == 0, text
    by_f = dict(results(tmp_path)[:3])
    assert by_f["restart"].status == "installed"
    assert by_f["restart"].evidence["silent"] == ["n3"], "it runs, and nobody can tell more"
    assert by_f["start"].status == "installed"
    assert "silent" not in by_f["start"].evidence
    history = jsonl.read(tmp_path / "store" / "latest" / "history.jsonl").history
    assert [(window.name, window.status) for window in fault_windows(history)] == [
        ("kill", "installed"),
        ("restart-all:rolling", "installed"),
    ]
    assert all(window.lifted_ns is not None for window in fault_windows(history))


@pytest.mark.long
@pytest.mark.real
def test_a_cluster_that_never_serves_again_is_not_green(tmp_path: Path) -> None:
    code, text = run(tmp_path, "SLEEPY", [(1.0, "kill", ["n1"]), (1.5, "start", ["n1"])], 3)
    assert code == 2, text
    assert "UNKNOWN  recovery: not recovered: none of the" in text
    f, start = results(tmp_path)[1]
    assert (f, start.status, start.evidence["silent"]) == ("start", "installed", ["n1"])
