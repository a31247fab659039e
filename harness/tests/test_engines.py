"""A campaign on the workers of a real Dask scheduler, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.bench.workers import Dask, dask_engine
from harness.campaign import engines
from harness.campaign.campaign_file import read_campaign
from harness.campaign.engines import engine
from harness.campaign.runner import CampaignRunner
from harness.campaign.state import CampaignFolder
from harness.errors import UsageError
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
