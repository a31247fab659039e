"""The messages around what matters in a failing run, for its space-time diagram. A simulated run that kept none is run again with
its message log on: it replays exactly."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.environments.sim.message_log import LogEntry
from harness.report.difference import first_difference, ops_in
from harness.report.message_files import stored_entries
from harness.report.moments import Explanation
from harness.run.execute import perform
from harness.run.failures import Failures
from harness.run.interruption import Interruption
from harness.run.replays import plan_again
from harness.run.sinks import FolderSink
from harness.run.stage import prepare_stage
from harness.spec import RunSpec
from harness.store.runs import RunDirectory, Store
from histories.printing import line, value

MARGIN_NS = 4_000_000
"""Shown before and after what a window is about."""

SPAN_NS_MAX = 60_000_000
ENTRIES_MAX = 900
"""Of one window; more arrows than that nobody follows."""

OPS_MAX = 60_000
"""Ops (two events each) of a history that is run again for its messages: some ten seconds."""

NAMES = {
    "op": "the operation",
    "wrong": "the failure",
    "loss": "the loss",
    "role": "the change of roles",
    "node": "the node's end",
}


class MessageWindow(msgspec.Struct, frozen=True):
    """What happened on the wires and disks from from_ns to until_ns.

    arrows: (sent ns, from, arrived ns or None, to, what, why it was lost, number, content). events: (ns, node, kind, what,
    content). left_out: earlier ones.
    """

    name: str
    from_ns: int
    until_ns: int
    arrows: tuple[tuple[int, str, int | None, str, str, str, int, str], ...]
    events: tuple[tuple[int, str, str, str, str], ...]
    left_out: int = 0


def windows_of(entries: Iterable[LogEntry], *explanations: Explanation) -> tuple[MessageWindow, ...]:
    """A window for each group of moments of each explanation that messages bear on. entries: in order of time; read once."""
    spans = [span for explanation in explanations for span in _spans(explanation)]
    if not spans:
        return ()
    kept: list[list[LogEntry]] = [[] for _ in spans]
    for entry in entries:
        for number, (_, begin_ns, end_ns) in enumerate(spans):
            # A message that arrives in the window was sent before it.
            if begin_ns - SPAN_NS_MAX <= entry.time <= end_ns:
                kept[number].append(entry)
    return tuple(_window(*span, found) for span, found in zip(spans, kept, strict=True) if found)


def _spans(explanation: Explanation) -> list[tuple[str, int, int]]:
    """(name, from, until) of what the moments but the faults are about, with a margin; near ones are one."""
    spans: list[tuple[str, int, int]] = []
    for number, moment in enumerate(explanation.moments, 1):
        if moment.kind == "fault":
            continue
        begin_ns, end_ns = max(0, moment.time_ns - 2 * MARGIN_NS), moment.time_ns + MARGIN_NS
        name = f"{number} {moment.head}"
        if spans and begin_ns <= spans[-1][2] and end_ns - spans[-1][1] <= SPAN_NS_MAX:
            spans[-1] = (f"{spans[-1][0]}; {name}" if len(spans[-1][0]) < 90 else spans[-1][0], spans[-1][1], end_ns)
        else:
            spans.append((name, begin_ns, end_ns))
    return spans[-8:]


def _window(name: str, begin_ns: int, end_ns: int, entries: Sequence[LogEntry]) -> MessageWindow:
    sent = {entry.number: entry for entry in entries if entry.kind == "send"}
    arrows, events = [], []
    ended: set[int] = set()
    for entry in entries:
        if entry.kind in ("deliver", "drop", "hold"):
            begun = sent.get(entry.number)
            is_delivery = entry.kind == "deliver"
            if entry.kind == "drop" and entry.number in ended:
                continue  # It arrived: what a real node misses is the answer, which has a number of its own.
            source, target = (entry.peer, entry.node) if is_delivery else (entry.node, entry.peer)
            if entry.time >= begin_ns:
                ended.add(entry.number)
                why = "" if is_delivery else entry.why or entry.kind
                body = value(begun.body if begun else entry.body, 300)
                sent_ns = begun.time if begun else entry.time
                arrows.append(
                    (sent_ns, source, entry.time if is_delivery else None, target, entry.what, why, entry.number, body)
                )
        elif entry.kind != "send" and entry.time >= begin_ns:
            events.append(
                (
                    entry.time,
                    entry.node,
                    entry.kind,
                    line(" ".join((entry.what, entry.why)), 120),
                    value(entry.body, 300),
                )
            )
    for entry in sent.values():  # Still on its way as the window ends.
        if entry.number not in ended and entry.time >= begin_ns:
            arrows.append(
                (entry.time, entry.node, end_ns, entry.peer, entry.what, "", entry.number, value(entry.body, 300))
            )
    arrows.sort(key=lambda arrow: arrow[0])
    events = [event for event in events if event[2] != "timer"]
    left_out = max(0, len(arrows) - ENTRIES_MAX) + max(0, len(events) - ENTRIES_MAX)
    return MessageWindow(name, begin_ns, end_ns, tuple(arrows[-ENTRIES_MAX:]), tuple(events[-ENTRIES_MAX:]), left_out)


def replayed_windows(run: RunDirectory, spec: RunSpec, explanation: Explanation) -> tuple[MessageWindow, ...]:
    """The windows of a simulated run, from running it again in a folder of its own with its message log on.

    Raises NotReplayed when it does not give the same history, and whatever a run may raise before it starts.
    """
    options: dict[str, Any] = {**spec.env_options, "messages": True, "trace": False}
    prepared = plan_again(run, msgspec.structs.replace(spec, env_options=options))
    with tempfile.TemporaryDirectory(prefix="themis-messages-") as temporary:
        sink = FolderSink.create(Store(Path(temporary)), prepared.spec, "again", script=prepared.script)
        stage = prepare_stage(prepared, sink)
        with sink.opened(stage.environment, stage.faults):
            perform(stage, sink, Failures(), Interruption())
        difference = first_difference(ops_in(run.history), ops_in(sink.run.history))
        if difference is not None:
            raise NotReplayed(f"the second run is not the same: {difference}")
        found = windows_of(stored_entries(sink.run), explanation)
        sink.run.release()
    return found


class NotReplayed(Exception):
    """A simulated run did not replay byte by byte."""
