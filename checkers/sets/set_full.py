"""What becomes of each element of a set that is added to, removed from, and read often (after jepsen.checker/set-full).

Jepsen's words: an element is *lost* that was acknowledged and is absent in the end; *never read* that was acknowledged and no
read ever returned; *stale* that some read lacked after it was acknowledged; *duplicated* that one read returned twice. Here
also *resurrected*, that is there again after a removal that had seen it, and *unexpected*, that nobody had added when it was
read, or only an addition that failed.

A removal takes effect where it is served, on what that node has. It had certainly seen an element when the same node had
returned that element, or acknowledged it, before the removal was invoked. So elements are judged that were added by one op;
of others only "never read", "unexpected" and "duplicated" can be told. Stale reads are told and allowed: an eventually
consistent set has them.
"""

from __future__ import annotations

from collections.abc import Hashable
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from checkers.eventual.convergence import unfinished
from checkers.eventual.settled import settled, unordered
from checkers.evidence import Finding, Findings, OpNote
from checkers.relaxed.identity import SHOWN, Misfit, elements, identities, identity, listed
from checkers.timelines import RESTORE
from checkers.verdict import Verdict
from histories.faults import fault_result
from histories.history import History
from histories.loaded import paused_gc
from histories.op import NEMESIS, Op

CHECKER = "set-full"
NEVER = 1 << 62


class _Element(msgspec.Struct):
    """added: the invocation of its only addition. acknowledged_ns: when that ended ok. removals: how many did not fail, and had
    not ended before. removed_ns: node -> when the first removal there that had seen it was acknowledged. first_seen: node -> when
    a read or the acknowledgement there first showed it. first_read: the first read that showed it. absent_ns: when the latest read
    without it was invoked, of those behind the acknowledgement."""

    value: Any
    added: Op
    is_single: bool = True
    is_refused: bool = False
    acknowledged_ns: int = NEVER
    removals: int = 0
    removed_ns: dict[str, int] = {}
    first_seen: dict[str, int] = {}
    is_read: bool = False
    first_read: Op | None = None
    absent_ns: int = -1


@paused_gc()
def set_full(history: History, context: object = None) -> Verdict:
    """Nothing acknowledged is lost, nothing removed comes back, nothing comes from nowhere or twice.

    Ops: `add` and `remove` v, `read` (result: the elements), `contains`, which is passed over. UNKNOWN where a set with
    additions was not read in the end, on every node. stats: the counts of each kind; stable_ns: quantiles of the time from an
    acknowledgement to the last read that lacked the element.
    """
    try:
        found = _Sets(history).judge()
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), CHECKER)
    return found


