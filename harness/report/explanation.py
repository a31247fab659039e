"""Explains a failure from the nodes' traces: where the data was, which node answered, which fault did it, moment by moment.

Every sentence is a fact that a trace, a fault's own result or a checker's evidence tells; nothing knows how a target works. Where
the traces do not show a cause, that is what is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers import Validity
from checkers.custody import Loss, custody
from harness.report.failure import Failure, FailureFault, FailureOp
from harness.report.moments import (
    NODE_MAX,
    Card,
    Explanation,
    Moment,
    MomentKind,
    ServedAt,
    ago,
    have,
    listed,
    operation,
    seconds,
)
from harness.report.node_lives import Life
from histories.printing import line, value
from histories.tracing import Committed, Served, TraceRecord
from histories.units import NS_PER_S

MOMENTS_MAX = 12
CARD_FAULTS_MAX = 4
RESTART_NS_MAX = 5 * NS_PER_S
"""How long after a kill is lifted the restarted node tells at the latest what its disk holds."""


def explain(failure: Failure, traces: Sequence[TraceRecord], lives: dict[str, Life]) -> Explanation:
    """The explanation of one failure. traces: of all nodes, in order of time; empty where nothing traces."""
    return _Telling(failure, traces, lives).explanation()


class _Telling:
    """Collects what there is to tell about one failure."""

    def __init__(self, failure: Failure, traces: Sequence[TraceRecord], lives: dict[str, Life]) -> None:
        self._failure = failure
        self._traces = traces
        self._lives = lives
        self._moments: list[Moment] = []
        self._told_faults: set[tuple[str, int]] = set()
        by_op = {record.event.op: record for record in traces if isinstance(record.event, Served)}
        self._served = {
            op.invoke: ServedAt(op.invoke, record.node, record.time)
            for op in failure.ops
            if (record := by_op.get(op.invoke)) is not None
        }
        self._wrong = next((op for op in failure.ops if "failed" in op.roles), None)
        self._write = self._acknowledged()
        self._custody = custody(traces, self._write.invoke) if self._write is not None and traces else None

    def explanation(self) -> Explanation:
        failure = self._failure
        losses = self._last_losses()
        cause = self._cause(losses)
        for op in failure.ops:
            if op is self._write:
                self._acknowledgement(op)
            elif op is self._wrong:
                self._wrong_answer(op)
            elif "core" in op.roles or "shown" in op.roles:
                self._plain_op(op)
        self._losses(losses)
        if failure.time_ns is not None and not failure.ops:
            self._broken_rule(failure.time_ns)
        self._faults_around()
        cards = [card for card in (self._what_card(), cause, self._fault_card(losses)) if card is not None]
        moments = sorted(self._moments, key=lambda moment: moment.time_ns)
        if len(moments) > MOMENTS_MAX:
            order = {"wrong": 0, "loss": 1, "op": 2, "fault": 3, "node": 4, "role": 4}
            kept = sorted(moments, key=lambda moment: (not moment.is_grave, order[moment.kind], -moment.time_ns))
            moments = sorted(kept[:MOMENTS_MAX], key=lambda moment: moment.time_ns)
        return Explanation(
            self._headline(),
            tuple(cards),
            tuple(moments),
            None if self._write is None else self._write.invoke,
            self._custody,
            tuple(self._served.values()),
            bool(losses),
        )

    # --- which write matters, and what became of it -----------------------------------------------------------------

    def _acknowledged(self) -> FailureOp | None:
        """The acknowledged operation that the failure denies: the last one that led to a state still possible, or else the last
        of the core, or the first that a checker points at, that asked for a change."""
        ops = [op for op in self._failure.ops if op.type == "ok" and op is not self._wrong]
        wrong = self._wrong
        if wrong is not None:
            ops = [op for op in ops if (op.completed_ns or 0) <= (wrong.completed_ns or wrong.invoked_ns)]
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
        end_ns = self._end_ns()
        if self._custody is None or end_ns is None or self._custody.holders(end_ns):
            return []
        found = [
            (node, [loss for loss in part.losses if loss.time_ns <= end_ns])
            for node, part in self._custody.nodes.items()
        ]
        return sorted(((node, losses[-1]) for node, losses in found if losses), key=lambda pair: pair[1].time_ns)

    def _end_ns(self) -> int | None:
        """When the failed operation was answered, or the failure showed."""
        if self._wrong is not None:
            served = self._served.get(self._wrong.invoke)
            return served.time_ns if served is not None else self._wrong.completed_ns
        return self._failure.time_ns

    def _state_of(self, node: str, time_ns: int) -> str | None:
        """How the node held the write then: in-log, applied, down; None when it did not."""
        part = None if self._custody is None else self._custody.nodes.get(node)
        spans = () if part is None else part.spans
        return next(
            (s.state for s in spans if s.from_ns <= time_ns and (s.until_ns is None or time_ns < s.until_ns)), None
        )

    def _committed_ns(self) -> int | None:
        """When a node first told that the entry was decided while it held it; None when no node did."""
        found = self._custody
        if found is None:
            return None
        for record in self._traces:
            is_told = isinstance(record.event, Committed) and record.event.index >= found.index
            if is_told and self._state_of(record.node, record.time) in ("in-log", "applied"):
                return record.time
        return None

    # --- moments ------------------------------------------------------------------------------------------------------

    def _acknowledgement(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        words = f"{line(op.node or 'The system', 30)} tells process {op.process} that {operation(op)} is done."
        if self._custody is not None:
            holders = self._custody.holders(self._custody.served_ns)
            entry = f"entry {self._custody.index} of term {self._custody.term}"
            committed_ns = self._committed_ns()
            only = "Only " if len(holders) * 2 <= len(self._lives) else ""
            words += f" {only}{have(holders)} it on disk or in the log then ({entry})"
            if committed_ns is None:
                words += "; no node ever traced that it was committed."
            elif committed_ns > self._custody.served_ns:
                words += f"; it is committed only at {seconds(committed_ns)}."
            else:
                words += ", and it was committed."
        self._add(time_ns, "op", f"{operation(op)} acknowledged", words, op=op)

    def _plain_op(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        ended = {"ok": "answered ok", "fail": "refused", "info": "of unknown outcome", None: "never answered"}[op.type]
        shown = "" if op.type != "ok" or op.result in (None, op.argument) else f": {value(op.result, 80)}"
        at = f" at {line(op.node, 30)}" if op.node else ""
        words = f"Process {op.process}{at}: {operation(op)}, {ended}{shown}."
        head = line(op.note, 80) if op.note else f"{operation(op)} {ended}"
        self._add(time_ns, "op", head, words, op=op)

    def _wrong_answer(self, op: FailureOp) -> None:
        time_ns = op.completed_ns if op.completed_ns is not None else op.invoked_ns
        served = self._served.get(op.invoke)
        words = f"{line(served.node if served else op.node or 'The system', 30)} answers process {op.process}."
        if served is not None:
            words += f" {self._role_words(served.node, served.time_ns)}"
            words += f" {self._held_words(served.node, served.time_ns)}"
        states = self._failure.states
        if states:
            possible = "; ".join(line(state.in_words, 80) for state in states[:3])
            words += f" Possible was only: {possible}" + (f"; {len(states) - 3} more." if len(states) > 3 else ".")
        self._add(time_ns, "wrong", self._wrong_head(op), words, op=op, tag="wrong", is_grave=True)

    @staticmethod
    def _wrong_head(op: FailureOp) -> str:
        if op.type != "ok":
            return f"{operation(op)} does not fit"
        return f"{operation(op)} returns {value(op.result, 40)}" if op.argument is None else f"{operation(op)} done"

    def _role_words(self, node: str, time_ns: int) -> str:
        life = self._lives.get(node)
        span = None if life is None else life.at(time_ns)
        return "" if span is None or span.term is None else f"It is {line(span.state, 30)} of term {span.term}."

    def _held_words(self, node: str, time_ns: int) -> str:
        if self._custody is None or self._write is None or time_ns < self._custody.served_ns:
            return ""
        what = operation(self._write)
        match self._state_of(node, time_ns):
            case "applied":
                return f"It has applied {what} and answers otherwise."
            case "in-log":
                part = self._custody.nodes[node]
                later = next((s.from_ns for s in part.spans if s.state == "applied" and s.from_ns > time_ns), None)
                until = "" if later is None else f" (it does at {seconds(later)})"
                return f"It has {what} in its log and has not applied it yet{until}."
            case _:
                return f"It does not have {what}."

    def _losses(self, losses: list[tuple[str, Loss]]) -> None:
        """Each loss; those before the last that one fault caused by a crash are one moment."""
        for node, loss in losses[-1:]:
            if loss.why == "crash":
                self._crash_loss([(node, loss)], is_last=True)
            else:
                self._removal(node, loss, is_last=True)
        groups: dict[FailureFault | None, list[tuple[str, Loss]]] = {}
        for node, loss in losses[:-1]:
            if loss.why == "crash":
                groups.setdefault(self._fault_on(node, loss.time_ns), []).append((node, loss))
            else:
                self._removal(node, loss, is_last=False)
        for group in groups.values():
            self._crash_loss(group, is_last=False)

    def _crash_loss(self, group: list[tuple[str, Loss]], *, is_last: bool) -> None:
        """These nodes crashed, under one fault or none, and their disks did not return the write."""
        what, nodes = self._what(), sorted(node for node, _ in group)
        first_node, first = group[0]
        crash = "crashes, and its disk does" if len(group) == 1 else "crash, and their disks do"
        words = "What they had was not on the disk." if len(group) > 1 else "What it had was not on the disk."
        life = self._lives.get(first_node)
        again = None if life is None else life.next_start_ns(first.time_ns)
        if again is not None:
            verb = "starts" if len(group) == 1 else "start"
            words = f"{listed(nodes)} {verb} again without it, at {seconds(again)}."
        if (fault := self._fault_on(first_node, first.time_ns)) is not None:
            self._fault_moment(fault)
            words += f" The fault was {line(fault.title, 80)}."
        head = f"{listed(nodes)} {crash} not return {what}"
        self._loss(first.time_ns, head, words, first_node, is_last=is_last)

    def _removal(self, node: str, loss: Loss, *, is_last: bool) -> None:
        """This node removed or overwrote the write itself."""
        is_cut = loss.why == "truncated"
        verb = "removes it from its log" if is_cut else "writes something else in its place"
        life = self._lives.get(node)
        span = None if life is None else life.at(loss.time_ns + 1)
        who = line(node, 30)
        if span is not None and span.term is not None:
            who = f"{who}, {line(span.state, 30)} of term {span.term},"
            self._election(span.term, before_ns=loss.time_ns)
        head = f"{line(node, 30)} {'removes' if is_cut else 'overwrites'} {self._what()}"
        self._loss(loss.time_ns, head, f"{who} {verb}.", node, is_last=is_last)

    def _loss(self, time_ns: int, head: str, words: str, node: str, *, is_last: bool) -> None:
        if is_last:
            words += f" From now on no node has {self._what()}."
        self._add(time_ns, "loss", head, words, node=node, tag="data lost" if is_last else "", is_grave=is_last)

    def _what(self) -> str:
        return operation(self._write) if self._write is not None else "it"

    def _election(self, term: int, before_ns: int) -> None:
        """Who began to lead in this term, where the traces tell."""
        for node, life in self._lives.items():
            for span in life.spans:
                if span.is_leading and span.term == term and span.from_ns <= before_ns:
                    held = self._held_words(node, span.from_ns)
                    head = f"{line(node, 30)} leads in term {term}"
                    if all(moment.head != head for moment in self._moments):
                        self._add(
                            span.from_ns,
                            "role",
                            head,
                            f"{line(node, 30)} becomes {line(span.state, 30)}. {held}",
                            node=node,
                        )
                    return

    def _broken_rule(self, time_ns: int) -> None:
        """Of a rule that the traces break: what became of each node concerned just before."""
        failure = self._failure
        for node in failure.nodes:
            life = self._lives.get(node)
            down = None if life is None else life.last_down(time_ns)
            if down is not None:
                fault = self._fault_on(node, down.from_ns)
                if fault is not None:
                    self._fault_moment(fault)
                words = f"{line(node, 30)} is down from {seconds(down.from_ns)}"
                words += "." if down.until_ns is None else f" and starts again at {seconds(down.until_ns)}."
                self._add(down.from_ns, "node", f"{line(node, 30)} goes down", words, node=node)
            role = None if life is None or down is None else life.at(down.from_ns - 1)
            if role is not None and role.term is not None:
                words = f"Before it went down, {line(node, 30)} was {line(role.state, 30)} of term {role.term}."
                self._add(
                    role.from_ns,
                    "role",
                    f"{line(node, 30)} is {line(role.state, 30)} of term {role.term}",
                    words,
                    node=node,
                )
        self._add(
            time_ns,
            "wrong",
            line(failure.promise or failure.checker, 80),
            line(failure.words),
            node=failure.nodes[0] if failure.nodes else None,
            tag="wrong" if failure.validity is Validity.INVALID else "",
            is_grave=failure.validity is Validity.INVALID,
        )

    def _faults_around(self) -> None:
        """The faults in force when the write was acknowledged, and when the wrong answer was given."""
        times = [self._custody.served_ns] if self._custody is not None else []
        if self._failure.time_ns is not None:
            times.append(self._failure.time_ns)
        for time_ns in times:
            for fault in self._in_force(time_ns):
                self._fault_moment(fault)

    def _fault_moment(self, fault: FailureFault) -> None:
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
            left = [node for node in self._lives if node not in fault.nodes]
            cut = f" On {listed(fault.nodes)}" + (f"; not on {listed(left)}." if left else ": every node.")
        until = "It lasts to the end." if fault.lifted_ns is None else f"It is over at {seconds(fault.lifted_ns)}."
        self._add(fault.began_ns, "fault", line(fault.title, 80), f"{until}{cut}")

    def _add(
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

    # --- faults -------------------------------------------------------------------------------------------------------

    def _in_force(self, time_ns: int) -> list[FailureFault]:
        return [
            fault
            for fault in self._failure.faults
            if fault.began_ns <= time_ns and (fault.lifted_ns is None or time_ns <= fault.lifted_ns)
        ]

    def _fault_on(self, node: str, time_ns: int) -> FailureFault | None:
        """The fault that began last before the node went down, was in force on it then, and cuts no links.

        Where no trace tells of the crash, the time is that of the restart, when the fault has just been lifted.
        """
        found = [
            fault
            for fault in self._failure.faults
            if node in fault.nodes
            and len(fault.sides) < 2
            and fault.began_ns <= time_ns
            and (fault.lifted_ns is None or time_ns <= fault.lifted_ns + RESTART_NS_MAX)
        ]
        return max(found, key=lambda fault: fault.began_ns, default=None)

    # --- the first screen ---------------------------------------------------------------------------------------------

    def _headline(self) -> str:
        wrong, write = self._wrong, self._write
        if wrong is None or wrong.type != "ok" or self._failure.validity is not Validity.INVALID:
            return line(self._failure.words, 300)
        on = f" of key {value(self._failure.key, 30)}" if self._failure.key is not None else ""
        verb = (
            f"A {line(wrong.f, 30)}{on} returned {value(wrong.result, 60)}"
            if wrong.argument is None
            else f"{operation(wrong)}{on.replace(' of', ' on')} succeeded"
        )
        if write is None or write.completed_ns is None or write.completed_ns > wrong.invoked_ns:
            return f"{verb}, which no order of the operations explains."
        before = ago(wrong.invoked_ns - write.completed_ns)
        return f"{verb}, although {operation(write)} had been acknowledged {before} earlier."

    def _what_card(self) -> Card | None:
        wrong = self._wrong
        if wrong is None:
            if self._failure.validity is not Validity.INVALID:
                return None
            nodes = f"Nodes concerned: {listed(self._failure.nodes)}." if self._failure.nodes else ""
            rule = line(self._failure.promise or self._failure.checker, 100)
            return Card("What was promised and broken", rule, nodes, self._failure.time_ns, is_grave=True)
        end_ns = wrong.completed_ns if wrong.completed_ns is not None else wrong.invoked_ns
        at = f" at {line(wrong.node, 30)}" if wrong.node else ""
        answer = f"{self._wrong_head(wrong)}, process {wrong.process}{at}"
        states = self._failure.states
        possible = f" Possible: {'; '.join(line(state.in_words, 60) for state in states[:3])}." if states else ""
        detail = f"{seconds(wrong.invoked_ns)} to {seconds(end_ns)}.{possible}"
        return Card("The wrong operation", answer, detail, wrong.invoked_ns, wrong.invoke, is_grave=True)

    def _cause(self, losses: list[tuple[str, Loss]]) -> Card | None:
        failure, write = self._failure, self._write
        if losses and self._custody is not None and write is not None:
            node, loss = losses[-1]
            holders = self._custody.holders(self._custody.served_ns)
            verb = {"crash": "crashed without it on disk", "truncated": "removed it", "replaced": "overwrote it"}[
                loss.why
            ]
            alone = "the only node that had it" if len(self._custody.nodes) == 1 else "the last node that had it"
            detail = f"Acknowledged at {seconds(self._custody.served_ns)}, when {have(holders)} it."
            return Card(
                "Where the data was lost",
                f"{seconds(loss.time_ns)}: {line(node, 30)}, {alone}, {verb}",
                detail,
                loss.time_ns,
                is_grave=True,
            )
        if self._wrong is not None and self._custody is not None and write is not None:
            served = self._served.get(self._wrong.invoke)
            if served is not None:
                words = self._held_words(served.node, served.time_ns)
                if words:
                    node = line(served.node, 30)
                    holders = self._custody.holders(served.time_ns)
                    role = self._role_words(served.node, served.time_ns)
                    detail = f"{role} {have(holders)} it then: the data is not lost.".strip()
                    answer = f"{seconds(served.time_ns)}: {node} answers. {words}"
                    return Card("Why it is wrong", answer, detail, served.time_ns, is_grave=True)
        if failure.validity is not Validity.INVALID:
            return None
        if not failure.ops and failure.notes:
            return Card("What the rule saw", line("; ".join(failure.notes[:4]), 200), "", failure.time_ns)
        if failure.ops and not self._custody:
            why = "The nodes left no trace of the write." if self._traces else "The nodes left no traces."
            return Card("Where the data was lost", "Not seen in the traces", why)
        return None

    def _fault_card(self, losses: list[tuple[str, Loss]]) -> Card | None:
        if self._failure.time_ns is None and not self._failure.ops:
            return None
        chosen: list[tuple[str, FailureFault]] = []
        taken: dict[FailureFault, list[str]] = {}
        for node, loss in losses:
            if loss.why == "crash" and (fault := self._fault_on(node, loss.time_ns)) is not None:
                taken.setdefault(fault, []).append(node)
        chosen += [(f"took it from {listed(sorted(nodes))}", fault) for fault, nodes in taken.items()]
        for node in () if self._failure.ops else self._failure.nodes:
            life, shown_ns = self._lives.get(node), self._failure.time_ns
            down = None if life is None or shown_ns is None else life.last_down(shown_ns)
            if down is not None and (fault := self._fault_on(node, down.from_ns)) is not None:
                chosen.append((f"took {line(node, 30)} down", fault))
        times = [("when it was acknowledged", self._custody.served_ns)] if self._custody is not None else []
        times += [("when it was lost", losses[-1][1].time_ns)] if losses else []
        if self._failure.time_ns is not None:
            times.append(("when the failure showed", self._failure.time_ns))
        for when, time_ns in times:
            chosen += [(f"in force {when}", fault) for fault in self._in_force(time_ns)]
        whens: dict[tuple[str, int], list[str]] = {}
        faults = {(fault.title, fault.began_ns): fault for _, fault in chosen}
        for when, fault in chosen:
            mine = whens.setdefault((fault.title, fault.began_ns), [])
            if when not in mine:
                mine.append(when)
        if not whens:
            before = (
                "Those before it are in the whole run." if not self._failure.ops else "It needs no fault at that time."
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
        answer = "; ".join(line(title, 80) for title, _ in told)
        return Card(question, answer, " ".join(lines) + more, told[0][1])


def _until(fault: FailureFault) -> str:
    return "the end" if fault.lifted_ns is None else seconds(fault.lifted_ns)
