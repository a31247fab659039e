"""How much faster a campaign gets with a second worker: processes of this machine, and workers of a Dask scheduler.

Each round runs one campaign with one worker and then with two, all of them already started. The ratio is of the runs a second, the
median over rounds. Two workers, a scheduler and the campaign's own process share the machine: two processors cannot give 2.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from harness.campaign.campaign_file import Campaign, read_campaign
from harness.campaign.engines import engine
from harness.campaign.runner import CampaignRunner
from harness.campaign.state import CampaignFolder
from harness.errors import UsageError
from harness.store.runs import Store

CAMPAIGN = """
name: workers
run: {time-limit: 20, nodes: 5, nemesis: "partition,kill,pause,loss,clock"}
matrix: {workload: [register, queue]}
shrink: ""
"""

SEEDS = 12
ROUNDS = 3
START_S_MAX = 120.0


class Dask:
    """A Dask scheduler and its workers, each a process that ends with `stack`. address: of the scheduler."""

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
        """One more worker of one thread."""
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


def dask_engine(dask: Dask, stack: ExitStack, workers: int) -> Executor:
    """The executor of this scheduler once it has so many workers, until `stack` ends. Raises UsageError where they do not come."""
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        with ExitStack() as tried:
            try:
                executor, jobs = tried.enter_context(engine(workers, dask.address))
            except UsageError:
                if time.monotonic() > deadline_s:
                    raise
                continue
            if jobs == workers:
                stack.enter_context(tried.pop_all())
                return executor


def runs_per_s(campaign: Campaign, executor: Executor, jobs: int, first: int) -> float:
    """Of the seeds from `first` on, in a store that is gone afterwards. The workers have warmed up with some others before."""
    with tempfile.TemporaryDirectory(prefix="themis-bench-") as path:
        for seeds in ((first, first), (first + 1, first + SEEDS)):
            planned = msgspec.structs.replace(campaign, seeds=seeds)
            folder = CampaignFolder.create(Path(path), planned)
            began_s = time.monotonic()
            CampaignRunner(Store(Path(path)), folder, planned).run(executor, jobs)
            took_s = time.monotonic() - began_s
    return planned.tasks_count / took_s


def measure() -> dict[str, Any]:
    """runs/s with one and with two workers of both kinds, and how much more two do (medians of ROUNDS rounds)."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="themis-bench-") as path, ExitStack() as stack:
        file = Path(path, "campaign.yaml")
        file.write_text(CAMPAIGN)
        campaign = read_campaign(file)
        one, two = [Dask(_folder(path, count), stack) for count in (1, 2)]
        for dask, workers in ((one, 1), (two, 2)):
            for _ in range(workers):
                dask.worker()
        kinds = {
            "processes": [stack.enter_context(engine(jobs))[0] for jobs in (1, 2)],
            "dask": [dask_engine(one, stack, 1), dask_engine(two, stack, 2)],
        }
        for kind, executors in kinds.items():
            ratios, alone = [], []
            for number in range(ROUNDS):
                rates = [
                    runs_per_s(campaign, executor, jobs, number * 1000 + 1)
                    for jobs, executor in enumerate(executors, 1)
                ]
                alone.append(rates[0])
                ratios.append(rates[1] / rates[0])
            told |= {f"{kind}_runs_per_s": statistics.median(alone), f"{kind}_two": statistics.median(ratios)}
    return told | {"wanted": 1.7}


def _folder(path: str, number: int) -> Path:
    folder = Path(path, f"dask-{number}")
    folder.mkdir()
    return folder
