"""A campaign on the workers of a real Dask scheduler, one of which is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.campaign import engines
from harness.campaign.campaign_file import read_campaign
from harness.campaign.engines import engine
from harness.campaign.runner import CampaignRunner
from harness.campaign.state import CampaignFolder
from harness.errors import UsageError
from harness.store.runs import Store
from harness.tests.test_campaign import SMALL, AtOnce, told


class Dask:
    """A scheduler and its workers, each a process. address: of the scheduler."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._file = directory / "scheduler.json"
        self._begin(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self._file)
        )
        while not self._file.exists():
            time.sleep(0.05)
        self.address: str = json.loads(self._file.read_text())["address"]

    def worker(self) -> subprocess.Popen[bytes]:
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        return self._begin("worker", self.address, *alone, "--local-directory", str(self._directory))

    def _begin(self, *words: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words], cwd=self._directory, stdout=quiet, stderr=quiet
        )
        self._stack.callback(process.wait, 60)
        self._stack.callback(process.kill)
        return process


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

    while True:
        try:
            with engine(1, dask.address) as (executor, jobs):
                if jobs == 2:
                    CampaignRunner(Store(tmp_path / "b"), folder, campaign, show=show).run(executor, jobs)
                    break
        except UsageError:  # No worker is there yet.
            continue
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
