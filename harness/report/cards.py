"""Answers a newcomer's three questions about a failure, a card each: what is wrong, where the data was lost, which fault did it."""

from __future__ import annotations

from checkers import Validity
from harness.report.facts import NAMED_MAX, Facts
from harness.report.failure import FailureFault, FailureOp
from harness.report.moments import Card, ago, have, listed, operation, seconds, wrong_head
from histories.printing import line, value

SINCE = "after the acknowledgement"
"""Of a fault: it came, and was lifted, between the acknowledgement and the failure."""


class Cards:
    """The cards of one failure, and the sentence above them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def headline(self) -> str:
        wrong, write = self._facts.wrong, self._facts.write
        if wrong is None or wrong.type != "ok" or self._facts.failure.validity is not Validity.INVALID:
            return line(self._facts.failure.words, 300)
        on = f" of key {value(self._facts.failure.key, 30)}" if self._facts.failure.key is not None else ""
        verb = (
            f"A {line(wrong.f, 30)}{on} returned {value(wrong.result, 60)}"
            if wrong.argument is None
            else f"{operation(wrong)}{on.replace(' of', ' on')} succeeded"
        )
        if write is None or write.completed_ns is None or write.completed_ns > wrong.invoked_ns:
            if seen := self._seen_before(wrong):
                before = ago(wrong.invoked_ns - (seen.completed_ns or 0))
                return f"{verb}, although {operation(seen)} had returned {value(seen.result, 60)} {before} earlier."
            return f"{verb}, which no order of the operations explains."
        before = ago(wrong.invoked_ns - write.completed_ns)
        return f"{verb}, although {operation(write)} had been acknowledged {before} earlier."

    def _seen_before(self, wrong: FailureOp) -> FailureOp | None:
        """The last operation of the core before a read that only read, too, and had another answer."""
        seen = [
            op
            for op in self._facts.failure.ops
            if op.type == "ok"
            and op.argument is None is wrong.argument
            and (op.f, op.result) != (wrong.f, wrong.result)
            and "core" in op.roles
            and op.completed_ns is not None
            and op.completed_ns <= wrong.invoked_ns
        ]
        return max(seen, key=lambda op: op.completed_ns or 0, default=None)

    def what(self) -> Card | None:
        wrong = self._facts.wrong
        if wrong is None:
            if self._facts.failure.validity is not Validity.INVALID:
                return None
            nodes = f"Nodes concerned: {listed(self._facts.failure.nodes)}." if self._facts.failure.nodes else ""
            # The line above the cards has the promise in full.
            rule = line((self._facts.failure.promise or self._facts.failure.checker).partition(": ")[0], 100)
            return Card("What was promised and broken", rule, nodes, self._facts.failure.time_ns, is_grave=True)
        end_ns = wrong.completed_ns if wrong.completed_ns is not None else wrong.invoked_ns
        at = f" at {line(wrong.node, 30)}" if wrong.node else ""
        answer = f"{wrong_head(wrong)}, process {wrong.process}{at}"
        states = self._facts.failure.states
        possible = f" Possible: {'; '.join(line(state.in_words, 60) for state in states[:3])}." if states else ""
        detail = f"{seconds(wrong.invoked_ns)} to {seconds(end_ns)}.{possible}"
        return Card("The wrong operation", answer, detail, wrong.invoked_ns, wrong.invoke, is_grave=True)

    def cause(self) -> Card | None:
        failure, write = self._facts.failure, self._facts.write
        if self._facts.losses and self._facts.custody is not None and write is not None:
            node, loss = self._facts.losses[-1]
            holders = self._facts.custody.holders(self._facts.custody.served_ns)
            verb = {"crash": "crashed without it on disk", "truncated": "removed it", "replaced": "overwrote it"}[
                loss.why
            ]
            alone = "the only node that had it" if len(self._facts.custody.nodes) == 1 else "the last node that had it"
            detail = f"Acknowledged at {seconds(self._facts.custody.served_ns)}, when {have(holders)} it."
            return Card(
                "Where the data was lost",
                f"{seconds(loss.time_ns)}: {line(node, 30)}, {alone}, {verb}",
                detail,
                loss.time_ns,
                is_grave=True,
            )
        if self._facts.wrong is not None and self._facts.custody is not None and write is not None:
            served = self._facts.served.get(self._facts.wrong.invoke)
            if served is not None:
                words = self._facts.held_words(served.node, served.time_ns)
                if words:
                    node = line(served.node, 30)
                    holders = self._facts.custody.holders(served.time_ns)
                    role = self._facts.role_words(served.node, served.time_ns)
                    detail = f"{role} {have(holders)} it then: the data is not lost.".strip()
                    answer = f"{seconds(served.time_ns)}: {node} answers. {words}"
                    return Card("Why it is wrong", answer, detail, served.time_ns, is_grave=True)
        if failure.validity is not Validity.INVALID:
            return None
        if failure.ops and not self._facts.custody:
            why = "The nodes left no trace of the write." if self._facts.traces else "The nodes left no traces."
            return Card("Where the data was lost", "Not seen in the traces", why)
        return None

    def faults(self) -> Card | None:
        """The faults that bear on it, at most NAMED_MAX and in order of time. Where there are more, those stay that took the
        data or a node, then those in force at a time that counts, then the latest."""
        failure = self._facts.failure
        if failure.time_ns is None and not failure.ops:
            return None
        taken = self._taken()
        words: dict[FailureFault, list[str]] = {}
        for fault, word in [*taken, *self._in_force()]:
            mine = words.setdefault(fault, [])
            if word not in mine:
                mine.append(word)
        if not words:
            before = "It needs no fault at that time." if failure.ops else "Those before it are in the whole run."
            return Card("Which fault did it", "No fault was in force when it showed", before)
        first = next(iter(words))
        told = sorted(list(words)[:NAMED_MAX], key=lambda fault: fault.began_ns)
        lines = [
            f"{line(fault.title, 80)}: {seconds(fault.began_ns)} to {_until(fault)}, {', '.join(words[fault])}."
            for fault in told
        ]
        if more := len(words) - len(told):
            lines.append(f"And {'at least ' if failure.faults_left_out else ''}{more} more.")
        did = {fault for fault, _ in taken}
        titles = [line(fault.title, 80) for fault in told if fault in did or not did]
        answer = "; ".join(reversed(dict.fromkeys(reversed(titles))))
        since = (
            "Faults since the acknowledgement" if any(SINCE in words[fault] for fault in told) else "Faults in force"
        )
        return Card("Which fault did it" if did else since, answer, " ".join(lines), first.began_ns)

    def _taken(self) -> list[tuple[FailureFault, str]]:
        """The faults that took the data from nodes, or took down nodes that broke a rule, with what each did."""
        facts, shown_ns = self._facts, self._facts.failure.time_ns
        robbed: dict[FailureFault, list[str]] = {}
        for node, loss in facts.losses:
            if loss.why == "crash" and (fault := facts.fault_on(node, loss.time_ns)) is not None:
                robbed.setdefault(fault, []).append(node)
        taken = [(fault, f"took it from {listed(sorted(nodes))}") for fault, nodes in robbed.items()]
        for node in () if facts.failure.ops else facts.failure.nodes:
            life = facts.lives.get(node)
            down = None if life is None or shown_ns is None else life.last_down(shown_ns)
            if down is not None and (fault := facts.fault_on(node, down.from_ns)) is not None:
                taken.append((fault, f"took {line(node, 30)} down"))
        return taken

    def _in_force(self) -> list[tuple[FailureFault, str]]:
        """The faults in force at each time that counts; and those that came after the acknowledgement, the latest first, where no
        trace tells when the data was lost."""
        facts, acknowledged_ns = self._facts, self._facts.acknowledged_ns()
        times = [
            ("when it was acknowledged", acknowledged_ns),
            ("when it was lost", facts.losses[-1][1].time_ns if facts.losses else None),
            ("when the failure showed", facts.failure.time_ns),
        ]
        found = [
            (fault, f"in force {when}")
            for when, time_ns in times
            if time_ns is not None
            for fault in facts.in_force(time_ns)
        ]
        known = {fault for fault, _ in found}
        between = [fault for fault in reversed(facts.begun_between()) if fault not in known]
        return found + [(fault, SINCE) for fault in between]


def _until(fault: FailureFault) -> str:
    return "the end" if fault.lifted_ns is None else seconds(fault.lifted_ns)
