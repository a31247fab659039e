"""A run's traces for its explanations. Of a long run the older ones are removed once they are checked: nothing is told from what is
left of them, beside when each node ran and led."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from harness.report.failure import Failure
from harness.report.node_lives import Life, lives
from harness.store.runs import RunDirectory
from harness.store.traces import read_traces, whole_span_ns
from histories.tracing import TraceRecord
from histories.units import NS_PER_S

MARGIN_NS = 10 * NS_PER_S
"""What an operation did is traced within this time, or not at all."""


class RunTraces(msgspec.Struct, frozen=True):
    """records: of all nodes, in order of time. lives: of each node, through the whole run. span_ns: from when to when no record is
    missing, and `records` has no other; None: none is missing at all."""

    records: Sequence[TraceRecord] = ()
    lives: dict[str, Life] = {}
    span_ns: tuple[int, int | None] | None = None

    def of(self, failure: Failure) -> Sequence[TraceRecord]:
        """The records that explain the failure: none where some of those may be missing."""
        if self.span_ns is None:
            return self.records
        from_ns, until_ns = self.span_ns
        times = [op.invoked_ns for op in failure.ops]
        if failure.time_ns is not None:
            times.append(failure.time_ns)
        is_early = not times or min(times) < from_ns + MARGIN_NS
        is_late = until_ns is not None and bool(times) and max(times) > until_ns
        return () if is_early or is_late else self.records

    @property
    def note(self) -> str:
        """What is to be said of what is missing; "" where nothing is."""
        if self.span_ns is None:
            return ""
        from_ns, until_ns = self.span_ns
        later = "" if until_ns is None else f" and after {until_ns / NS_PER_S:.0f} s"
        return (
            f"the nodes' traces before {from_ns / NS_PER_S:.0f} s{later} were checked while the run went on, and removed: "
            "what happened then is told without them"
        )


def traces_of(run: RunDirectory, nodes: Iterable[str]) -> RunTraces:
    """The traces of the run. nodes: of its spec. Raises OSError."""
    records = list(read_traces(run.nodes))
    found = lives(records, nodes)
    span_ns = whole_span_ns(run.nodes)
    if span_ns is not None:
        until_ns = records[-1].time if span_ns[1] is None and records else span_ns[1] or 0
        records = [record for record in records if span_ns[0] <= record.time <= until_ns]
    return RunTraces(records, found, span_ns)
