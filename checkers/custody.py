"""Reads from the traces which node held an acknowledged write from when to when, to explain how a write was lost.

The answer to a client names the entry on which it rests (histories.tracing.Served). From there on the ledger of the invariants
follows each node's log. What a crash took from a log is known when the restarted node tells what its disk holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from checkers.invariants.ledger import Entry, Ledger
from histories.tracing import Appended, Applied, Crashed, Installed, Recovered, Served, Started, TraceRecord, Truncated

State = Literal["in-log", "applied", "down"]
"""down: no process runs, and the disk holds it."""


class Span(msgspec.Struct, frozen=True):
    """One node held the write in one state. until_ns: None when it still did at the end of the traces."""

    state: State
    from_ns: int
    until_ns: int | None = None


class Loss(msgspec.Struct, frozen=True):
    """The node's log ceased to hold the write. crash: the disk did not return it; time_ns is the time of the crash, or of the
    restart where no trace tells of the crash. truncated, replaced: the node removed it."""

    time_ns: int
    why: Literal["crash", "truncated", "replaced"]


class NodeCustody(msgspec.Struct, frozen=True):
    """How one node held the write. spans: in order, without overlap. losses: each time that its log ceased to hold it."""

    spans: tuple[Span, ...]
    losses: tuple[Loss, ...]


class Custody(msgspec.Struct, frozen=True):
    """Which nodes held one acknowledged write.

    op: index of its invocation. served_by, served_ns: who acknowledged it, and when. index, term, command: its entry.
    nodes: each node that ever held it.
    """

    op: int
    served_by: str
    served_ns: int
    index: int
    term: int
    command: Any
    nodes: dict[str, NodeCustody]

    def holders(self, time_ns: int) -> list[str]:
        """The nodes whose log or disk held it at this time, sorted."""
        return holders(self.nodes, time_ns)


def holders(nodes: Mapping[str, NodeCustody], time_ns: int) -> list[str]:
    """Those of the nodes that held it at this time, sorted."""
    return sorted(
        node
        for node, part in nodes.items()
        if any(span.from_ns <= time_ns and (span.until_ns is None or time_ns < span.until_ns) for span in part.spans)
    )


def custody(records: Iterable[TraceRecord], op: int) -> Custody | None:
    """Which nodes held the write that was invoked as `op`; None when no node traced that it acknowledged it, or what it wrote.

    records: of all nodes, in order of time.
    """
    trace = list(records)
    found = _entry_of(trace, op)
    if found is None:
        return None
    served_by, served_ns, index, entry = found
    nodes = _holders(trace, index, lambda held: held == entry)
    return Custody(op, served_by, served_ns, index, entry[0], entry[1], nodes)


def entry_custody(records: Iterable[TraceRecord], index: int, term: int) -> dict[str, NodeCustody]:
    """Which nodes' logs held an entry of this term at this index; each node that ever did. records: of all nodes, in order of
    time."""
    return _holders(records, index, lambda held: held is not None and held[0] == term)


def _holders(
    records: Iterable[TraceRecord], index: int, is_it: Callable[[Entry | None], bool]
) -> dict[str, NodeCustody]:
    ledger = Ledger()
    watches: dict[str, _Watch] = {}
    for record in records:
        handle = ledger.handlers.get(type(record.event))
        if handle is not None:
            handle(record.time, record.node, record.event)
        watch = watches.get(record.node)
        if watch is None:
            watch = watches[record.node] = _Watch()
        event = record.event
        match event:
            case Crashed():
                watch.crashed(record.time)
            case Started():
                if not watch.is_down:
                    watch.crashed(record.time)
            case Applied() if event.first <= index <= event.last:
                watch.applied(record.time)
            case Recovered() | Appended() | Truncated() | Installed():
                is_held = is_it(ledger.nodes[record.node].entry_at(index))
                why: Literal["truncated", "replaced"] = "truncated" if isinstance(event, Truncated) else "replaced"
                watch.told(record.time, is_held, isinstance(event, Recovered), why)
                if is_held and index <= _snapshot_index(event):
                    watch.applied(record.time)
    parts = {node: watch.part() for node, watch in sorted(watches.items())}
    return {node: part for node, part in parts.items() if part.spans}


def _snapshot_index(event: Recovered | Appended | Truncated | Installed) -> int:
    """Up to where the node's state is that of a snapshot, as the event tells."""
    match event:
        case Recovered():
            return event.snapshot_index
        case Installed():
            return event.index
    return 0


def _entry_of(trace: list[TraceRecord], op: int) -> tuple[str, int, int, Entry] | None:
    """The node that answered this op, the time, the index that the answer rests on, and the entry that the node's log had
    there."""
    ledger = Ledger()
    for record in trace:
        event = record.event
        if isinstance(event, Served) and event.op == op and event.index is not None:
            entry = ledger.view(record.node).entry_at(event.index)
            return None if entry is None else (record.node, record.time, event.index, entry)
        handle = ledger.handlers.get(type(event))
        if handle is not None:
            handle(record.time, record.node, event)
    return None


class _Watch:
    """Collects the spans and losses of one node while its trace is read."""

    def __init__(self) -> None:
        self.is_down = False
        self._crash_ns = 0
        self._spans: list[Span] = []
        self._losses: list[Loss] = []
        self._state: State | None = None
        self._since_ns = 0

    def crashed(self, time_ns: int) -> None:
        self.is_down, self._crash_ns = True, time_ns
        if self._state is not None:
            self._turn(time_ns, "down")

    def told(self, time_ns: int, is_held: bool, is_recovery: bool, why: Literal["truncated", "replaced"]) -> None:
        """The log holds it now, or does not."""
        if is_recovery:
            self.is_down = False
        if is_held:
            if self._state in (None, "down"):
                self._turn(time_ns, "in-log")
        elif self._state == "down":
            self._state = None  # The crash lost it: the disk did not return it.
            self._losses.append(Loss(self._crash_ns, "crash"))
        elif self._state is not None:
            self._turn(time_ns, None)
            self._losses.append(Loss(time_ns, why))

    def applied(self, time_ns: int) -> None:
        if self._state == "in-log":
            self._turn(time_ns, "applied")

    def part(self) -> NodeCustody:
        spans = self._spans
        if self._state is not None:
            spans = [*spans, Span(self._state, self._since_ns)]
        return NodeCustody(tuple(spans), tuple(self._losses))

    def _turn(self, time_ns: int, state: State | None) -> None:
        if self._state is not None and time_ns > self._since_ns:
            self._spans.append(Span(self._state, self._since_ns, time_ns))
        self._state, self._since_ns = state, time_ns
