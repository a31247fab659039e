"""Answers a newcomer's three questions about a failure, a card each: what is wrong, where the data was lost, which fault did it."""

from __future__ import annotations

from checkers import Validity
from harness.report.facts import Facts
from harness.report.failure import FailureFault, FailureOp
from harness.report.moments import Card, ago, have, listed, operation, seconds, wrong_head
from histories.printing import line, value

CARD_FAULTS_MAX = 4


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
        if self._facts.failure.time_ns is None and not self._facts.failure.ops:
            return None
        chosen: list[tuple[str, FailureFault]] = []
        taken: dict[FailureFault, list[str]] = {}
        for node, loss in self._facts.losses:
            if loss.why == "crash" and (fault := self._facts.fault_on(node, loss.time_ns)) is not None:
                taken.setdefault(fault, []).append(node)
        chosen += [(f"took it from {listed(sorted(nodes))}", fault) for fault, nodes in taken.items()]
        for node in () if self._facts.failure.ops else self._facts.failure.nodes:
            life, shown_ns = self._facts.lives.get(node), self._facts.failure.time_ns
            down = None if life is None or shown_ns is None else life.last_down(shown_ns)
            if down is not None and (fault := self._facts.fault_on(node, down.from_ns)) is not None:
                chosen.append((f"took {line(node, 30)} down", fault))
        acknowledged_ns = self._facts.acknowledged_ns()
        times = [("when it was acknowledged", acknowledged_ns)] if acknowledged_ns is not None else []
        times += [("when it was lost", self._facts.losses[-1][1].time_ns)] if self._facts.losses else []
        if self._facts.failure.time_ns is not None:
            times.append(("when the failure showed", self._facts.failure.time_ns))
        for when, time_ns in times:
            chosen += [(f"in force {when}", fault) for fault in self._facts.in_force(time_ns)]
        if not chosen and self._facts.custody is None and acknowledged_ns is not None:
            chosen += [("in force between the two", fault) for fault in self._facts.begun_after(acknowledged_ns)]
        whens: dict[tuple[str, int], list[str]] = {}
        faults = {(fault.title, fault.began_ns): fault for _, fault in chosen}
        for when, fault in chosen:
            mine = whens.setdefault((fault.title, fault.began_ns), [])
            if when not in mine:
                mine.append(when)
        if not whens:
            before = (
                "Those before it are in the whole run."
                if not self._facts.failure.ops
                else "It needs no fault at that time."
            )
            return Card("Which fault did it", "No fault was in force as it showed", before)
        told = list(whens)[:CARD_FAULTS_MAX]
        lines = [
            f"{line(title, 80)}: {seconds(began_ns)} to {_until(faults[title, began_ns])}, {', '.join(whens[title, began_ns])}."
            for title, began_ns in told
        ]
        more = f" And {len(whens) - len(told)} more." if len(whens) > len(told) else ""
        question = (
            "Which fault did it"
            if any(word.startswith("took ") for each in whens.values() for word in each)
            else "Faults in force"
        )
        did = [title for title, began_ns in told if any(word.startswith("took ") for word in whens[title, began_ns])]
        answer = "; ".join(line(title, 80) for title in did or [title for title, _ in told])
        return Card(question, answer, " ".join(lines) + more, told[0][1])


def _until(fault: FailureFault) -> str:
    return "the end" if fault.lifted_ns is None else seconds(fault.lifted_ns)
