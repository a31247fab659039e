"""Tells how a rule of a protocol came to be broken: what nodes traced about the entry, slot, term or transaction that it names.

The rule's own details say what it is about: `index`, `slot`, `term`, or a field that a target's own events carry, too. Nothing here
knows a rule or a target by name, so that those of tomorrow are told as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from checkers import Validity
from checkers.custody import NodeCustody, entry_custody, holders
from checkers.invariants.ledger import Ledger
from checkers.invariants.observers import SHARD_NODES
from harness.report.facts import Facts
from harness.report.moments import Card, have, listed, seconds
from harness.report.telling import Moments
from histories.printing import line, value
from histories.tracing import Accepted, Chosen, Committed, Custom, Promised, Role, Started, TraceRecord, Voted

STEPS_MAX = 8
"""Moments about a slot, a term or a transaction: the last ones before the rule was broken."""

COMMON = frozenset({"index", "term", "slot", "ballot", "node", "shard", SHARD_NODES})
"""Details that events have fields of their own for; any other one is looked for in a target's own events."""


class _Step(msgspec.Struct):
    """Some nodes did the same. who: in order. head: with {} in place of who and of the verb's ending."""

    time_ns: int
    who: list[str]
    does: str
    do: str


class _Decided(msgspec.Struct, frozen=True):
    """The first time that a node called an entry decided. nodes: who held it from when to when."""

    time_ns: int
    by: str
    index: int
    term: int
    command: Any
    nodes: dict[str, NodeCustody]


