"""Writes the page of a stored run, or of any checked history. What a run lacks (traces, logs, messages) is left out and said."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import msgspec

from checkers import Validity, Verdict
from harness.errors import UsageError
from harness.report.damage import with_damage
from harness.report.failure import failures_of
from harness.report.inspection import found_in, read_history
from harness.report.message_files import has_messages, missing_note, stored_entries
from harness.report.moments import Explanation
from harness.report.node_lives import lives
from harness.report.page import document
from harness.report.page.columns import pack_ops
from harness.report.page.content import Source, explained, page_data
from harness.report.page.messages import OPS_MAX, MessageWindow, replayed_windows, windows_of
from harness.report.page.node_logs import read_logs
from harness.report.page.second_run import breaks_invariant, is_of_clients, second_run
from harness.report.run_traces import RunTraces, traces_of
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory, write_atomically
from histories.history import History
from histories.printing import line

REPORT = "report.html"
DAMAGE_MAX = 3
"""Findings of clients that are told of a run that goes on past a broken invariant: the first ones."""

NODES_MAX = 200
"""Rows of nodes; what other nodes answered is in the row without a name."""

_log = logging.getLogger("themis")


def write_report(run: RunDirectory, path: Path | None = None) -> Path:
    """The page of the run is in `path`, or in report.html of its folder; returns where.

    Raises UsageError when the run has no verdict, cannot be read, or the page cannot be written.
    """
    target = run.path / REPORT if path is None else path
    content = run_page(run)
    try:
        write_atomically(target, content)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror or error}") from error
    return target


def run_page(run: RunDirectory, *, with_messages: bool = True) -> bytes:
    """The page of a stored run. Raises UsageError when it has no verdict or cannot be read.

    with_messages: a simulated run that kept no messages is run again for them.
    """
    result, spec = run.read_result(), run.read_spec()
    if result is None:
        raise UsageError(
            f"{run.path}: no verdict: the run was cut off or still goes on; `themis analyze {run.path}` makes one"
        )
    history = read_history(run)
    found = found_in(run, result, history, spec)
    notes: list[str] = []
    traces = _traces(run, spec, notes)
    first_ns = next((failure.time_ns for failure in found if failure.time_ns is not None), None)
    logs = read_logs(run.nodes, spec.nodes, first_ns)
    source = Source(
        run.run_id,
        spec.nodes,
        result,
        history,
        tuple(found),
        traces,
        tuple(logs),
        again=f"themis replay {shlex.quote(str(run.path))}",
        about=_about(spec),
    )
    if with_messages and (page := _gone_on(run, spec, source, notes)) is not None:
        return page
    told = explained(source)
    windows = _messages(run, spec, history, told, notes) if with_messages else ()
    return _page(msgspec.structs.replace(source, windows=windows, notes=tuple(notes)), told)


def history_page(title: str, history: History, verdict: Verdict, claim: str = "") -> bytes:
    """The page of a recorded history and what `themis check` said of it."""
    nodes = sorted({op.node for op in history if op.node is not None})
    found = failures_of(verdict, history, claim, nodes)
    source = Source(title, tuple(nodes), Result(verdict, claim=claim), history, tuple(found), about=("themis check",))
    return _page(source, explained(source))


def _page(source: Source, told: list[Explanation]) -> bytes:
    seen = {op.node for op in source.history if op.node is not None and op.is_client}
    nodes = [*source.nodes, *sorted(seen - set(source.nodes))][:NODES_MAX]
    ops = pack_ops(source.history, nodes)
    data = page_data(source, told, nodes)
    data |= {"count": ops.count, "end": ops.end_ns, "columns": msgspec.to_builtins(ops.columns), "texts": ops.texts}
    return document.page(msgspec.json.encode(data), ops.packed)


def _about(spec: RunSpec) -> tuple[str, ...]:
    faults = f"faults: {', '.join(spec.nemesis) or 'none'}"
    bugs = (f"planted bugs: {', '.join(spec.bugs)}",) if spec.bugs else ()
    return (spec.target, spec.workload, f"env {spec.env}", f"seed {spec.seed}", faults, *bugs)


def _traces(run: RunDirectory, spec: RunSpec, notes: list[str]) -> RunTraces:
    try:
        traces = traces_of(run, spec.nodes)
    except OSError as error:
        notes.append(f"the nodes' traces cannot be read: {error.strerror or error}")
        return RunTraces((), lives((), spec.nodes))
    if traces.note:
        notes.append(traces.note)
    return traces


def _gone_on(run: RunDirectory, spec: RunSpec, source: Source, notes: list[str]) -> bytes | None:
    """The page of a simulated run that a broken invariant ended, with what a second run shows that goes on past it; None where
    there is none."""
    verdict = source.result.verdict
    if spec.env != "sim" or not breaks_invariant(verdict) or len(source.history) > OPS_MAX * 2:
        return None
    try:
        with second_run(run, spec) as again:
            has_seen = any(is_of_clients(part) for _, part in verdict.leaves())
            damage = () if has_seen else again.damage[:DAMAGE_MAX]
            # The same ops have the same numbers; only now it is known when a fault that was in force then was lifted.
            own = tuple(found_in(run, source.result, again.history, spec))
            longer = msgspec.structs.replace(
                source,
                history=again.history,
                failures=own + damage,
                own_count=len(own),
                traces=RunTraces(again.traces, lives(again.traces, spec.nodes)),
                ended_ns=max((op.time for op in source.history), default=0),
            )
            told = with_damage(explained(longer), len(own), again.past_s, has_seen=has_seen)
            found = [each for each in told if any(moment.kind != "fault" for moment in each.moments)]
            shown = [*found[:1], *told[len(own) : len(own) + 1]]
            windows = windows_of(stored_entries(again.run), *shown)
            return _page(msgspec.structs.replace(longer, windows=windows, notes=tuple(notes)), told)
    except Exception as error:  # noqa: BLE001 - a page without it is better than none; a target may raise anything
        _log.exception("the second run of %s cannot be shown", run.path)
        notes.append(f"what came after the broken rule is not shown: {line(error) or type(error).__name__}")
        return None


def _messages(
    run: RunDirectory, spec: RunSpec, history: History, told: list[Explanation], notes: list[str]
) -> tuple[MessageWindow, ...]:
    """The messages around the first failure that has moments: as the run kept them, or from a second, identical run."""
    first = next((each for each in told if any(moment.kind != "fault" for moment in each.moments)), None)
    if first is None:
        return ()
    try:
        if has_messages(run):
            if note := missing_note(run):
                notes.append(note)
            return windows_of(stored_entries(run), first)
        if spec.env != "sim":
            return ()
        if len(history) > OPS_MAX * 2:
            notes.append("no messages are shown: the run is long; run it again with -e messages=true to have them")
            return ()
        return replayed_windows(run, spec, first)
    except Exception as error:  # noqa: BLE001 - a page without messages is better than none; a target may raise anything
        _log.exception("the messages of %s cannot be shown", run.path)
        notes.append(f"no messages are shown: {line(error) or type(error).__name__}")
        return ()


def is_due(result: Result) -> bool:
    """Whether a run with this result gets a page without being asked for."""
    return result.verdict.validity is not Validity.VALID or bool(result.harness)
