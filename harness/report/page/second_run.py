"""A simulated run that a broken invariant ended, run again and going on past it: what clients would have seen of the damage.

It runs in a process of its own with bounds on virtual time, processor time and memory: what nodes do after they broke a rule of
their protocol may be without end, also inside one step.

    python -m harness.report.page.second_run RUN STORE CPU_S_MAX
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from checkers import Validity, Verdict
from checkers.evidence import Findings, Invariants, Linearizability
from harness.report.difference import ops_in
from harness.report.failure import Failure, failures
from harness.run import execute
from harness.run.replays import plan_again
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory, Store
from harness.store.traces import read_traces
from histories import jsonl
from histories.history import History
from histories.printing import line
from histories.tracing import TraceRecord

PAST_S = 15.0
"""Virtual seconds past the broken invariant. Of ten bugs of the zoo that break one, clients see four within it."""

CPU_S_MAX = 60.0
WALL_S_MAX = 600
MEMORY_BYTES_MAX = 3 << 30
FOLDER = "again"


class SecondRun(msgspec.Struct, frozen=True):
    """What the second run left. run: its folder, with messages.jsonl. damage: what clients saw, in order of time. past_s: how long
    it went on."""

    run: RunDirectory
    history: History
    traces: tuple[TraceRecord, ...]
    damage: tuple[Failure, ...]
    past_s: float


class NoSecondRun(Exception):
    """The second run was not the same, or was ended because it used too much; the text says which."""


def breaks_invariant(verdict: Verdict) -> bool:
    """Whether an invariant was broken, which ends a simulated run."""
    return any(_has_violation(part) for _, part in verdict.leaves())


def _has_violation(part: Verdict) -> bool:
    return isinstance(part.evidence, Invariants) and part.evidence.violation is not None


@contextmanager
def second_run(run: RunDirectory, spec: RunSpec, cpu_s_max: float = CPU_S_MAX) -> Iterator[SecondRun]:
    """The run once more, past its broken invariant, in a folder that is there as long as the block. Raises NoSecondRun."""
    with tempfile.TemporaryDirectory(prefix="themis-second-run-") as temporary:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(run.path), temporary, str(cpu_s_max)],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=WALL_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NoSecondRun(f"it took more than {WALL_S_MAX} s") from None
        if done.returncode:
            last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason is known"])[-1]
            raise NoSecondRun(line(last, 200))
        yield _read(run, RunDirectory(next((Path(temporary) / FOLDER).iterdir())), spec)


def _read(run: RunDirectory, again: RunDirectory, spec: RunSpec) -> SecondRun:
    if not ops_in(again.history).startswith(ops_in(run.history)):
        raise NoSecondRun("it did not begin as the first run")
    result = again.read_result()
    assert result is not None, "the process ended well"
    history = jsonl.read(again.history).history
    client_side = Verdict(
        result.verdict.validity,
        result.verdict.checker,
        result.verdict.reason,
        parts={name: part for name, part in result.verdict.leaves() if is_of_clients(part)},
    )
    found = failures(msgspec.structs.replace(result, verdict=client_side), history, spec) if client_side.parts else []
    found.sort(key=lambda failure: failure.time_ns or 0)
    ends_ns = [violation.time for _, part in result.verdict.leaves() if (violation := _violation(part)) is not None]
    past_s = (max((op.time for op in history), default=0) - min(ends_ns, default=0)) / 1e9
    return SecondRun(again, history, tuple(read_traces(again.nodes)), tuple(found), past_s)


def _violation(part: Verdict) -> Any:
    return part.evidence.violation if isinstance(part.evidence, Invariants) else None


def is_of_clients(part: Verdict) -> bool:
    """Whether this says what clients saw, operation by operation."""
    return part.validity is Validity.INVALID and isinstance(part.evidence, Linearizability | Findings)


class _TooLong(BaseException):
    """The processor time is used up. No code under test catches it."""


def main(path: str, root: str, cpu_s_max: str) -> None:
    """Run the run in `path` again into a store at `root`. Exit code 1, with the reason on standard error, when it used too much."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    signal.signal(signal.SIGPROF, _stop)
    try:
        # Again and again: an exception that is raised inside a callback from C is lost.
        signal.setitimer(signal.ITIMER_PROF, float(cpu_s_max), min(1.0, float(cpu_s_max)))
        result = _run_on(RunDirectory(Path(path)), Store(Path(root)))
        signal.setitimer(signal.ITIMER_PROF, 0)
    except _TooLong:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.exit(f"it took more than {cpu_s_max} s of processor time")
    except MemoryError:
        sys.exit(f"it took more than {MEMORY_BYTES_MAX >> 30} GiB of memory")
    if result.harness:
        sys.exit(f"the harness failed in {result.harness[0].phase}: {line(result.harness[0].error, 150)}")


def _run_on(run: RunDirectory, store: Store) -> Result:
    spec = run.read_spec()
    options: dict[str, Any] = {**spec.env_options, "messages": True, "trace": True, "past_violation_s": PAST_S}
    again = msgspec.structs.replace(spec, name=FOLDER, env_options=options)
    return execute.run_into(store, plan_again(run, again))[1]


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooLong


if __name__ == "__main__":
    main(*sys.argv[1:])
