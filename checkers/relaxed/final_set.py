"""A set that is read in the end: nothing that was acknowledged is missing. Jepsen's set (jepsen.checker/set).

As there, the last read that ended `ok` is the one that counts. Sharper here: an add has to be in it when it was acknowledged
before the read was invoked, and may be in it when it did not end `fail` and was invoked before the read returned.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from checkers.evidence import Finding, Findings, OpNote
from checkers.relaxed.identity import SHOWN, Misfit, elements, identity, listed
from checkers.verdict import Verdict
from histories.history import History
from histories.op import Op

CHECKER = "final-set"
FS = frozenset({"add", "read"})


class _Set:
    """One key. adds: value, call and return (-1: unknown) of each element's adds. read: call, return and result."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.adds: dict[Hashable, tuple[Any, list[tuple[int, int]]]] = {}
        self.read: tuple[int, int, list[Any]] | None = None


def final_set(history: History, context: object = None) -> Verdict:
    """The last read of each key holds every acknowledged element, and none that was never added.

    Ops: `add` v, `read` (result: the elements). UNKNOWN when a key with adds was never read, or elements are removed.
    """
    try:
        sets = _read(history)
    except Misfit as misfit:
        return Verdict.unknown(str(misfit), CHECKER)
    lost: list[tuple[_Set, Any, int]] = []
    unexpected: list[tuple[_Set, Any, int]] = []
    unread = [each.key for each in sets.values() if each.read is None and each.adds]
    recovered = 0
    for each in sets.values():
        if each.read is None:
            continue
        read_called, read_returned, result = each.read
        seen = {identity(value): value for value in result}
        for name, (value, adds) in each.adds.items():
            acknowledged = [called for called, returned in adds if 0 <= returned < read_called]
            if name not in seen and acknowledged:
                lost.append((each, value, acknowledged[0]))
            recovered += name in seen and all(returned < 0 for _, returned in adds)
        for name, value in seen.items():
            _, adds = each.adds.get(name, (None, []))
            if not any(called < read_returned for called, _ in adds):
                unexpected.append((each, value, read_returned))
    stats = {"sets": len(sets), "lost": len(lost), "unexpected": len(unexpected), "recovered": recovered}
    findings = tuple(
        _finding(history, words, found)
        for words, found in (
            ("was acknowledged and is not in the last read", lost),
            ("was read and never added", unexpected),
        )
        if found
    )
    if findings:
        reason = "; ".join(finding.words for finding in findings)
        return Verdict.invalid(reason, CHECKER, evidence=Findings(findings), stats=stats)
    if unread or not sets:
        reason = f"no read of {listed(unread)} succeeded" if unread else "nothing was checked: no operation succeeded"
        return Verdict.unknown(reason, CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _read(history: History) -> dict[Hashable, _Set]:
    """The sets by key, in order of first use. Raises Misfit for an op that no set has."""
    sets: dict[Hashable, _Set] = {}
    open_: dict[Any, tuple[int, Op]] = {}
    for position, op in enumerate(history):
        if not op.is_client:
            continue
        if op.f not in FS:
            raise Misfit(f"op {op.index}: it knows no {op.f}, only add and read")
        if op.type == "invoke":
            open_[op.process] = (position, op)
        else:
            called, invoked = open_.pop(op.process)
            _record(sets, called, position, invoked, op)
    for called, invoked in open_.values():
        _record(sets, called, -1, invoked, None)
    return sets


def _record(sets: dict[Hashable, _Set], called: int, returned: int, invoked: Op, completion: Op | None) -> None:
    type_ = "info" if completion is None else completion.type
    if type_ == "fail":
        return
    name = identity(invoked.key)
    if name not in sets:
        sets[name] = _Set(invoked.key)
    if invoked.f == "add":
        element = sets[name].adds.setdefault(identity(invoked.value), (invoked.value, []))
        element[1].append((called, returned if type_ == "ok" else -1))
    elif completion is not None and type_ == "ok":
        sets[name].read = (called, returned, elements(completion))


def _finding(history: History, words: str, found: list[tuple[_Set, Any, int]]) -> Finding:
    notes = tuple(OpNote(history[position].index) for _, _, position in found[:SHOWN])
    return Finding(f"{listed([value for _, value, _ in found])} {words}", key=found[0][0].key, ops=notes)
