"""Gathers what a page shows as plain data: verdict, failures with their explanations, faults, nodes, logs, messages.

Every text from a history, a node or a user has gone through histories.printing here: short, and without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from checkers import Verdict
from checkers.availability import sides
from checkers.evidence import Availability, WindowServed
from checkers.windows import Window, fault_windows
from harness.report.explanation import explain
from harness.report.failure import Failure, FailureOp
from harness.report.moments import NODE_MAX, Explanation, operation
from harness.report.node_lives import Life
from harness.report.page.messages import MessageWindow
from harness.report.page.node_logs import NodeLog
from harness.report.page.series import agreed_ns, clock_offsets, stale_reads
from harness.report.run_traces import RunTraces
from harness.store.runs import Result
from histories.history import History
from histories.printing import block, line, value

FAILURES_MAX = 12
"""Failures that are explained in full; most of a hundred refuted keys are the same one."""

STATES_MAX = 12
ROWS_MAX = 100
DETAIL_MAX = 20_000
FAULTS_MAX = 20_000
TEXT_MAX = 400


class Source(msgspec.Struct, frozen=True):
    """What a page is made of.

    title: of the run or file. nodes: of the cluster. again: the command that makes the run anew. about: a few words each.
    notes: what could not be shown, in sentences. ended_ns: when the run ended, where the history and the traces are those of a
    second run that went on; None: they are its own. own_count: how many of the failures are of the run itself; None: all.
    """

    title: str
    nodes: tuple[str, ...]
    result: Result
    history: History
    failures: tuple[Failure, ...] = ()
    traces: RunTraces = RunTraces()
    logs: tuple[NodeLog, ...] = ()
    windows: tuple[MessageWindow, ...] = ()
    again: str = ""
    about: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ended_ns: int | None = None
    own_count: int | None = None


def page_data(source: Source, explanations: Sequence[Explanation], nodes: Sequence[str]) -> dict[str, Any]:
    """Everything but the operations, as JSON-like data. explanations: of source.failures, as far as there are. nodes: in the order
    of the page's rows."""
    result = source.result
    leaves = list(result.verdict.leaves())
    parts = [part for _, part in leaves]
    windows = _windows(source.history, parts)
    clocks = clock_offsets(source.history, parts)
    return {
        "title": line(source.title, 200),
        "about": [line(text, 200) for text in source.about],
        "again": line(source.again, TEXT_MAX),
        "validity": result.verdict.validity.value,
        "reason": block(result.verdict.reason, TEXT_MAX),
        "claim": line(result.claim, 80),
        "interrupted": result.interrupted,
        "counts": result.counts,
        "parts": [
            {"name": line(name, 80), "validity": part.validity.value, "reason": block(part.reason, TEXT_MAX)}
            for name, part in leaves
        ],
        "harness": [
            {"phase": line(failure.phase, 80), "error": block(failure.error, 2_000)} for failure in result.harness
        ],
        "notes": [line(note, TEXT_MAX) for note in source.notes],
        "nodes": [line(node, NODE_MAX) for node in nodes],
        "failures": [_failure(failure, told) for failure, told in zip(source.failures, explanations, strict=False)],
        "failures_left_out": max(0, len(source.failures) - len(explanations)),
        "faults": [_fault(window, served, nodes) for window, served in windows[:FAULTS_MAX]],
        "lives": {line(node, NODE_MAX): _life(life) for node, life in source.traces.lives.items()},
        "clocks": {line(node, NODE_MAX): points for node, points in clocks.items()},
        "stale": stale_reads(source.history),
        "agreed": agreed_ns([window for window, _ in windows], parts),
        "logs": [
            {
                "node": line(log.node, NODE_MAX),
                "name": log.name,
                "left_out": log.left_out,
                "times": log.times,
                "lines": log.lines,
            }
            for log in source.logs
        ],
        "windows": msgspec.to_builtins(source.windows),
        "ended": source.ended_ns,
        "own_count": len(source.failures) if source.own_count is None else source.own_count,
    }


def explained(source: Source) -> list[Explanation]:
    """The explanations of the first failures, the violations first."""
    return [
        explain(failure, source.traces.of(failure), source.traces.lives) for failure in source.failures[:FAILURES_MAX]
    ]


