"""What `themis inspect` prints of a stored run: its verdict, each failure as a story, and the messages just before the first."""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_left, bisect_right
from collections import Counter
from typing import Any

import msgspec

from checkers.evidence import Availability
from checkers.windows import fault_windows
from harness.errors import UsageError
from harness.report import summary
from harness.report.explanation import explain
from harness.report.failure import Failure, failures
from harness.report.message_files import has_messages, missing_note, stored_entries
from harness.report.node_lives import lives
from harness.report.run_traces import RunTraces, traces_of
from harness.report.space_time import diagram
from harness.report.story import around, is_key, story
from harness.spec import RunSpec
from harness.store.files import regular
from harness.store.runs import Result, RunDirectory
from histories import jsonl
from histories.history import History
from histories.printing import line
from histories.wellformed import MalformedHistory

EXPLAINED_MAX = 50
WINDOWS_MAX = 40
AROUND_LINES_MAX = 200
WIDTH = 80
SHOWN_MAX = 5
"""Failures that are told in full; most of a hundred refuted keys are the same one."""


class Asked(msgspec.Struct, frozen=True):
    """What of a run is shown. neighbours: ops on the same key before a failed one. span_ms: of messages. key: only this key's
    failures and ops. around_s: also what happened around this time. width: characters of a line of text, at most, but for a word
    that is longer."""

    neighbours: int = 12
    span_ms: float = 20.0
    key: str | None = None
    around_s: float | None = None
    width: int = WIDTH


def as_data(run: RunDirectory, asked: Asked) -> dict[str, Any]:
    """What `themis inspect --json` prints. `failures` is None when there is no verdict yet; `explanations` are theirs, in the same
    order."""
    result, spec = run.read_result(), run.read_spec()
    found = None if result is None else _asked_for(found_in(run, result, read_history(run), spec), asked)
    traces = _traces(run, spec) if found else RunTraces()
    explanations = [explain(failure, traces.of(failure), traces.lives) for failure in (found or [])[:EXPLAINED_MAX]]
    return {
        "run": str(run.path),
        "spec": msgspec.to_builtins(spec),
        "result": msgspec.to_builtins(result),
        "failures": msgspec.to_builtins(found),
        "explanations": msgspec.to_builtins(explanations),
    }


def _asked_for(found: list[Failure], asked: Asked) -> list[Failure]:
    return [failure for failure in found if asked.key is None or is_key(failure.key, asked.key)]


def _traces(run: RunDirectory, spec: RunSpec) -> RunTraces:
    """The nodes' traces; none where they cannot be read: a failure is told without them, too."""
    try:
        return traces_of(run, spec.nodes)
    except OSError:
        return RunTraces((), lives((), spec.nodes))


def as_text(run: RunDirectory, asked: Asked) -> str:
    """The verdict, each failure as a story, the fault windows, and the messages before the first failure."""
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
    found = _asked_for(found_in(run, result, history, spec), asked)
    traces = _traces(run, spec) if found else RunTraces()
    if traces.note:
        lines += ["", line(traces.note)]
    for failure in found[:SHOWN_MAX]:
        lines += [
            "",
            *story(
                failure, history, asked.neighbours, explain(failure, traces.of(failure), traces.lives), traces.lives
            ),
        ]
    if len(found) > SHOWN_MAX:
        lines += [
            "",
            f"... and {summary.counted(len(found) - SHOWN_MAX, 'more failure')}: themis inspect --json has them all",
        ]
    if asked.key is not None and not found:
        lines += ["", f"no failure is on key {line(asked.key, 60)}; --around SECONDS shows its ops of that time"]
    times = [failure.time_ns for failure in found if failure.time_ns is not None]
    if asked.around_s is not None:
        around_ns = round(asked.around_s * 1e9)
        lines += ["", *around(history, around_ns, round(asked.span_ms * 1e6), asked.key, AROUND_LINES_MAX)]
        times = [around_ns, *times]
    if served := served_lines(result, history):
        lines += ["", *served]
    text = fitted("\n".join(lines), asked.width)
    if times:
        drawn = spacetime_lines(run, spec, times[0], asked.span_ms, asked.width)
        text = "\n".join([text, "", *drawn])
    return text


