"""An independent look at a cycle: is each of its edges in the history, as recorded?

Nothing here knows of version numbers, graphs or indices: every edge is derived again from the few operations that are said to
show it. A cycle that does not pass is not reported; it would be an error of this package.

What is used: a list that was read holds all that was appended to it before, in order. So an element that stands before another was
appended before it, and one that is missing was appended later. Of registers: a value is read after it was written, and the
initial state before all writes; and the assumptions that the user made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from histories.history import History
from histories.op import Op, freeze


class Recorded(msgspec.Struct, frozen=True):
    """A transaction as recorded: positions of its invocation and of its completion; None: it never completed."""

    begin: int
    end: int | None


class Edge(msgspec.Struct, frozen=True):
    """before comes before after, by versions `earlier` and `later` of `key`, as `witnesses` show; see found.Reason."""

    type: str
    before: Recorded
    after: Recorded
    key: Any = None
    earlier: Any = None
    later: Any = None
    witnesses: tuple[Recorded, ...] = ()
    rule: str = ""


class Refuted(Exception):
    """An edge does not follow from the history. The message says which."""


def verify(history: History, workload: str, edges: Sequence[Edge]) -> None:
    """The edges are a cycle, and each follows from the history. Raises Refuted."""
    if len(edges) < 2:
        raise Refuted("a cycle has at least two edges")
    for number, edge in enumerate(edges):
        if edge.before != edges[number - 1].after:
            raise Refuted(f"edge {number} does not begin where the one before it ends")
        check = _CHECKS[workload].get(edge.type, _order)
        if not check(history, edge):
            raise Refuted(f"edge {number} ({edge.type}) does not follow from the history: {edge}")
        for each in (edge.before, edge.after):
            if not _happened(history, workload, each):
                raise Refuted(f"nothing shows that the transaction at {each.begin} took effect")


def _order(history: History, edge: Edge) -> bool:
    ended = edge.before.end is not None and history[edge.before.end].type == "ok"
    is_after = ended and edge.before.end is not None and edge.before.end < edge.after.begin
    if edge.type == "realtime":
        return is_after
    same = history[edge.before.begin].process == history[edge.after.begin].process
    return edge.type == "process" and is_after and same


def _steps(history: History, each: Recorded) -> list[Sequence[Any]]:
    """The micro-operations; of what did not end ok, those of the invocation, without reads."""
    end = None if each.end is None else history[each.end]
    if end is not None and end.type == "ok":
        return [*end.value]
    asked = history[each.begin].value
    value = asked if asked is not None else None if end is None else end.value
    return [step for step in value or () if step[0] != "r"]


def _writes(history: History, each: Recorded, f: str, key: Any, value: Any) -> bool:
    return any(s[0] == f and freeze(s[1]) == key and freeze(s[2]) == value for s in _steps(history, each))


def _reads(history: History, each: Recorded, key: Any) -> list[Any]:
    return [
        step[2] if len(step) > 2 else None
        for step in _steps(history, each)
        if step[0] == "r" and freeze(step[1]) == key
    ]


def _lists(history: History, each: Recorded, key: Any) -> list[list[Any]]:
    return [[freeze(item) for item in value or ()] for value in _reads(history, each, key)]


def _append_wr(history: History, edge: Edge) -> bool:
    return _writes(history, edge.before, "append", edge.key, edge.later) and any(
        edge.later in value for value in _lists(history, edge.after, edge.key)
    )


def _append_ww(history: History, edge: Edge) -> bool:
    return (
        _writes(history, edge.before, "append", edge.key, edge.earlier)
        and _writes(history, edge.after, "append", edge.key, edge.later)
        and any(
            _stands_before(value, edge.earlier, edge.later)
            for witness in edge.witnesses
            for value in _lists(history, witness, edge.key)
        )
    )


def _stands_before(value: list[Any], earlier: Any, later: Any) -> bool:
    if earlier not in value:
        return False
    return later not in value or value.index(earlier) < value.index(later)


def _append_rw(history: History, edge: Edge) -> bool:
    return _writes(history, edge.after, "append", edge.key, edge.later) and any(
        edge.later not in value for value in _lists(history, edge.before, edge.key)
    )


def _register_wr(history: History, edge: Edge) -> bool:
    values = _reads(history, edge.after, edge.key)
    return _writes(history, edge.before, "w", edge.key, edge.later) and edge.later in map(freeze, values)


def _register_ww(history: History, edge: Edge) -> bool:
    return (
        _writes(history, edge.before, "w", edge.key, edge.earlier)
        and _writes(history, edge.after, "w", edge.key, edge.later)
        and _follows(history, edge)
    )


def _register_rw(history: History, edge: Edge) -> bool:
    values = list(map(freeze, _reads(history, edge.before, edge.key)))
    if edge.earlier not in values or not _writes(history, edge.after, "w", edge.key, edge.later):
        return False
    return edge.earlier is None or _follows(history, edge) or _was_there_at_first(history, edge)


def _was_there_at_first(history: History, edge: Edge) -> bool:
    """Whether nobody ever asked to write the earlier value."""
    return not any(
        _writes(history, Recorded(begin, history.completions.get(begin)), "w", edge.key, edge.earlier)
        for begin, op in enumerate(history)
        if op.is_client and op.type == "invoke"
    )


def _follows(history: History, edge: Edge) -> bool:
    """Whether the witnesses show that `later` came after `earlier`, by the assumption that the edge names."""
    met = [_met(history, witness, edge.key) for witness in edge.witnesses]
    if edge.rule == "wfr-keys":
        return any(pair == (edge.earlier, edge.later) for pair in met)
    if len(edge.witnesses) != 2:
        return False
    first, second = edge.witnesses
    kind = {"sequential-keys": "process", "linearizable-keys": "realtime"}.get(edge.rule, "")
    is_in_order = _order(history, Edge(kind, first, second))
    return is_in_order and met[0][1] == edge.earlier and met[1][0] == edge.later


def _met(history: History, each: Recorded, key: Any) -> tuple[Any, Any]:
    """(the value of the key that the transaction met first, the one that it left)."""
    values = [freeze(s[2]) if len(s) > 2 else None for s in _steps(history, each) if freeze(s[1]) == key]
    writes = [freeze(s[2]) for s in _steps(history, each) if freeze(s[1]) == key and s[0] == "w"]
    if not values:
        return None, None
    first = next(
        (freeze(s[2]) if len(s) > 2 else None for s in _steps(history, each) if freeze(s[1]) == key and s[0] == "r"),
        None,
    )
    began_with_read = next(s[0] == "r" for s in _steps(history, each) if freeze(s[1]) == key)
    left = writes[-1] if writes else first
    return (first if began_with_read else writes[-1]), left


def _happened(history: History, workload: str, each: Recorded) -> bool:
    """Whether the transaction ended ok, or somebody read what it wrote."""
    if each.end is not None and history[each.end].type == "ok":
        return True
    if each.end is not None and history[each.end].type == "fail":
        return False
    written = {(freeze(step[1]), freeze(step[2])) for step in _steps(history, each)}
    return any((key, value) in written for key, value in _seen(history, workload))


def _seen(history: History, workload: str) -> Iterable[tuple[Any, Any]]:
    for op in history:
        if op.is_client and op.type == "ok":
            yield from _seen_by(op, workload)


def _seen_by(op: Op, workload: str) -> Iterable[tuple[Any, Any]]:
    for step in op.value:
        if step[0] != "r" or len(step) < 3 or step[2] is None:
            continue
        values = step[2] if workload == "list-append" else [step[2]]
        for value in values:
            yield freeze(step[1]), freeze(value)


_CHECKS: Mapping[str, Mapping[str, Any]] = {
    "list-append": {"wr": _append_wr, "ww": _append_ww, "rw": _append_rw},
    "rw-register": {"wr": _register_wr, "ww": _register_ww, "rw": _register_rw},
}
