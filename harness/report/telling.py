"""Collects the moments of an explanation, each fault once."""

from __future__ import annotations

from harness.report.facts import NAMED_MAX, Facts
from harness.report.failure import FailureFault, FailureOp
from harness.report.moments import NODE_MAX, Moment, MomentKind, listed, seconds
from histories.printing import line

WEIGHTS: dict[MomentKind, int] = {"wrong": 0, "loss": 1, "op": 2, "fault": 3, "node": 4, "role": 4}
"""What is told first where there are more moments than a reader follows; of a broken rule, faults come last."""


class Moments:
    """The moments told so far, in any order."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._moments: list[Moment] = []
        self._told_faults: set[tuple[str, int]] = set()

    def add(
        self,
        time_ns: int,
        kind: MomentKind,
        head: str,
        words: str,
        *,
        node: str | None = None,
        op: FailureOp | None = None,
        tag: str = "",
        is_grave: bool = False,
    ) -> None:
        words = " ".join(words.split())
        where = node or (op.node if op else None)
        shown = None if where is None else line(where, NODE_MAX)
        self._moments.append(Moment(time_ns, kind, head, words, shown, op.invoke if op else None, tag, is_grave))

    def add_fault(self, fault: FailureFault) -> None:
        if (fault.title, fault.began_ns) in self._told_faults:
            return
        self._told_faults.add((fault.title, fault.began_ns))
        cut = ""
        if len(fault.sides) > 1:
            sides = sorted(fault.sides, key=len)
            cut = f" It cuts {' and '.join(f'({listed(side)})' for side in sides)} off from each other."
            if len(sides) == 2:
                cut = f" It cuts {listed(sides[0])} off from {listed(sides[1])}."
        elif fault.nodes:
            left = [node for node in self._facts.lives if node not in fault.nodes]
            cut = f" On {listed(fault.nodes)}" + (f"; not on {listed(left)}." if left else ": every node.")
        until = "It lasts to the end." if fault.lifted_ns is None else f"It is over at {seconds(fault.lifted_ns)}."
        self.add(fault.began_ns, "fault", line(fault.title, 80), f"{until}{cut}")

    def add_faults_around(self) -> None:
        """The faults in force when the write was acknowledged, and when the wrong answer was given; the latest of those between
        them, where no trace tells when the data was lost."""
        facts = self._facts
        found = facts.begun_between()[-NAMED_MAX:]
        for time_ns in (facts.acknowledged_ns(), facts.failure.time_ns):
            found += facts.in_force(time_ns) if time_ns is not None else []
        for fault in found:
            # Of a broken rule, what is on every node alike says little; the card has it.
            if facts.failure.ops or len(fault.sides) > 1 or len(fault.nodes) < len(facts.lives):
                self.add_fault(fault)

    def has(self, head: str) -> bool:
        """Whether this was told already."""
        return any(moment.head == head for moment in self._moments)

    def chosen(self, count_max: int) -> tuple[Moment, ...]:
        """At most so many moments, in order of time."""
        moments = sorted(self._moments, key=lambda moment: moment.time_ns)
        if len(moments) > count_max:
            is_rule = not self._facts.failure.ops
            weights = WEIGHTS | {"fault": 9} if is_rule else WEIGHTS
            kept = sorted(moments, key=lambda moment: (not moment.is_grave, weights[moment.kind], -moment.time_ns))
            moments = sorted(kept[:count_max], key=lambda moment: moment.time_ns)
        return tuple(moments)