def _windows(history: History, parts: Sequence[Verdict]) -> list[tuple[Window, WindowServed | None]]:
    """Each fault of the history, with what was served in it where that was measured."""
    served: dict[int, WindowServed] = {}
    for part in parts:
        if isinstance(part.evidence, Availability):
            served |= {window.index: window for window in part.evidence.windows}
    return [(window, served.get(window.index)) for window in fault_windows(history)]


def _fault(window: Window, served: WindowServed | None, nodes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": line(window.name, 60),
        "kind": line(window.name.partition(":")[0], 40),
        "title": line(window.title, 160),
        "words": line(window.what or " ".join(window.onsets), 120),
        "nodes": [line(node, NODE_MAX) for node in window.nodes],
        "began": window.began_ns,
        "in_force": window.in_force_ns,
        "lifting": window.lifting_ns,
        "lifted": window.lifted_ns,
        "status": window.status,
        "did": value(window.did, TEXT_MAX),
        "served": None if served is None else msgspec.to_builtins(served.served),
        "sides": [
            {"nodes": [line(node, NODE_MAX) for node in side.nodes], "served": msgspec.to_builtins(side.served)}
            for side in served.sides
        ]
        if served
        else [{"nodes": [line(node, NODE_MAX) for node in side], "served": None} for side in sides(window.did, nodes)],
        "recovery": None if served is None else served.recovery_ns,
    }


def _failure(failure: Failure, told: Explanation) -> dict[str, Any]:
    return {
        "validity": failure.validity.value,
        "checker": line(failure.checker, 80),
        "promise": line(failure.promise, 200),
        "headline": told.headline,
        "words": block(failure.words, 2_000),
        "key": None if failure.key is None else value(failure.key, 80),
        "time": failure.time_ns,
        "ops": [_op(op) for op in failure.ops],
        "states": [
            {"in_words": line(state.in_words, 200), "why": line(state.why_excluded, 300), "after": state.after}
            for state in failure.states[:STATES_MAX]
        ],
        "states_left_out": max(0, len(failure.states) - STATES_MAX),
        "edges": [{"before": e.before, "after": e.after, "why": line(e.why, 200)} for e in failure.edges],
        "cycle": list(failure.cycle),
        "nodes": [line(node, NODE_MAX) for node in failure.nodes],
        "tables": [
            {
                "title": line(table.title, 120),
                "columns": [line(column, 60) for column in table.columns],
                "rows": [
                    [each if isinstance(each, str) else value(each, 120) for each in row]
                    for row in _safe(table.rows[:ROWS_MAX])
                ],
                "left_out": max(0, len(table.rows) - ROWS_MAX),
            }
            for table in failure.tables
        ],
        "notes": [line(note, TEXT_MAX) for note in failure.notes],
        "detail": block(failure.detail, DETAIL_MAX),
        "faults_left_out": failure.faults_left_out,
        "cards": msgspec.to_builtins(told.cards),
        "moments": msgspec.to_builtins(told.moments),
        "write": told.write,
        "is_lost": told.is_lost,
        "served": {str(each.op): [line(each.node, NODE_MAX), each.time_ns] for each in told.served},
        "held": line(told.held, 60),
        "custody": {
            line(node, NODE_MAX): {
                "spans": [[span.from_ns, span.until_ns, span.state] for span in part.spans],
                "losses": [[loss.time_ns, loss.why] for loss in part.losses],
            }
            for node, part in told.holding.items()
        },
    }


def _safe(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield tuple(line(each, 120) if isinstance(each, str) else each for each in row)


def _op(op: FailureOp) -> dict[str, Any]:
    return {
        "roles": list(op.roles),
        "invoke": op.invoke,
        "process": op.process,
        "node": None if op.node is None else line(op.node, NODE_MAX),
        "text": operation(op),
        "result": None
        if op.type != "ok" or (op.argument is not None and op.result in (None, op.argument))
        else value(op.result, 60),
        "type": op.type,
        "error": None if op.error is None else value(op.error, 80),
        "begin": op.invoked_ns,
        "end": op.completed_ns,
        "optional": op.is_optional,
        "note": line(op.note, 160),
    }


def _life(life: Life) -> dict[str, Any]:
    return {
        "spans": [
            [span.from_ns, span.until_ns, line(span.state, 40), span.term, span.is_leading] for span in life.spans
        ],
        "committed": life.committed,
        "applied": life.applied,
    }
