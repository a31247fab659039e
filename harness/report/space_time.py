"""A space-time diagram as text: a column for each node, time downwards, an arrow for each message (Lamport 1978, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.environments.sim.message_log import LogEntry
from histories.printing import line as line_of

COLUMN = 18
NOTE_MAX = 160
TIME = 14
MARKS = {"timer": "t", "persist": "w", "sync": "s", "start": "^", "crash": "X", "request": ">", "reply": "<"}
LEGEND = "t timer  w write to disk  s synced  ^ start  X crash  > request  < reply  o sent  --x lost"


def diagram(entries: Sequence[LogEntry], nodes: Sequence[str], begin_ns: int, end_ns: int, rows_max: int = 400) -> str:
    """What happened at `nodes` from `begin_ns` to `end_ns`, both included, one line for each entry.

    entries: in order of time, as a message log holds them. rows_max: when there are more rows, the diagram leaves out the middle
    and says so; the end, where the failure is, stays.
    """
    sent = {entry.number: entry.time for entry in entries if entry.kind == "send"}
    shown = [entry for entry in entries if begin_ns <= entry.time <= end_ns and entry.node in nodes]
    head = " " * TIME + "".join(f"{node:^{COLUMN}}" for node in nodes)
    lines = [head.rstrip(), LEGEND]
    left_out = len(shown) - rows_max
    if left_out > 0:
        shown = shown[left_out:]
        lines.append(f"... {left_out} earlier entries are left out")
    lines += [_row(entry, nodes, sent) for entry in shown]
    if not shown:
        lines.append(f"nothing happened between {begin_ns / 1e9:.6f} s and {end_ns / 1e9:.6f} s")
    return "\n".join(lines) + "\n"


def _row(entry: LogEntry, nodes: Sequence[str], sent: dict[int, int]) -> str:
    line = ["|" if offset % COLUMN == COLUMN // 2 else " " for offset in range(COLUMN * len(nodes))]
    if entry.kind in ("deliver", "drop", "hold") and entry.peer in nodes:
        is_delivery = entry.kind == "deliver"
        source, target = (entry.peer, entry.node) if is_delivery else (entry.node, entry.peer)
        _arrow(line, nodes.index(source), nodes.index(target), entry.what, arrives=is_delivery)
        late = f" +{(entry.time - sent[entry.number]) / 1e6:.2f} ms" if entry.number in sent else ""
        note = (
            f"#{entry.number}{late}"
            + (f" {entry.why}" if entry.why else "")
            + (" held" if entry.kind == "hold" else "")
        )
    elif entry.kind == "send":
        _write(line, _middle(nodes.index(entry.node)), "o")
        note = f"#{entry.number} {entry.what} to {entry.peer}"
    else:
        _write(line, _middle(nodes.index(entry.node)), MARKS.get(entry.kind, "?"))
        note = " ".join(word for word in (entry.kind, entry.what, entry.why) if word)
    return f"{entry.time / 1e9:>{TIME - 2}.6f}  {''.join(line).rstrip()}  {line_of(note, NOTE_MAX)}".rstrip()


def _middle(column: int) -> int:
    return column * COLUMN + COLUMN // 2


def _write(line: list[str], offset: int, text: str) -> None:
    line[offset : offset + len(text)] = list(text)


def _arrow(line: list[str], source: int, target: int, label: str, *, arrives: bool) -> None:
    """An arrow from column to column; when the message does not arrive, it ends in an x on its way."""
    left, right = sorted((_middle(source), _middle(target)))
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
    if arrives and len(text) <= width - 4:
        start = (width - len(text)) // 2
        body[start : start + len(text)] = list(text)
    _write(line, left + 1, "".join(body))
    line[_middle(source)] = "o"
