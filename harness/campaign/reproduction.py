"""A failing run as files that fail again anywhere: reads a stored run as a case, and writes a pytest file beside it."""

from __future__ import annotations

import signal
from pathlib import Path

from msgspec.structs import replace

from harness.campaign.case import Case, Failed, recorded_case, run_case
from harness.errors import HarnessError, Interrupted, UsageError
from harness.generators import script
from harness.report.anomaly import anomaly_classes
from harness.report.page.due import write_due
from harness.run import plan
from harness.run.execute import run_into
from harness.run.plan import Plan
from harness.store.runs import Result, RunDirectory, Store, write_atomically
from histories import jsonl
from histories.printing import line
from histories.wellformed import MalformedHistory
from nemesis import schedule
from nemesis.schedule import BadSchedule
from targets.target import CoreTarget

TEST_FILE = "test_reproduction.py"
SHRUNK, LIFTED = "-shrunk", "-lifted"
"""What the folders of shrunk runs and of lifted ones end with."""

_TEST = '''"""Runs the case beside this file (spec.json, schedule.json, script.json) again. Fails as long as the anomaly is there:

{words}

Written by themis. Copy the folder into your tests.
"""

from pathlib import Path

from harness.campaign.reproduction import rerun


def test_the_case_is_valid() -> None:
    failed = rerun(Path(__file__).parent)
    assert failed is None, failed.words
'''


def _instead(target: str, run: Path) -> str:
    """What can be done with a failing run of real nodes."""
    try:
        has_simulation = isinstance(plan.find_target(target), CoreTarget)
    except UsageError:
        has_simulation = True  # `themis lift` says what is wrong with the target.
    if has_simulation:
        return f"`themis lift {run}` looks for the same failure in the simulation, and what it finds can be shrunk"
    return (
        f"{target} is a program outside the project and has no simulation: `themis replay {run}` runs the same faults again, and a "
        "shorter --time-limit makes a smaller run"
    )


def read_case(run: RunDirectory) -> Case:
    """The stored run as a case; the script of a run that had none is what its clients asked for. Raises UsageError for a run that
    cannot be run again exactly, or that cannot be read."""
    spec = run.read_spec()
    if spec.env != "sim":
        raise UsageError(
            f"{run.path}: a run of the environment {spec.env}; only simulated runs fail again exactly. "
            f"{_instead(spec.target, run.path)}"
        )
    try:
        faults = schedule.load(run.schedule, spec.nodes)
        if run.script.exists():
            return Case(spec, faults, script.load(run.script, spec.concurrency))
        history = jsonl.read(run.history).history
    except (BadSchedule, MalformedHistory) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}") from error
    return recorded_case(spec, faults, history)


def rerun(directory: Path) -> Failed | None:
    """Run the case in `directory` again, in memory: how it fails, or None when nothing is wrong."""
    return run_case(read_case(RunDirectory(directory)))


def run_again(store: Store, again: Plan) -> tuple[RunDirectory, Result, str]:
    """Run what was simulated in memory once more, into a new folder of the store, with its page.

    Returns the folder, how the run ended, and what went wrong with the page ("" when nothing did). Raises Interrupted when a signal
    cut it off.
    """
    run, result = run_into(store, again, is_watched=False)
    if result.signal:
        raise Interrupted(signal.Signals[result.signal], f"in the middle of {run.path}")
    return run, result, write_due(run, result)


def keep(store: Store, failed: Failed, name: str, suffix: str) -> RunDirectory:
    """Run the case that was made of the run called `name` once more, into store/`name` + `suffix`, with a pytest file that runs it
    again.

    Raises HarnessError when it does not fail there as it did in memory, and UsageError when the store cannot be written.
    """
    case = failed.case
    for old in (SHRUNK, LIFTED):
        name = name.removesuffix(old)
    spec = replace(case.spec, name=f"{name[:50]}{suffix}")
    run, result, _ = run_again(store, plan.prepare(spec, saved=case.faults, script=case.script))
    if not set(failed.classes) & set(anomaly_classes(result)):
        why = result.harness[0].error if result.harness else "please report it"
        raise HarnessError(f"{run.path}: the run failed in memory and not when it was kept: {why}")
    words = line(failed.words, 120).replace("\\", "/").replace('"""', "'''")
    try:
        write_atomically(run.path / TEST_FILE, _TEST.format(words=words).encode())
    except OSError as error:
        raise store.unwritable(error) from error
    return run