HANGING = re.compile(r" *(?:[0-9.]+  +)?(?:(?:>>|!!|<>|\.\.|[*=+]) +)?")
"""What stands before the text of a line: blanks, a time, and a mark."""


def fitted(text: str, width: int) -> str:
    """The text with its long lines broken between words. What was broken goes on further to the right than it began."""
    lines: list[str] = []
    for each in text.split("\n"):
        if len(each) <= width:
            lines.append(each)
            continue
        found = HANGING.match(each)
        begin = 0 if found is None else min(found.end(), width // 2)
        indent = " " * (begin + 2)
        lines += textwrap.wrap(
            each,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def served_lines(result: Result, history: History) -> list[str]:
    """What was served in each fault window, and how fast: a table of at most WINDOWS_MAX rows."""
    windows = [
        window
        for _, part in result.verdict.leaves()
        if isinstance(part.evidence, Availability)
        for window in part.evidence.windows
    ]
    if not windows:
        return []
    pairs = [(begun, ended) for begun, ended in history.pairs() if begun.is_client and ended and ended.type == "ok"]
    begins = [begun.time for begun, _ in pairs]
    lines = [f"  {'fault':<30} {'from (s)':>9} {'lasts':>8} {'ok':>5} {'fail':>5} {'info':>4} {'median':>9}"]
    for window in windows[:WINDOWS_MAX]:
        end_ns = window.lifted_ns if window.lifted_ns is not None else (history[len(history) - 1].time)
        inside = pairs[bisect_left(begins, window.began_ns) : bisect_right(begins, end_ns)]
        took = sorted(ended.time - begun.time for begun, ended in inside if ended is not None)
        median = f"{took[len(took) // 2] / 1e6:.2f} ms" if took else "-"
        title = line(f"{window.name} {window.what or ' '.join(window.nodes)}", 200)
        shown = title if len(title) <= 30 else title[:29] + "…"
        served = window.served
        lines.append(
            f"  {shown:<30} {window.began_ns / 1e9:>9.3f} {(end_ns - window.began_ns) / 1e9:>6.2f} s "
            f"{served.ok_count:>5} {served.fail_count:>5} {served.info_count:>4} {median:>9}"
        )
    if len(windows) > WINDOWS_MAX:
        lines.append(f"  ... and {summary.counted(len(windows) - WINDOWS_MAX, 'more fault')}")
    return lines


def found_in(run: RunDirectory, result: Result, history: History, spec: RunSpec) -> list[Failure]:
    """The failures of the result. Raises UsageError when its evidence is not of this history."""
    try:
        return failures(result, history, spec)
    except (LookupError, AssertionError) as error:
        raise UsageError(
            f"{run.verdict}: its evidence is not of {run.history.name}, which was changed or cut; `themis analyze {run.path}` "
            "checks the history anew"
        ) from error


def spacetime_lines(run: RunDirectory, spec: RunSpec, failed_ns: int, span_ms: float, width: int) -> list[str]:
    """The messages between the nodes just before the failure, where the run kept them."""
    if not has_messages(run):
        hint = "  for a diagram of the messages before it, run it again with: -e messages=true"
        return [hint] if spec.env == "sim" or any(run.nodes.glob("*/trace*.jsonl")) else []
    begin_ns = failed_ns - round(span_ms * 1e6)
    try:
        # A message that arrives in it was sent before it.
        entries = [entry for entry in stored_entries(run) if 2 * begin_ns - failed_ns <= entry.time <= failed_ns]
        note = missing_note(run)
    except OSError as error:
        return [fitted(f"  no diagram of the messages before it: {line(error)}", width)]
    notes = [fitted(f"  {note}", width)] if note else []
    return [*notes, f"  the {span_ms:g} ms before it:", diagram(entries, spec.nodes, begin_ns, failed_ns, width=width)]


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
