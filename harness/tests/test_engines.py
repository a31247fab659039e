"""A campaign on the workers of a real Dask scheduler, one of which is killed on the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.bench.workers import Dask, dask_engine
from harness.campaign import engines
from harness.campaign.campaign_file import read_campaign
from harness.campaign.engines import engine
from harness.campaign.runner import CampaignRunner
from harness.campaign.state import CampaignFolder
from harness.cli import run_command
from harness.errors import INVALID, USAGE, VALID, UsageError
from harness.run import plan
from harness.run.execute import run_into
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.test_campaign import SMALL, AtOnce, told


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    with ExitStack() as stack:
        yield Dask(tmp_path, stack)


@pytest.mark.long
@pytest.mark.real
def test_a_lost_worker_loses_nothing_and_nothing_counts_twice(tmp_path: Path, dask: Dask) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SMALL.replace("1..3", "1..30"))
    campaign = read_campaign(path)
    with pytest.raises(UsageError, match="it has no workers"), engine(1, dask.address):
        pass
    workers = [dask.worker(), dask.worker()]
    folder = CampaignFolder.create(tmp_path / "b", campaign)
    killed: list[bool] = []

    def show(counts: object) -> None:
        if len(folder.outcomes()) >= 10 and not killed:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(True)

    with ExitStack() as stack:
        executor = dask_engine(dask, stack, 2)
        CampaignRunner(Store(tmp_path / "b"), folder, campaign, show=show).run(executor, 2)
    assert killed
    whole = CampaignFolder.create(tmp_path / "a", campaign)
    CampaignRunner(Store(tmp_path / "a"), whole, campaign).run(AtOnce(), 1)
    assert len(folder.results.read_bytes().splitlines()) == 60
    assert sorted(map(told, folder.outcomes()), key=repr) == sorted(map(told, whole.outcomes()), key=repr)


@pytest.mark.long
@pytest.mark.real
def test_one_history_is_checked_by_key_on_the_workers(
    tmp_path: Path, dask: Dask, capsys: pytest.CaptureFixture[str]
) -> None:
    run_into(Store(tmp_path), plan.prepare(RunSpec(env="sim", time_limit_s=5.0, seed=1, name="good")))
    run_into(
        Store(tmp_path), plan.prepare(RunSpec(env="sim", time_limit_s=5.0, seed=1, name="bad", bugs=("stale-read",)))
    )
    for _ in range(2):
        dask.worker()
    with ExitStack() as stack:
        dask_engine(dask, stack, 2)
    for name, code in (("good", VALID), ("bad", INVALID)):
        words = ["check", str(tmp_path / name / "latest" / "history.jsonl"), "--model", "cas-register", "--json"]
        there = json_of(capsys, [*words, "--scheduler", dask.address], code)
        here = json_of(capsys, words, code)
        assert there["stats"]["keys"] == here["stats"]["keys"] > 1
        assert there["validity"] == here["validity"]
        assert there["stats"].get("monitor_undecided") == here["stats"].get("monitor_undecided")


def json_of(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> Any:
    assert run_command(words) == code
    return json.loads(capsys.readouterr().out)


def test_only_linearizability_is_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "h.jsonl").write_text("")
    assert (
        run_command(["check", str(tmp_path / "h.jsonl"), "--consistency", "causal", "--scheduler", "tcp://x:1"])
        == USAGE
    )
    assert "give --model" in capsys.readouterr().err


def test_a_worker_with_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def run(self, function: object) -> dict[str, str]:
            return {"tcp://a:1": engines.source_digest(), "tcp://b:1": "other"}

    with pytest.raises(UsageError, match=r"the worker tcp://b:1 has another themis .*\(1 of 2"):
        engines.check_sources(Client(), "tcp://c:1")


def test_a_scheduler_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CONNECT_TIMEOUT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(UsageError, match="no Dask scheduler answers there"), engine(1, address):
            pass
