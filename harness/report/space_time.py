"""A space-time diagram as text: a column for each node, time downwards, an arrow for each message (Lamport 1978, figure 1)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import msgspec

from harness.environments.sim.message_log import LogEntry
from histories.printing import line as line_of

COLUMN = 18
COLUMN_MIN = 5
NOTE_MAX = 160
NOTE_MIN = 24
"""Columns become narrower before notes become shorter than this."""
TIME = 14
NUMBER_MAX = 999_999
"""Longer numbers, as real nodes give their messages, would take the room of the notes."""
MARKS = {"timer": "t", "persist": "w", "sync": "s", "start": "^", "crash": "X", "request": ">", "reply": "<"}
LEGEND = "t timer  w write to disk  s synced  ^ start  X crash  > request  < reply  o sent  --x lost"


def diagram(
    entries: Sequence[LogEntry],
    nodes: Sequence[str],
    begin_ns: int,
    end_ns: int,
    rows_max: int = 400,
    width: int | None = None,
) -> str:
    """What happened at `nodes` from `begin_ns` to `end_ns`, both included, one line for each entry.

    entries: in order of time, as a message log holds them. rows_max: when there are more rows, the diagram leaves out the first
    and says so; the end, where the failure is, stays. width: no line is longer, unless there are more nodes than fit; columns
    become narrower, then notes shorter. None: there is no limit. Messages of long numbers are numbered anew.
    """
    if any(entry.number > NUMBER_MAX for entry in entries):
        numbers = {
            number: place
            for place, number in enumerate(dict.fromkeys(entry.number for entry in entries if entry.number), 1)
        }
        entries = [msgspec.structs.replace(entry, number=numbers.get(entry.number, 0)) for entry in entries]
    sent = {entry.number: entry.time for entry in entries if entry.kind == "send"}
    shown = [entry for entry in entries if begin_ns <= entry.time <= end_ns and entry.node in nodes]
    column = COLUMN if width is None else _column_in(width, len(nodes))
    head = " " * TIME + "".join(f"{node[: column - 1]:^{column}}" for node in nodes)
    lines = [head.rstrip(), *([LEGEND] if width is None else textwrap.wrap(LEGEND, width))]
    left_out = len(shown) - rows_max
    if left_out > 0:
        shown = shown[left_out:]
        lines.append(f"... {left_out} earlier {'entry is' if left_out == 1 else 'entries are'} left out")
    lines += [_row(entry, nodes, sent, column, width) for entry in shown]
    if not shown:
        lines.append(f"nothing happened between {begin_ns / 1e9:.6f} s and {end_ns / 1e9:.6f} s")
    return "\n".join(lines) + "\n"


def _column_in(width: int, nodes_count: int) -> int:
    """The widest column with which notes still have NOTE_MIN characters; the last column needs only its left half."""
    room = width - TIME - NOTE_MIN - 3
    return min(COLUMN, max(COLUMN_MIN, 2 * room // max(1, 2 * nodes_count - 1)))


def _row(entry: LogEntry, nodes: Sequence[str], sent: dict[int, int], column: int, width: int | None) -> str:
    middles = [place * column + column // 2 for place in range(len(nodes))]
    line = ["|" if offset % column == column // 2 else " " for offset in range(column * len(nodes))]
    middle = middles[nodes.index(entry.node)]
    optional = ""
    if entry.kind in ("deliver", "drop", "hold") and entry.peer in nodes:
        is_delivery = entry.kind == "deliver"
        other = middles[nodes.index(entry.peer)]
        source, target = (other, middle) if is_delivery else (middle, other)
        if not _arrow(line, source, target, entry.what, arrives=is_delivery) and width is not None:
            optional = f" {entry.what}"
        late = f" +{(entry.time - sent[entry.number]) / 1e6:.2f} ms" if entry.number in sent else ""
        note = (
            f"#{entry.number}{late}"
            + (f" {entry.why}" if entry.why else "")
            + (" held" if entry.kind == "hold" else "")
        )
    elif entry.kind == "send":
        _write(line, middle, "o")
        note = f"#{entry.number} {entry.what} to {entry.peer}"
    else:
        _write(line, middle, MARKS.get(entry.kind, "?"))
        note = " ".join(word for word in (entry.kind, entry.what, entry.why) if word)
    drawn = f"{entry.time / 1e9:>{TIME - 2}.6f}  {''.join(line).rstrip()}  "
    return (drawn + _note(note, optional, NOTE_MAX if width is None else max(0, width - len(drawn)))).rstrip()


def _note(note: str, optional: str, room: int) -> str:
    """The note, with `optional` where there is room for both; one that is too long keeps its two ends, which tell the number and
    the peer."""
    shown = line_of(note, NOTE_MAX)
    if len(shown) > room:
        tail = room // 3
        return shown[: max(0, room - tail - 1)] + "…"[:room] + shown[len(shown) - tail :]
    more = line_of(optional, NOTE_MAX)
    return shown + more if len(shown) + len(more) <= room else shown


def _write(line: list[str], offset: int, text: str) -> None:
    line[offset : offset + len(text)] = list(text)


def _arrow(line: list[str], source: int, target: int, label: str, *, arrives: bool) -> bool:
    """An arrow between these two offsets; when the message does not arrive, it ends in an x on its way. Whether there was room for
    the label."""
    left, right = sorted((source, target))
    width = right - left - 1
    rightwards = target > source
    body = list("-" * width)
    if not arrives:
        cut = width // 2
        keep = range(cut + 1) if rightwards else range(width - cut - 1, width)
        body = ["-" if offset in keep else " " for offset in range(width)]
        body[cut if rightwards else width - cut - 1] = "x"
    else:
        body[-1 if rightwards else 0] = ">" if rightwards else "<"
    text = f" {line_of(label, width)} "
    is_labelled = arrives and len(text) <= width - 4
    if is_labelled:
        start = (width - len(text)) // 2
        body[start : start + len(text)] = list(text)
    _write(line, left + 1, "".join(body))
    line[source] = "o"
    return is_labelled
