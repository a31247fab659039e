"""Unique ids: no two answers are equal. Jepsen's unique-ids (jepsen.checker/unique-ids)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from checkers.evidence import Finding, Findings, OpNote
from checkers.relaxed.identity import SHOWN, identity, listed
from checkers.verdict import Verdict
from histories.history import History

CHECKER = "unique-ids"


def unique_ids(history: History, context: object = None) -> Verdict:
    """Every `generate` that ended `ok` returned another id than all others, whatever their keys.

    An op of unknown outcome returned nothing to anybody. UNKNOWN when none succeeded.
    """
    first: dict[Hashable, int] = {}
    again: dict[Hashable, tuple[Any, list[int]]] = {}
    attempted = 0
    for position, op in enumerate(history):
        if not op.is_client or op.f != "generate":
            continue
        if op.type == "invoke":
            attempted += 1
        elif op.type == "ok" and (known := first.setdefault(name := identity(op.value), position)) != position:
            again.setdefault(name, (op.value, [known]))[1].append(position)
    acknowledged = len(first) + sum(len(positions) - 1 for _, positions in again.values())
    stats = {"attempted": attempted, "acknowledged": acknowledged, "duplicated": len(again)}
    if again:
        words = f"{listed([value for value, _ in again.values()])} was given out more than once"
        _, positions = next(iter(again.values()))
        notes = tuple(OpNote(history[position].index) for position in positions[:SHOWN])
        return Verdict.invalid(words, CHECKER, evidence=Findings((Finding(words, ops=notes),)), stats=stats)
    if not first:
        return Verdict.unknown("nothing was checked: no generate succeeded", CHECKER, stats=stats)
    return Verdict.valid(CHECKER, stats=stats)
