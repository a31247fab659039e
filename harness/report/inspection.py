"""What `themis inspect` prints of a stored run: its verdict, each failure as a story, and the messages just before the first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from checkers.windows import fault_windows
from harness.environments.sim.message_log import LogEntry
from harness.errors import UsageError
from harness.report import summary
from harness.report.failure import Failure, failures
from harness.report.space_time import diagram
from harness.report.story import story
from harness.spec import RunSpec
from harness.store.files import regular
from harness.store.runs import Result, RunDirectory
from histories import jsonl
from histories.history import History
from histories.printing import line
from histories.wellformed import MalformedHistory

SHOWN_MAX = 5
"""Failures that are told in full; most of a hundred refuted keys are the same one."""


def as_data(run: RunDirectory) -> dict[str, Any]:
    """What `themis inspect --json` prints. `failures` is None when there is no verdict yet."""
    result, spec = run.read_result(), run.read_spec()
    found = None if result is None else found_in(run, result, read_history(run), spec)
    return {
        "run": str(run.path),
        "spec": msgspec.to_builtins(spec),
        "result": msgspec.to_builtins(result),
        "failures": msgspec.to_builtins(found),
    }


def as_text(run: RunDirectory, neighbours: int, span_ms: float) -> str:
    """The verdict, each failure as a story, and the messages of `span_ms` before the first.

    neighbours: how many ops on the same key are shown before a failed one.
    """
    result, spec = run.read_result(), run.read_spec()
    if result is None:
        return f"{line(run.path)}: no verdict: the run was cut off or still goes on. `themis analyze {run.path}` makes one."
    history = read_history(run)
    lines = [
        summary.summary(run, result, spec, with_hint=False),
        f"  target {line(spec.target, 80)}, workload {line(spec.workload, 80)}, env {line(spec.env, 80)}",
    ]
    if spec.bugs:
        lines.append(f"  planted bugs: {line(', '.join(spec.bugs))}")
    lines += fault_lines(history)
    found = found_in(run, result, history, spec)
    for failure in found[:SHOWN_MAX]:
        lines += ["", *story(failure, history, neighbours)]
    if len(found) > SHOWN_MAX:
        lines += ["", f"... and {len(found) - SHOWN_MAX} more failures: themis inspect --json has them all"]
    times = [failure.time_ns for failure in found if failure.time_ns is not None]
    if times:
        lines += ["", *spacetime_lines(run, spec, times[0], span_ms)]
    return "\n".join(lines)


def found_in(run: RunDirectory, result: Result, history: History, spec: RunSpec) -> list[Failure]:
    """The failures of the result. Raises UsageError when its evidence is not of this history."""
    try:
        return failures(result, history, spec)
    except (LookupError, AssertionError) as error:
        raise UsageError(
            f"{run.verdict}: its evidence is not of {run.history.name}, which was changed or cut; `themis analyze {run.path}` "
            "checks the history anew"
        ) from error


def spacetime_lines(run: RunDirectory, spec: RunSpec, failed_ns: int, span_ms: float) -> list[str]:
    """The messages between the nodes just before the failure, where the run kept them."""
    path = run.path / "messages.jsonl"
    if not path.is_file():
        hint = "  for a diagram of the messages before it, run the same seed again with: -e messages=true"
        return [hint] if spec.env == "sim" else []
    try:
        entries = msgspec.json.decode(b"[" + b",".join(path.read_bytes().splitlines()) + b"]", type=list[LogEntry])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [f"  no diagram of the messages before it: {path.name}: {line(error)}"]
    begin_ns = failed_ns - round(span_ms * 1e6)
    return [f"  the {span_ms:g} ms before it:", diagram(entries, spec.nodes, begin_ns, failed_ns)]


def read_history(run: RunDirectory) -> History:
    """The run's history. Raises UsageError when it is malformed or missing."""
    try:
        return jsonl.read(regular(run.history)).history
    except MalformedHistory as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{run.history}: {error.strerror or error}") from error


def fault_lines(history: History) -> list[str]:
    """How many faults of each name were seen to be in force, and how many may have been."""
    rows: dict[str, Counter[str]] = {}
    for window in fault_windows(history):
        rows.setdefault(window.name, Counter())[window.status] += 1
    told = [
        f"{line(name, 40)} " + ", ".join(f"{n} {status}" for status, n in sorted(row.items()))
        for name, row in rows.items()
    ]
    return [f"  faults: {'; '.join(told)}"] if told else []
