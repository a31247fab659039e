"""The files of containers whose controller was killed. Needs root and a Docker engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environments.docker.environment import find_leftovers
from harness.store.runs import RunDirectory
from harness.tests import kernel
from harness.tests.sshd import awaited, in_background

pytestmark = [pytest.mark.linux, pytest.mark.real, pytest.mark.timeout(300)]


def test_after_kill_9_of_the_controller_cleanup_collects_logs_and_traces_first(tmp_path: Path) -> None:
    before = kernel.traces()
    store = tmp_path / "store"
    history = store / "current" / "history.jsonl"
    controller = in_background(
        *("test", "--env", "docker", "--nodes", "3", "--nemesis", "kill", "--nemesis-interval", "1"),
        *("--time-limit", "60", "--store", str(store)),
    )
    try:
        awaited(lambda: history.exists() and '"f":"kill"' in history.read_text(), 90, controller)
    finally:
        controller.kill()
        controller.wait()
    run = RunDirectory((store / "current").resolve())
    awaited(lambda: run.run_id in {left.run_id for left in find_leftovers()}, 10)
    assert not list(run.nodes.rglob("*.*"))
    cleaned = kernel.themis("cleanup")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert run.run_id in cleaned.stdout
    assert not kernel.leaked(before)
    for node in ("n1", "n2", "n3"):
        assert "listens on" in (run.nodes / node / "node.log").read_text()
        assert (run.nodes / node / "trace.jsonl").stat().st_size
