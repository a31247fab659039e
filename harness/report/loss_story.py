"""Tells as moments how nodes lost an acknowledged write: by a crash, by removing it, by writing something else in its place."""

from __future__ import annotations

from checkers.custody import Loss
from harness.report.facts import Facts
from harness.report.failure import FailureFault
from harness.report.moments import listed, seconds
from harness.report.telling import Moments
from histories.printing import line


class LossStory:
    """The losses of the write that a failure denies."""

    def __init__(self, facts: Facts, moments: Moments) -> None:
        self._facts = facts
        self._moments = moments

    def tell(self) -> None:
        """Each loss; those before the last that one fault caused by a crash are one moment."""
        losses = self._facts.losses
        for node, loss in losses[-1:]:
            if loss.why == "crash":
                self._crash_loss([(node, loss)], is_last=True)
            else:
                self._removal(node, loss, is_last=True)
        groups: dict[FailureFault | None, list[tuple[str, Loss]]] = {}
        for node, loss in losses[:-1]:
            if loss.why == "crash":
                groups.setdefault(self._facts.fault_on(node, loss.time_ns), []).append((node, loss))
            else:
                self._removal(node, loss, is_last=False)
        for group in groups.values():
            self._crash_loss(group, is_last=False)

    def _crash_loss(self, group: list[tuple[str, Loss]], *, is_last: bool) -> None:
        """These nodes crashed, under one fault or none, and their disks did not return the write."""
        what, nodes = self._facts.what(), sorted(node for node, _ in group)
        first_node, first = group[0]
        crash = "crashes, and its disk does" if len(group) == 1 else "crash, and their disks do"
        words = "What they had was not on the disk." if len(group) > 1 else "What it had was not on the disk."
        life = self._facts.lives.get(first_node)
        again = None if life is None else life.next_start_ns(first.time_ns)
        if again is not None:
            verb = "starts" if len(group) == 1 else "start"
            words = f"{listed(nodes)} {verb} again without it, at {seconds(again)}."
        if (fault := self._facts.fault_on(first_node, first.time_ns)) is not None:
            self._moments.add_fault(fault)
            words += f" The fault was {line(fault.title, 80)}."
        head = f"{listed(nodes)} {crash} not return {what}"
        self._loss(first.time_ns, head, words, first_node, is_last=is_last)

    def _removal(self, node: str, loss: Loss, *, is_last: bool) -> None:
        """This node removed or overwrote the write itself."""
        is_cut = loss.why == "truncated"
        verb = "removes it from its log" if is_cut else "writes something else in its place"
        life = self._facts.lives.get(node)
        span = None if life is None else life.at(loss.time_ns + 1)
        who = line(node, 30)
        if span is not None and span.term is not None:
            who = f"{who}, {line(span.state, 30)} of term {span.term},"
            self._election(span.term, before_ns=loss.time_ns)
        head = f"{line(node, 30)} {'removes' if is_cut else 'overwrites'} {self._facts.what()}"
        self._loss(loss.time_ns, head, f"{who} {verb}.", node, is_last=is_last)

    def _loss(self, time_ns: int, head: str, words: str, node: str, *, is_last: bool) -> None:
        if is_last:
            words += f" From now on no node has {self._facts.what()}."
        self._moments.add(time_ns, "loss", head, words, node=node, tag="data lost" if is_last else "", is_grave=is_last)

    def _election(self, term: int, before_ns: int) -> None:
        """Who began to lead in this term, where the traces tell."""
        for node, life in self._facts.lives.items():
            for span in life.spans:
                if span.is_leading and span.term == term and span.from_ns <= before_ns:
                    held = self._facts.held_words(node, span.from_ns)
                    head = f"{line(node, 30)} leads in term {term}"
                    if not self._moments.has(head):
                        self._moments.add(
                            span.from_ns,
                            "role",
                            head,
                            f"{line(node, 30)} becomes {line(span.state, 30)}. {held}",
                            node=node,
                        )
                    return