class RuleStory:
    """What led to one broken rule."""

    def __init__(self, facts: Facts, moments: Moments) -> None:
        self._facts = facts
        self._moments = moments
        failure = facts.failure
        assert failure.time_ns is not None, "only what has a time is told"
        self._end_ns = failure.time_ns
        self._details = failure.details
        among = self._details.get(SHARD_NODES)
        self._records = [
            record for record in facts.traces if record.time <= self._end_ns and (among is None or record.node in among)
        ]
        self._decided = self._find_decided()
        self._votes: list[_Step] = []

    def tell(self) -> None:
        """The nodes' ends before it, what they traced about its subject, and the rule as it broke."""
        failure = self._facts.failure
        for node in failure.nodes:
            self._last_end(node)
        if self._decided is not None:
            self._entry(self._decided)
        term = self._details.get("term")
        for step in [
            *(_folded(self._on_term(term)) if isinstance(term, int) else ()),
            *(_folded(self._on_slot()) if "slot" in self._details else ()),
            *_folded(self._on_own_fields()),
        ][-STEPS_MAX:]:
            who = listed(step.who)
            verb = step.does if len(step.who) == 1 else step.do
            words = self._held_by_each(step.who, step.time_ns)
            self._moments.add(step.time_ns, "role", f"{who} {verb}", words, node=step.who[0])
        is_broken = failure.validity is Validity.INVALID
        self._moments.add(
            self._end_ns,
            "wrong",
            f"{line((failure.promise or failure.checker).partition(':')[0], 80)} is broken",
            line(failure.words),
            node=failure.nodes[-1] if failure.nodes else None,
            tag="wrong" if is_broken else "",
            is_grave=is_broken,
        )

    def card(self) -> Card | None:
        """In a sentence, how it came to that; None where the rule says it all."""
        failure, decided = self._facts.failure, self._decided
        if decided is not None:
            had = holders(decided.nodes, decided.time_ns)
            answer = f"{seconds(decided.time_ns)}: {line(decided.by, 30)} calls entry {decided.index} decided; {have(had)} it then"
            lost = " ".join(self._without(node, decided) for node in failure.nodes if node not in self._holders_now())
            left = self._holders_now()
            now = f"As the rule breaks, {have(left)} it." if left else "As the rule breaks, no node has it."
            return Card("How it came to that", answer, f"{lost} {now}".strip(), decided.time_ns, is_grave=True)
        if failure.notes:
            return Card("What the rule saw", line("; ".join(failure.notes[:4]), 200), "", failure.time_ns)
        return None

    @property
    def held(self) -> tuple[str, dict[str, NodeCustody]]:
        """The entry that the rule is about, and who held it from when to when; none where it is about another thing."""
        return ("", {}) if self._decided is None else (f"entry {self._decided.index}", self._decided.nodes)

    # --- an entry of a log --------------------------------------------------------------------------------------------

    def _find_decided(self) -> _Decided | None:
        """The entry that the rule names, when a node first called it decided; None where the rule names none."""
        index = self._details.get("committed") if isinstance(self._details.get("committed"), int) else None
        index = self._details.get("index") if index is None else index
        if not isinstance(index, int) or index < 1:
            return None
        ledger = Ledger()
        for record in self._records:
            event = record.event
            handle = ledger.handlers.get(type(event))
            if handle is not None:
                handle(record.time, record.node, event)
            if isinstance(event, Committed) and event.index >= index:
                entry = ledger.view(record.node).entry_at(index)
                if entry is not None:
                    nodes = entry_custody(self._records, index, entry[0])
                    return _Decided(record.time, record.node, index, entry[0], entry[1], nodes)
        return None

    def _holders_now(self) -> list[str]:
        return [] if self._decided is None else holders(self._decided.nodes, self._end_ns)

    def _entry(self, decided: _Decided) -> None:
        """The entry decided, and each node's loss of it."""
        had = holders(decided.nodes, decided.time_ns)
        what = value(msgspec.to_builtins(decided.command), 80)
        words = f"It is {what}, of term {decided.term}. {have(had)} it then."
        head = f"{line(decided.by, 30)} calls entry {decided.index} decided"
        self._moments.add(decided.time_ns, "op", head, words, node=decided.by)
        for node, part in decided.nodes.items():
            for loss in part.losses[-1:]:
                if loss.time_ns > self._end_ns:
                    continue
                did = {
                    "crash": "crashes, and its disk does not return",
                    "truncated": "removes",
                    "replaced": "overwrites",
                }
                if loss.why == "crash" and (fault := self._facts.fault_on(node, loss.time_ns)) is not None:
                    self._moments.add_fault(fault)
                is_late = loss.time_ns >= decided.time_ns
                words = f"It had been decided at {seconds(decided.time_ns)}." if is_late else "It was not decided yet."
                head = f"{line(node, 30)} {did[loss.why]} entry {decided.index}"
                self._moments.add(loss.time_ns, "loss", head, words, node=node, is_grave=is_late)

    def _without(self, node: str, decided: _Decided) -> str:
        """How this node comes to be without the entry."""
        part = decided.nodes.get(node)
        if part is None or not part.losses:
            return f"{line(node, 30)} never had it."
        loss = part.losses[-1]
        did = {"crash": "crashed and lost it", "truncated": "removed it", "replaced": "overwrote it"}[loss.why]
        return f"{line(node, 30)} {did} at {seconds(loss.time_ns)}."

    def _held_by_each(self, nodes: list[str], time_ns: int) -> str:
        """Which of these nodes had the decided entry then."""
        if self._decided is None:
            return ""
        had = set(holders(self._decided.nodes, time_ns))
        named = list(dict.fromkeys(nodes))
        with_it, without = [n for n in named if n in had], [n for n in named if n not in had]
        entry = f"entry {self._decided.index} of term {self._decided.term}"
        words = f"{have(with_it)} {entry}." if with_it else ""
        if without:
            verb = "does" if len(without) == 1 else "do"
            words += f" {listed(without)} {verb} not have {'it' if with_it else entry}."
        return words

    # --- a term, a slot, or what only this target knows -----------------------------------------------------------------

    def _on_term(self, term: int) -> Iterator[_Step]:
        """Votes of this term, who led in it, and the restarts of nodes that did either."""
        acted: set[str] = set()
        for record in self._records:
            match record.event:
                case Voted(term=found, candidate=candidate) if found == term:
                    acted.add(record.node)
                    own, whom = candidate == record.node, line(candidate, 30)
                    does = f"votes for {'itself' if own else whom} in term {term}"
                    yield _step(record, does, f"vote for {'themselves' if own else whom} in term {term}")
                case Role(role=role, term=found) if found == term and self._leads(record):
                    acted.add(record.node)
                    yield _step(record, f"is {line(role, 30)} of term {term}", f"are {line(role, 30)} of term {term}")
                case Started(incarnation=incarnation) if incarnation > 1 and record.node in acted:
                    yield _step(record, "starts again", "start again")

    def _leads(self, record: TraceRecord) -> bool:
        life = self._facts.lives.get(record.node)
        span = None if life is None else life.at(record.time)
        return span is not None and span.is_leading

    def _on_slot(self) -> Iterator[_Step]:
        """What was promised, accepted and learned for this slot."""
        slot = self._details["slot"]
        for record in self._records:
            match record.event:
                case Accepted(ballot=ballot) as event if slot in (held := dict(event.slots())):
                    what = f"{_plain(held[slot])} under ballot {_ballot(ballot)}"
                    yield _step(record, f"accepts {what}", f"accept {what}")
                case Chosen() as event if slot in (held := dict(event.slots())):
                    what = f"that {_plain(held[slot])} is chosen"
                    yield _step(record, f"learns {what}", f"learn {what}")
                case Promised(slot=found, ballot=ballot) if found is None or found == slot:
                    yield _step(record, f"promises ballot {_ballot(ballot)}", f"promise ballot {_ballot(ballot)}")

    def _on_own_fields(self) -> Iterator[_Step]:
        """A target's own events that carry one of the details, such as the transaction that the rule is about."""
        wanted = {name: seen for name, seen in self._details.items() if name not in COMMON and _is_name(seen)}
        for record in self._records if wanted else ():
            event = record.event
            if isinstance(event, Custom) and any(event.fields.get(name) == seen for name, seen in wanted.items()):
                rest = {name: seen for name, seen in event.fields.items() if name not in wanted}
                told = f"{line(event.name, 40)}{' ' + value(rest, 80) if rest else ''}"
                yield _step(record, told, told)

    def _last_end(self, node: str) -> None:
        """When this node last went down before it, and what it was until then."""
        life = self._facts.lives.get(node)
        down = None if life is None else life.last_down(self._end_ns)
        if life is None or down is None:
            return
        if (fault := self._facts.fault_on(node, down.from_ns)) is not None:
            self._moments.add_fault(fault)
        words = f"{line(node, 30)} is down from {seconds(down.from_ns)}"
        words += "." if down.until_ns is None else f" and starts again at {seconds(down.until_ns)}."
        role = life.at(down.from_ns - 1)
        if role is not None and role.term is not None:
            words += f" Before that it was {line(role.state, 30)} of term {role.term}."
        self._moments.add(down.from_ns, "node", f"{line(node, 30)} goes down", words, node=node)


def _step(record: TraceRecord, does: str, do: str) -> _Step:
    return _Step(record.time, [record.node], does, do)


def _folded(steps: Iterator[_Step]) -> list[_Step]:
    """Steps in which several nodes do the same right after one another are one."""
    found: list[_Step] = []
    for step in steps:
        if found and found[-1].does == step.does and step.who[0] not in found[-1].who:
            found[-1].who += step.who
        else:
            found.append(step)
    return found


def _plain(command: Any) -> str:
    return value(msgspec.to_builtins(command), 60)


def _ballot(ballot: tuple[int, str]) -> str:
    return f"{ballot[0]} of {line(ballot[1], 30)}"


def _is_name(seen: Any) -> bool:
    return isinstance(seen, str | int) and not isinstance(seen, bool)
