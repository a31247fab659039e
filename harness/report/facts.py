"""Looks up what is known about a failure: the write that it denies, which nodes held it when, who answered, which fault was where.

Every answer is a fact that a trace, a fault's own result or a checker's evidence tells; nothing here knows how a target works.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.custody import Loss, custody
from harness.report.failure import Failure, FailureFault, FailureOp
from harness.report.moments import ServedAt, operation, seconds
from harness.report.node_lives import Life
from histories.printing import line
from histories.tracing import Committed, Served, TraceRecord
from histories.units import NS_PER_S

NAMED_MAX = 4
"""Faults that a card names, and that a story tells of those that began after the acknowledgement."""

LEAVE_RUNNING = frozenset(
    {"clock", "pause", "transfer", "slow", "loss", "duplicate", "reorder", "late", "corrupt", "rate"}
)
"""Kinds of faults that end no process."""

RESTART_NS_MAX = 5 * NS_PER_S
"""How long after a kill is lifted the restarted node tells at the latest what its disk holds."""


class Facts:
    """What the traces tell of one failure. traces: of all nodes, in order of time. lives: of each node.

    wrong: the operation that does not fit. write: the acknowledged one that it denies. custody: who held that. served: which node
    answered an operation, by its `invoke`.
    """

    def __init__(self, failure: Failure, traces: Sequence[TraceRecord], lives: dict[str, Life]) -> None:
        self.failure = failure
        self.traces = traces
        self.lives = lives
        by_op = {record.event.op: record for record in traces if isinstance(record.event, Served)}
        self.served = {
            op.invoke: ServedAt(op.invoke, record.node, record.time)
            for op in failure.ops
            if (record := by_op.get(op.invoke)) is not None
        }
        self.wrong = next((op for op in failure.ops if "failed" in op.roles), None)
        self.write = self._acknowledged()
        self.custody = custody(traces, self.write.invoke) if self.write is not None and traces else None
        self.losses = self._last_losses()

    def _acknowledged(self) -> FailureOp | None:
        """The acknowledged operation that the failure denies: the last one that led to a state still possible, or else the last
        of the core, or the first that a checker points at, that asked for a change."""
        ops = [op for op in self.failure.ops if op.type == "ok" and op is not self.wrong]
        wrong = self.wrong
        if wrong is not None:
            ops = [op for op in ops if (op.completed_ns or 0) <= (wrong.completed_ns or wrong.invoked_ns)]
            if wrong.argument is None:  # It does not deny the write whose value it read.
                ops = [op for op in ops if op.f != "write" or op.argument != wrong.result]
            for role in ("possible", "core"):
                led = [op for op in ops if role in op.roles and (role == "possible" or op.argument is not None)]
                before = [op for op in led if (op.completed_ns or 0) <= wrong.invoked_ns] or led
                if before:
                    return max(before, key=lambda op: op.completed_ns or 0)
            return None
        return next((op for op in ops if op.argument is not None), None)

    def _last_losses(self) -> list[tuple[str, Loss]]:
        """The last loss of each node that had held the write, in order of time, when no node held it any more as the failure
        showed; empty when one did."""
        end_ns = self.end_ns()
        if self.custody is None or end_ns is None or self.custody.holders(end_ns):
            return []
        found = [
            (node, [loss for loss in part.losses if loss.time_ns <= end_ns])
            for node, part in self.custody.nodes.items()
        ]
        return sorted(((node, losses[-1]) for node, losses in found if losses), key=lambda pair: pair[1].time_ns)

    def end_ns(self) -> int | None:
        """When the failed operation was answered, or the failure showed."""
        if self.wrong is not None:
            served = self.served.get(self.wrong.invoke)
            return served.time_ns if served is not None else self.wrong.completed_ns
        return self.failure.time_ns

    def state_of(self, node: str, time_ns: int) -> str | None:
        """How the node held the write then: in-log, applied, down; None when it did not."""
        part = None if self.custody is None else self.custody.nodes.get(node)
        spans = () if part is None else part.spans
        return next(
            (s.state for s in spans if s.from_ns <= time_ns and (s.until_ns is None or time_ns < s.until_ns)), None
        )

    def committed_ns(self) -> int | None:
        """When a node first told that the entry was decided while it held it; None when no node did."""
        found = self.custody
        if found is None:
            return None
        for record in self.traces:
            is_told = isinstance(record.event, Committed) and record.event.index >= found.index
            if is_told and self.state_of(record.node, record.time) in ("in-log", "applied"):
                return record.time
        return None

    def role_words(self, node: str, time_ns: int) -> str:
        life = self.lives.get(node)
        span = None if life is None else life.at(time_ns)
        return "" if span is None or span.term is None else f"It is {line(span.state, 30)} of term {span.term}."

    def held_words(self, node: str, time_ns: int) -> str:
        if self.custody is None or self.write is None or time_ns < self.custody.served_ns:
            return ""
        what = operation(self.write)
        match self.state_of(node, time_ns):
            case "applied":
                return f"It has applied {what} and answers otherwise."
            case "in-log":
                part = self.custody.nodes[node]
                later = next((s.from_ns for s in part.spans if s.state == "applied" and s.from_ns > time_ns), None)
                until = "" if later is None else f" (it does at {seconds(later)})"
                return f"It has {what} in its log and has not applied it yet{until}."
            case _:
                return f"It does not have {what}."

    def what(self) -> str:
        return operation(self.write) if self.write is not None else "it"

    def acknowledged_ns(self) -> int | None:
        """When the node answered the write, as its trace tells, or, where no trace tells, when the client had the answer."""
        if self.custody is not None:
            return self.custody.served_ns
        return None if self.write is None else self.write.completed_ns

    def begun_between(self) -> list[FailureFault]:
        """The faults that began after the acknowledgement and before the failure showed, in order of time: any of them may have
        taken the data. None where a trace tells who had it when, or where nobody knows when either was."""
        from_ns, end_ns = self.acknowledged_ns(), self.failure.time_ns
        if self.custody is not None or from_ns is None or end_ns is None:
            return []
        return [fault for fault in self.failure.faults if from_ns < fault.began_ns <= end_ns]

    def in_force(self, time_ns: int) -> list[FailureFault]:
        return [
            fault
            for fault in self.failure.faults
            if fault.began_ns <= time_ns and (fault.lifted_ns is None or time_ns <= fault.lifted_ns)
        ]

    def fault_on(self, node: str, time_ns: int) -> FailureFault | None:
        """The fault that began last before the node went down, was in force on it then, and cuts no links.

        Where no trace tells of the crash, the time is that of the restart, when the fault has just been lifted.
        """
        found = [
            fault
            for fault in self.failure.faults
            if node in fault.nodes
            and len(fault.sides) < 2
            and fault.title.partition(" ")[0].partition(":")[0] not in LEAVE_RUNNING
            and fault.began_ns <= time_ns
            and (fault.lifted_ns is None or time_ns <= fault.lifted_ns + RESTART_NS_MAX)
        ]
        return max(found, key=lambda fault: fault.began_ns, default=None)
