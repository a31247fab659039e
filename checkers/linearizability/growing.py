"""A second decision about logs that only grow: appends and whole reads, one log, every piece appended once.

It is there to confirm the cores of the log monitor, and shares neither code nor the theory of blocks with it. The reads of a
log that only grows are ordered by their length, and the longest one shows in which order the appends took effect. So
everything that somebody saw stands in one row: the initial value's reads, the first append, the reads that show it alone,
the second append ... and behind all of them the completed appends that no read shows. Reads that show the same, and those
appends, are in no order among themselves. The row can be linearized exactly when nothing in it returned before something
that stands in front of it was called: then each takes effect at the latest call up to its own place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.linearizability.encode import Entries
from checkers.models.containers import ListAppend
from checkers.models.model import Model
from checkers.models.register import KeyValue
from checkers.models.shape import is_observed

_Value = tuple[Any, ...] | str


def is_refuted(entries: Entries, model: Model) -> bool | None:
    """Whether the operations are not linearizable; None where something else than a log that only grows is asked about.

    That is another model or a kv's other operations, a piece that two operations append, an empty or an unreadable one, and a text
    that can be taken apart in two ways.
    """
    initial = _initial(model)
    if initial is None:
        return None
    appends: dict[Any, int] = {}
    reads: list[tuple[int, _Value]] = []
    operations, kind = entries.operations, type(initial)
    for entry, number in enumerate(entries.op):
        operation = operations[number]
        if operation.f == "append":
            if operation.is_refused:
                continue
            piece = operation.argument
            if piece != piece or piece in appends or (kind is str and not (isinstance(piece, str) and piece)):
                return None
            appends[piece] = entry
        elif operation.f not in ("read", "get"):
            return None
        elif entries.end[entry] >= 0 and is_observed(operation):
            value = kind() if operation.result is None else operation.result
            if not isinstance(value, kind):
                return None
            reads.append((entry, value))
    longest = max((value for _, value in reads), key=len, default=initial)
    if any(value[: len(initial)] != initial or longest[: len(value)] != value for _, value in reads):
        return True
    pieces = _pieces(longest, len(initial), appends)
    if pieces is None:
        return None
    if not all(piece in appends for piece in pieces) or len(set(pieces)) < len(pieces):
        return True
    width = len if kind is str else _one
    return _is_out_of_order(entries, len(initial), [(piece, width(piece)) for piece in pieces], appends, reads)


def _initial(model: Model) -> _Value | None:
    """The log at first; None where the model has none. An absent text and an empty one read alike."""
    if type(model) is ListAppend:
        initial = model.initial()
        return initial if isinstance(initial, tuple) else None
    if type(model) is not KeyValue:
        return None
    initial = model.initial()
    return "" if initial is None else initial if isinstance(initial, str) and initial else None


def _pieces(value: _Value, at: int, appends: dict[Any, int]) -> list[Any] | None:
    """What was appended to make the value, from `at` on; a rest that nobody appended is one piece. None: two ways fit."""
    if not isinstance(value, str):
        return list(value[at:])
    lengths = sorted(set(map(len, appends)))
    pieces = []
    while at < len(value):
        fitting = {value[at : at + length] for length in lengths} & appends.keys()
        if len(fitting) > 1:
            return None
        piece = fitting.pop() if fitting else value[at:]
        pieces.append(piece)
        at += len(piece)
    return pieces


def _one(_: Any) -> int:
    return 1


def _is_out_of_order(
    entries: Entries,
    at: int,
    pieces: Sequence[tuple[Any, int]],
    appends: dict[Any, int],
    reads: Sequence[tuple[int, _Value]],
) -> bool:
    """Whether something returned before what stands in front of it was called, or a read ends amid a piece.

    at: the log's length at first. pieces: with their lengths.
    """
    by_length: dict[int, list[int]] = {}
    for entry, value in reads:
        by_length.setdefault(len(value), []).append(entry)
    row = [by_length.pop(at, [])]
    shown = set()
    for piece, length in pieces:
        at += length
        row += [[appends[piece]], by_length.pop(at, [])]
        shown.add(piece)
    if by_length:
        return True
    row.append([entry for piece, entry in appends.items() if piece not in shown and entries.end[entry] >= 0])
    call, end = entries.call, entries.end
    latest_before = -1
    for group in row:
        latest = latest_before
        for entry in group:
            if 0 <= end[entry] < latest_before:
                return True
            latest = max(latest, call[entry])
        latest_before = latest
    return False
