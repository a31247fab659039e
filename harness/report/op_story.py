"""Tells the operations of a failure as moments: acknowledged, answered, and the one that does not fit."""

from __future__ import annotations

from harness.report.facts import Facts
from harness.report.failure import FailureOp
from harness.report.moments import have, operation, seconds, wrong_head
from harness.report.telling import Moments
from histories.printing import line, value


class OpStory:
    """The operations of one failure."""

    def __init__(self, facts: Facts, moments: Moments) -> None:
        self._facts = facts
        self._moments = moments

    def tell(self) -> None:
        """A moment for each operation that bears on the failure."""
        for op in self._facts.failure.ops:
            if op is self._facts.write:
                self._acknowledgement(op)
            elif op is self._facts.wrong:
                self._wrong_answer(op)
            elif "core" in op.roles or "shown" in op.roles:
                self._plain_op(op)

    def _acknowledgement(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        words = f"{line(op.node or 'The system', 30)} tells process {op.process} that {operation(op)} is done."
        if self._facts.custody is not None:
            holders = self._facts.custody.holders(self._facts.custody.served_ns)
            entry = f"entry {self._facts.custody.index} of term {self._facts.custody.term}"
            committed_ns = self._facts.committed_ns()
            only = "Only " if len(holders) * 2 <= len(self._facts.lives) else ""
            words += f" {only}{have(holders)} it on disk or in the log then ({entry})"
            if committed_ns is None:
                words += "; no node ever traced that it was committed."
            elif committed_ns > self._facts.custody.served_ns:
                words += f"; it is committed only at {seconds(committed_ns)}."
            else:
                words += ", and it was committed."
        self._moments.add(time_ns, "op", f"{operation(op)} acknowledged", words, op=op)

    def _plain_op(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        ended = {"ok": "answered ok", "fail": "refused", "info": "of unknown outcome", None: "never answered"}[op.type]
        shown = "" if op.type != "ok" or op.result in (None, op.argument) else f": {value(op.result, 80)}"
        at = f" at {line(op.node, 30)}" if op.node else ""
        words = f"Process {op.process}{at}: {operation(op)}, {ended}{shown}."
        head = line(op.note, 80) if op.note else f"{operation(op)} {ended}"
        self._moments.add(time_ns, "op", head, words, op=op)

    def _wrong_answer(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        served = self._facts.served.get(op.invoke)
        words = f"{line(served.node if served else op.node or 'The system', 30)} answers process {op.process}."
        if served is not None:
            words += f" {self._facts.role_words(served.node, served.time_ns)}"
            words += f" {self._facts.held_words(served.node, served.time_ns)}"
        states = self._facts.failure.states
        if states:
            possible = "; ".join(line(state.in_words, 80) for state in states[:3])
            words += " Only this was possible: " if len(states) == 1 else " Only these were possible: "
            words += possible + (f"; {len(states) - 3} more." if len(states) > 3 else ".")
        self._moments.add(time_ns, "wrong", wrong_head(op), words, op=op, tag="wrong", is_grave=True)
