"""Queues without an order: what goes in must come out.

Jepsen's total-queue (jepsen.checker/total-queue, "What goes in *must* come out"), with its words: an element is *lost* that
was acknowledged and never came out; *unexpected* that came out and was never put in; *duplicated* that came out more often
than it was put in; *recovered* that came out although nobody knew whether it had been put in. Elements are counted, so equal
ones may be put in several times.

Three things are sharper here, so that a verdict is a proof. What was put in is what did not end `fail`, and an element that
came out before its put was invoked is unexpected too. Nothing is lost before the queue was drained: the last take that found
it empty, or `drain`, was invoked after the put had returned: what is left in queues that nobody drained is no finding
where some were drained, and UNKNOWN where none was. And a take whose outcome is unknown may have taken any one
element, so that many may be missing.

So the definition is: the history is allowed when takes can be assigned to puts that were invoked before they returned, such
that every acknowledged put before the last empty take has one. With `at least once` several takes may have the same put;
with `exactly once` none may. Both demands can be met together when each can be met alone (Mendelsohn and Dulmage 1958), and
each alone by sorting, because a later take may have every put that an earlier one may have.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from checkers.evidence import Finding, Findings, OpNote, Table
from checkers.relaxed.identity import SHOWN, Misfit, elements, identity, listed
from checkers.verdict import Verdict
from histories.history import History
from histories.op import Op

FS = frozenset({"enqueue", "dequeue", "drain", "peek"})


class _Element:
    """One value of one key. Positions of events in the history; returned: -1 for a put of unknown outcome."""

    __slots__ = ("puts", "takes", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.puts: list[tuple[int, int]] = []
        self.takes: list[int] = []


class _Queue:
    """One key. emptied: where the last take was invoked that found nothing; -1: none did. doubted: takes of unknown
    outcome. is_unbounded: a drain is among them.
    """

    def __init__(self, key: Any) -> None:
        self.key = key
        self.elements: dict[Hashable, _Element] = {}
        self.emptied = -1
        self.doubted = 0
        self.is_unbounded = False

    def element(self, value: Any) -> _Element:
        known = self.elements.get(name := identity(value))
        if known is None:
            known = self.elements[name] = _Element(value)
        return known


def total_queue(history: History, context: object = None) -> Verdict:
    """Every acknowledged element came out at least once, in any order, and nothing came from nowhere.

    Ops: `enqueue` v; `dequeue` (result: an element, None: it was empty); `drain` (result: all that was left); `peek`, which
    takes nothing and is passed over.
    Duplicates are told and allowed. UNKNOWN when nothing succeeded, or elements are missing and no queue was drained.
    """
    return _judge(history, "total-queue", is_once=False)


def unordered_queue(history: History, context: object = None) -> Verdict:
    """As total_queue, and no element came out more often than it was put in: exactly once, in any order."""
    return _judge(history, "unordered-queue", is_once=True)


def _judge(history: History, checker: str, *, is_once: bool) -> Verdict:
    try:
        queues, ok_count = _read(history)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), checker)
    found: dict[str, list[tuple[_Queue, Any, int]]] = {"lost": [], "unexpected": [], "duplicated": [], "recovered": []}
    counts = dict.fromkeys(("attempted", "acknowledged", "delivered"), 0)
    missing_undrained: list[Any] = []
    may_be_taken = drained = 0
    for queue in queues:
        lost: list[tuple[_Queue, Any, int]] = []
        lost_count = 0
        last = max((put[1] for element in queue.elements.values() for put in element.puts), default=-1)
        drained += 0 <= last < queue.emptied
        for element in queue.elements.values():
            element.puts.sort()
            element.takes.sort()
            acknowledged = [put for put in element.puts if put[1] >= 0]
            counts["attempted"] += len(element.puts)
            counts["acknowledged"] += len(acknowledged)
            counts["delivered"] += len(element.takes)
            required = [called for called, returned in acknowledged if returned < queue.emptied]
            if gone := _unmatched(required, element.takes):
                lost.append((queue, element.value, required[-1]))
                lost_count += gone
            if _unmatched([called for called, _ in acknowledged], element.takes) > gone:
                missing_undrained.append(element.value)
            unexpected, duplicated = _surplus([called for called, _ in element.puts], element.takes)
            if unexpected:
                found["unexpected"].append((queue, element.value, element.takes[0]))
            if duplicated:
                found["duplicated"].append((queue, element.value, element.takes[-1]))
            if len(element.puts) > len(acknowledged) and len(element.takes) > len(acknowledged):
                found["recovered"].append((queue, element.value, element.takes[-1]))
        if queue.is_unbounded or lost_count <= queue.doubted:
            may_be_taken += lost_count
        else:
            found["lost"] += lost
    rows = [*counts.items(), *((word, len(each)) for word, each in found.items())]
    table = Table(("elements", "count"), tuple(rows), "What went in and what came out")
    stats = {**dict(rows), "may_be_taken": may_be_taken, "queues": len(queues), "drained": drained}
    wrong = [word for word in ("lost", "unexpected", "duplicated") if found[word] and (is_once or word != "duplicated")]
    if wrong:
        findings = tuple(_finding(history, word, found[word], table) for word in wrong)
        reason = "; ".join(each.words for each in findings)
        return Verdict.invalid(reason, checker, evidence=Findings(findings), stats=stats)
    if not ok_count:
        return Verdict.unknown("nothing was checked: no operation succeeded", checker, stats=stats)
    if missing_undrained and not drained:
        words = f"{listed(missing_undrained)} did not come out, but no take found the queue empty afterwards"
        return Verdict.unknown(words, checker, stats=stats)
    return Verdict.valid(checker, stats=stats)


def _read(history: History) -> tuple[list[_Queue], int]:
    """The queues by key, in order of first use, and how many ops succeeded. Raises Misfit for an op that no queue has."""
    queues: dict[Hashable, _Queue] = {}
    open_: dict[Any, tuple[int, Op]] = {}
    ok_count = 0
    for position, op in enumerate(history):
        if not op.is_client:
            continue
        if op.f not in FS:
            raise Misfit(f"op {op.index}: it knows no {op.f}, only {', '.join(sorted(FS))}")
        if op.type == "invoke":
            open_[op.process] = (position, op)
            continue
        called, invoked = open_.pop(op.process)
        ok_count += op.type == "ok"
        _record(_queue(queues, invoked), called, position, invoked, op)
    for called, invoked in open_.values():
        _record(_queue(queues, invoked), called, -1, invoked, None)
    return list(queues.values()), ok_count


def _queue(queues: dict[Hashable, _Queue], invoked: Op) -> _Queue:
    name = identity(invoked.key)
    if name not in queues:
        queues[name] = _Queue(invoked.key)
    return queues[name]


def _record(queue: _Queue, called: int, returned: int, invoked: Op, completion: Op | None) -> None:
    type_ = "info" if completion is None else completion.type
    if type_ == "fail" or invoked.f == "peek":
        return
    if invoked.f == "enqueue":
        queue.element(invoked.value).puts.append((called, returned if type_ == "ok" else -1))
    elif type_ == "info":
        queue.doubted += 1
        queue.is_unbounded |= invoked.f == "drain"
    else:
        assert completion is not None
        if invoked.f == "dequeue":
            taken = [] if completion.value is None else [completion.value]
        else:
            taken = elements(completion)
        for value in taken:
            queue.element(value).takes.append(returned)
        if invoked.f == "drain" or not taken:
            queue.emptied = max(queue.emptied, called)


def _unmatched(puts: list[int], takes: list[int]) -> int:
    """How many puts, by their calls, find no take of their own that returned after it. Both ascending."""
    place = len(takes) - 1
    gone = 0
    for called in reversed(puts):  # The latest put has the fewest takes to choose from, and they serve all others.
        if place >= 0 and takes[place] > called:
            place -= 1
        else:
            gone += 1
    return gone


def _surplus(puts: list[int], takes: list[int]) -> tuple[bool, bool]:
    """Whether some take returned before any put was called, and whether there are more takes than puts for them."""
    if not takes:
        return False, False
    if not puts or takes[0] < puts[0]:
        return True, False
    is_short = len(takes) > len(puts) or any(returned < called for called, returned in zip(puts, takes, strict=False))
    return False, is_short


_WORDS = {
    "lost": "was acknowledged and never came out",
    "unexpected": "came out and had not been put in",
    "duplicated": "came out more often than it had been put in",
}


def _finding(history: History, word: str, found: list[tuple[_Queue, Any, int]], table: Table) -> Finding:
    keys: Iterable[Any] = {identity(queue.key): queue.key for queue, _, _ in found}.values()
    key = next(iter(keys))
    words = f"{word}: {listed([value for _, value, _ in found])} {_WORDS[word]}"
    notes = tuple(OpNote(history[position].index, word) for _, _, position in found[:SHOWN])
    return Finding(words, key=key, ops=notes, tables=(table,))