class _Sets:
    """The elements of all keys, by key and name. unremarkable: of each key and node, the elements whose next read there tells
    nothing new: they were read there before, and nothing happened to them that makes a read wrong. reads: of each key, when each
    was invoked, and its completion."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.of_key: dict[Hashable, dict[Hashable, _Element]] = {}
        self.unremarkable: dict[Hashable, dict[str, set[Hashable]]] = {}
        self.reads: dict[Hashable, list[tuple[int, Op]]] = {}
        self.wrong: dict[str, list[tuple[Any, Any, Op]]] = {
            name: [] for name in ("lost", "resurrected", "unexpected", "duplicated")
        }

    def judge(self) -> Verdict:
        self._walk()
        self._find_absences()
        end = settled(self.history, unordered)
        for key, final in end.finals.items():
            for done in final.last.values():
                self._judge_final(key, final.key, done)
        held = [element for of_key in self.of_key.values() for element in of_key.values()]
        acknowledged = [each for each in held if each.acknowledged_ns < NEVER]
        waits = [max(0, each.absent_ns - each.acknowledged_ns) for each in acknowledged if each.is_single]
        stats: dict[str, Any] = {
            "elements": len(held),
            "acknowledged": len(acknowledged),
            "never_read": sum(not each.is_read for each in acknowledged),
            "stale": sum(
                each.absent_ns > each.acknowledged_ns for each in acknowledged if each.is_single and not each.removals
            ),
            **{
                name: len({(identity(key), identity(value)) for key, value, _ in found})
                for name, found in self.wrong.items()
            },
        }
        if waits:
            points = np.quantile(waits, (0.5, 0.95, 0.99, 1.0), method="higher")
            stats["stable_ns"] = {str(q): int(w) for q, w in zip((0.5, 0.95, 0.99, 1.0), points, strict=True)}
        findings = tuple(_finding(name, found) for name, found in self.wrong.items() if found)
        if findings:
            reason = "; ".join(finding.words for finding in findings)
            return Verdict.invalid(reason, CHECKER, evidence=Findings(findings), stats=stats)
        if reason := unfinished(end):
            return Verdict.unknown(reason, CHECKER, stats=stats)
        return Verdict.valid(CHECKER, stats=stats)

    def _judge_final(self, name: Hashable, key: Any, done: Op) -> None:
        seen = {identity(value) for value in elements(done)}
        for element_name, element in self.of_key.get(name, {}).items():
            if not element.is_single:
                continue
            if element_name in seen:
                if element.removed_ns:
                    self.wrong["resurrected"].append((key, element.value, done))
            elif element.acknowledged_ns < NEVER and not element.removals:
                self.wrong["lost"].append((key, element.value, done))

    def _walk(self) -> None:
        pending: dict[Any, Op] = {}
        doubted: list[Op] = []
        """Removals of unknown outcome: they may happen at any time, also to what is added later."""
        for op in self.history:
            if op.process == NEMESIS:
                self._forget(op)
                continue
            if op.f not in ("add", "remove", "read", "contains"):
                raise Misfit(f"op {op.index}: it knows no {op.f}, only add, contains, read and remove")
            if op.type == "invoke":
                pending[op.process] = op
                if op.f == "add":
                    self._attempt(op)
                continue
            invoked = pending.pop(op.process)
            if invoked.f == "read" and op.type == "ok":
                self._see(invoked, op)
            elif op.type == "info":
                doubted.append(invoked)
            elif (element := self._element(invoked)) is not None:
                self._settle(element, invoked, op)
        for invoked in (*doubted, *pending.values()):
            if invoked.f == "remove" and (element := self._element(invoked)) is not None:
                element.removals += 1

    def _forget(self, op: Op) -> None:
        """A node whose data was restored may lack what it had returned: what is removed there has not seen it for certain."""
        result = fault_result(op) if op.f == RESTORE else None
        if result is None or not isinstance(result.did, dict) or result.did.get("shape") != "node":
            return
        for node in result.did.get("nodes", ()):
            for of_node in self.unremarkable.values():
                of_node.pop(node, None)
            for of_key in self.of_key.values():
                for element in of_key.values():
                    element.first_seen.pop(node, None)

    def _element(self, op: Op) -> _Element | None:
        return self.of_key.get(identity(op.key), {}).get(identity(op.value))

    def _attempt(self, op: Op) -> None:
        of_key = self.of_key.setdefault(identity(op.key), {})
        known = of_key.get(name := identity(op.value))
        if known is None:
            of_key[name] = _Element(op.value, op)
        else:
            known.is_single = False

    def _settle(self, element: _Element, invoked: Op, op: Op) -> None:
        match invoked.f, op.type:
            case "add", "fail":
                element.is_refused = element.is_single
                if element.is_single and element.first_read is not None:
                    self.wrong["unexpected"].append((invoked.key, element.value, element.first_read))
                for unremarkable in self.unremarkable.get(identity(invoked.key), {}).values():
                    unremarkable.discard(identity(invoked.value))
            case "add", "ok":
                element.acknowledged_ns = min(element.acknowledged_ns, op.time)
                element.first_seen.setdefault(op.node or "", op.time)
            case "remove", "ok":
                element.removals += 1
                if op.node is not None and element.first_seen.get(op.node, NEVER) < invoked.time:
                    element.removed_ns.setdefault(op.node, op.time)
                    of_node = self.unremarkable.get(identity(invoked.key), {})
                    of_node.get(op.node, set()).discard(identity(invoked.value))

    def _see(self, invoked: Op, op: Op) -> None:
        key = identity(invoked.key)
        self.reads.setdefault(key, []).append((invoked.time, op))
        values = elements(op)
        names = identities(values)
        seen = set(names)
        if len(seen) < len(names):
            once: set[Hashable] = set()
            for value, name in zip(values, names, strict=True):
                if name in once:
                    self.wrong["duplicated"].append((invoked.key, value, op))
                once.add(name)
        node = op.node or ""
        unremarkable = self.unremarkable.setdefault(key, {}).setdefault(node, set())
        if seen <= unremarkable:
            return
        of_key = self.of_key.get(key, {})
        for value, name in zip(values, names, strict=True):
            if name in unremarkable:
                continue
            element = of_key.get(name)
            if element is None or (element.is_refused and element.is_single):
                self.wrong["unexpected"].append((invoked.key, value, op))
                continue
            element.is_read = True
            element.first_read = element.first_read or op
            element.first_seen.setdefault(node, op.time)
            if node not in element.removed_ns:
                unremarkable.add(name)
            elif element.is_single and element.removed_ns[node] < invoked.time:
                self.wrong["resurrected"].append((invoked.key, value, op))

    def _find_absences(self) -> None:
        """Set `absent_ns` of every element, in time linear in what the reads returned.

        Backwards from the latest read of a key: an element that one lacks is done with, and those that are left are no more than
        what the read returned.
        """
        for key, reads in self.reads.items():
            of_key = self.of_key.get(key, {})
            reads.sort(key=itemgetter(0), reverse=True)
            left = set(of_key)
            for invoked_ns, op in reads:
                if not left:
                    break
                seen = set(identities(elements(op)))
                for name in left - seen:
                    if of_key[name].acknowledged_ns < invoked_ns:
                        of_key[name].absent_ns = invoked_ns
                left &= seen


_WORDS = {
    "lost": "was acknowledged, never removed, and is absent in the end",
    "resurrected": "is there again after a removal that had seen it",
    "unexpected": "was read, and nobody had added it",
    "duplicated": "was returned twice by one read",
}


def _finding(name: str, found: list[tuple[Any, Any, Op]]) -> Finding:
    key = found[0][0]
    values = list({identity(value): value for of_key, value, _ in found if identity(of_key) == identity(key)}.values())
    ops = [op for of_key, _, op in found if identity(of_key) == identity(key)]
    nodes = tuple(sorted({op.node for op in ops if op.node is not None}))
    words = (
        f"{name}: {listed(values)} of key {key!r} {_WORDS[name]}{f' on {nodes[0]}' if name == 'lost' and nodes else ''}"
    )
    return Finding(words, key=key, ops=tuple(OpNote(op.index, op.node or "") for op in ops[:SHOWN]), nodes=nodes)
