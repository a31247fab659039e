"""Consistency tests as pytest tests: the fixture `themis` runs a cluster under faults, and fails with the anomaly in words.

    def test_my_store(themis):
        themis.run(target="my_store:TARGET", workload="register", nemesis="partition,kill", nodes=3, time_limit=10)

pytest loads this module where Themis is installed. `--themis-seed`, `--themis-env` and `--themis-store` change every run.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.store.runs import Result

# Everything else is imported when a test asks for the fixture: pytest loads this module in projects that never do.


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, for every run of the session."""
    group = parser.getgroup("themis", "consistency tests")
    group.addoption(
        "--themis-seed", type=int, default=None, metavar="SEED", help="Run this seed. Default: a fresh one a run."
    )
    group.addoption(
        "--themis-env", default=None, metavar="ENV", help="Run in this environment: sim, local, netns, docker, ssh."
    )
    group.addoption(
        "--themis-store",
        default=None,
        metavar="DIR",
        help="Keep runs here. Default: a folder of the test's own, below pytest's.",
    )


@pytest.fixture
def themis(request: pytest.FixtureRequest) -> ThemisRunner:
    """Runs clusters in this test. Each run is kept in a folder, which a failure names."""
    chosen = request.config.getoption("--themis-store")
    store = Path(chosen) if chosen else request.getfixturevalue("tmp_path") / "store"
    return ThemisRunner(
        store,
        seed=request.config.getoption("--themis-seed"),
        env=request.config.getoption("--themis-env"),
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name).strip("-.")[:60] or "test",
    )


class ThemisRunner:
    """Runs `themis test` from a test. store: where runs are kept. seed, env: of every run, whatever the test says; None: as it
    says. name: the runs' folder below the store."""

    def __init__(self, store: Path, *, seed: int | None = None, env: str | None = None, name: str = "test") -> None:
        self.store = store
        self._seed = seed
        self._env = env
        self._name = name

    def run(self, *, seed: int | None = None, **flags: Any) -> Result:
        """Run a cluster; the result is VALID. `flags` are those of `themis test`, with _ for -: target, workload, nemesis, nodes,
        time_limit, env (default sim), target_option={...}, ...

        Fails the test when the run is not VALID or the harness failed, with the anomaly in words, the run's folder and the command
        that runs it again. Raises UsageError for flags that mean nothing: pytest shows the line of the test, and no frame of ours.
        """
        from harness.errors import UsageError

        __tracebackhide__ = True
        try:
            return self._run(seed, flags)
        except UsageError as error:
            raise error.with_traceback(None) from None

    def _run(self, seed: int | None, flags: dict[str, Any]) -> Result:
        from msgspec import ValidationError
        from msgspec.structs import replace

        from checkers import Validity
        from harness.campaign.command_line import command_line
        from harness.campaign.flags import FLAGS, spec_of_flags
        from harness.errors import UsageError, unknown_name
        from harness.report.summary import summary
        from harness.run import plan
        from harness.run.execute import run_into
        from harness.store.runs import Store

        given = {name.replace("_", "-"): value for name, value in flags.items()}
        for flag in given:
            if flag not in FLAGS:
                raise unknown_name("flag", flag, FLAGS)
        if self._env is not None:
            given["env"] = self._env
        chosen = next((one for one in (self._seed, seed) if one is not None), random.SystemRandom().randrange(2**31))
        try:
            spec = replace(spec_of_flags(given), seed=chosen)
        except (ValueError, ValidationError) as error:
            raise UsageError(str(error)) from None
        run, result = run_into(Store(self.store), plan.prepare(replace(spec, name=self._name)))
        if result.signal and result.verdict.validity is not Validity.INVALID:
            raise KeyboardInterrupt(f"{result.signal} in the midst of {run.path}")
        if result.verdict.validity is not Validity.VALID or result.harness:
            pytest.fail(f"{summary(run, result, spec)}\n  again: {command_line(spec)}", pytrace=False)
        return result
