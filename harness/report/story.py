"""Tells a failure as text for a terminal: what was promised, the operations that show it in order of time, and between them every
fault. Whatever else happened is folded into one line."""

from __future__ import annotations

import textwrap
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from checkers.windows import fault_windows
from harness.report.failure import Failure, FailureEdge, FailureOp, Role, duration
from harness.report.moments import Explanation
from harness.report.node_lives import Life
from harness.report.summary import counted
from histories.history import History
from histories.op import Op, freeze
from histories.printing import block, line, value

WIDTH = 79
WORDS_MAX = 1_200
STATES_MAX = 8
EDGES_MAX = 12
ROWS_MAX = 20
FOLDED_MAX = 2_000
"""Ops before the failed one that are looked at for its neighbours."""

MARKS: dict[Role, str] = {"failed": ">>", "core": "*", "would fit": "+", "possible": "=", "shown": "*"}
"""What says most comes first."""

LEGEND: dict[Role, str] = {
    "failed": ">> does not fit",
    "core": "* cannot be explained even alone",
    "possible": "= led to a state still possible",
    "would fit": "+ after it, it would have fitted",
}


class _Event(NamedTuple):
    """A line of the story. op: the operation that it tells of; None for a fault."""

    time_ns: int
    text: str
    op: FailureOp | None


def story(
    failure: Failure,
    history: History,
    neighbours: int,
    explanation: Explanation | None = None,
    lives: Mapping[str, Life] | None = None,
) -> list[str]:
    """The failure in lines. neighbours: how many ops of the same key are shown before the failed one.

    explanation: what the traces tell of it; its moments stand among the operations. lives: of the nodes, for their roles.
    """
    head = f"{failure.validity.name}  {line(failure.checker)}"
    lines = [head + ("" if failure.key is None else f", key {value(failure.key)}")]
    if explanation is not None and explanation.headline != line(failure.words, 300):
        lines += _wrapped(explanation.headline)
    if failure.promise:
        lines += _wrapped(f"promised: {line(failure.promise)}")
    for card in () if explanation is None else explanation.cards:
        lines += _wrapped(f"{card.question.lower()}: {card.answer}. {card.detail}".replace("..", "."))
    lines += _wrapped(block(failure.words, WORDS_MAX))
    for state in failure.states[:STATES_MAX]:
        lines += _wrapped(f"possible before it: {line(state.why_excluded)}")
    if len(failure.states) > STATES_MAX:
        lines.append(f"  ... and {len(failure.states) - STATES_MAX} more states, which exclude it as well")
    for note in failure.notes:
        lines += _wrapped(line(note))
    lines += _timeline(failure, history, explanation, lives or {})
    lines += _edges(failure)
    for table in failure.tables:
        lines += [f"  {line(table.title)}"] if table.title else []
        cells = [[line(column, 60) for column in table.columns]]
        cells += [
            [each if isinstance(each, str) else value(each, 100) for each in row] for row in table.rows[:ROWS_MAX]
        ]
        for row in _in_columns(cells):
            lines.append(f"    {'  '.join(row)}".rstrip())
        if len(table.rows) > ROWS_MAX:
            lines.append(f"    ... and {counted(len(table.rows) - ROWS_MAX, 'more row')}")
    if neighbours and (near := _neighbours(failure, history, neighbours)):
        lines += ["", f"  the last ops on key {value(failure.key)} before it:", *near]
    if failure.detail:
        lines += ["", *textwrap.indent(block(failure.detail, 4_000), "    ").splitlines()]
    return lines


def _in_columns(rows: list[list[str]]) -> list[list[str]]:
    """The cells of a table, filled up or cut so that its columns stand and it fits WIDTH: the widest columns give way."""
    cells = [[line(cell, 100) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = WIDTH - 4 - 2 * (len(widths) - 1)
    while widths and sum(widths) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return [
        [
            (cell if len(cell) <= width else cell[: width - 1] + "…").ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in cells
    ]


def _wrapped(text: str) -> list[str]:
    """A sentence as lines of the terminal's least width."""
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _timeline(
    failure: Failure, history: History, explanation: Explanation | None, lives: Mapping[str, Life]
) -> list[str]:
    """Operations, faults and what happened inside nodes in order of time, and one line for the ops between them that are not
    told."""
    events = [_Event(op.invoked_ns, _told(op, _role_at(lives, op)), op) for op in failure.ops]
    for moment in () if explanation is None else explanation.moments:
        if moment.kind in ("role", "loss", "node"):
            tag = f" ({moment.tag})" if moment.tag else ""
            events.append(_Event(moment.time_ns, f"<> {line(moment.head, 100)}{tag}", None))
    for fault in failure.faults:
        doubt = "" if fault.status == "installed" else " (perhaps)"
        parted = " | ".join(" ".join(side) for side in fault.sides)
        title = line(fault.title, 60) + (f": {line(parted, 60)}" if parted and parted not in fault.title else "")
        events.append(_Event(fault.began_ns, f"!! {title} begins{doubt}", None))
        if fault.lifted_ns is not None:
            events.append(_Event(fault.lifted_ns, f"!! {line(fault.title, 60)} is over", None))
    if not failure.ops:
        events = [event for event in events if failure.time_ns is None or event.time_ns <= failure.time_ns]
    if not events:
        return []
    events.sort(key=lambda event: (event.time_ns, not event.text.startswith("!!")))  # The fault before what it did.
    used = {_role(op) for op in failure.ops}
    lines = ["", "      time (s)  what happened"]
    if failure.faults_left_out:
        verb = "is" if failure.faults_left_out == 1 else "are"
        lines.append(f"                .. {counted(failure.faults_left_out, 'earlier fault')} {verb} left out")
    last_ns = max(op.invoked_ns for op in failure.ops) if failure.ops else failure.time_ns
    invocations = [op for op in history if op.type == "invoke" and op.is_client]
    times = [op.time for op in invocations]
    shown = {op.invoke for op in failure.ops}
    for number, event in enumerate(events):
        if number and (last_ns is None or event.time_ns <= last_ns):
            between = invocations[bisect_right(times, events[number - 1].time_ns) : bisect_left(times, event.time_ns)]
            lines += _gap([op for op in between if op.index not in shown], failure, history)
        lines.append(f"  {event.time_ns / 1e9:12.6f}  {event.text}")
    in_force = [line(fault.title, 40) for fault in failure.faults if fault.is_in_force]
    if failure.time_ns is not None:
        lines += _wrapped(f"in force at the failure: {', '.join(in_force) or 'no fault'}")
    if legend := [text for role, text in LEGEND.items() if role in used]:
        lines += _wrapped("; ".join(legend))
    return lines


def _gap(between: list[Op], failure: Failure, history: History) -> list[str]:
    """One line that counts the ops that are not told."""
    if not between:
        return []
    ends: Counter[str] = Counter()
    key = freeze(failure.key)
    own = 0
    for op in between:
        end = history.completions.get(op.index) if _is_at(history, op) else None
        ends["open" if end is None else history[end].type] += 1
        own += freeze(op.key) == key
    told = ", ".join(f"{ends[name]} {name}" for name in ("ok", "fail", "info", "open") if ends[name])
    if len(between) == 1:
        on_key = "" if failure.key is None else ", on the key" if own else ", on another key"
        return [f"                .. 1 other op: {told.removeprefix('1 ')}{on_key}"]
    on_key = f", {own:,} of them on the key" if failure.key is not None else ""
    return [f"                .. {len(between):,} other ops: {told}{on_key}"]


def _is_at(history: History, op: Op) -> bool:
    return op.index < len(history) and history[op.index].index == op.index


def _role(op: FailureOp) -> Role | None:
    """The role that marks the operation: the one that says most."""
    return next((role for role in MARKS if role in op.roles), None)


def _role_at(lives: Mapping[str, Life], op: FailureOp) -> str:
    """The role of the node that was asked, when it answered; "" where no trace tells."""
    life = None if op.node is None else lives.get(op.node)
    span = None if life is None else life.at(op.invoked_ns if op.completed_ns is None else op.completed_ns)
    return "" if span is None else line(span.state, 20)


def _told(op: FailureOp, node_role: str = "") -> str:
    """`>> p4 (n2, follower) read -> 7, after 5.000 ms`."""
    role = _role(op)
    mark = MARKS[role] if role else ""
    node = f" ({line(op.node, 20)}{', ' + node_role if node_role else ''})" if op.node else ""
    asked = line(op.f, 30) + ("" if op.argument is None else f" {value(op.argument, 40)}")
    lasted = "" if op.completed_ns is None else f", after {duration(op.completed_ns - op.invoked_ns)}"
    match op.type:
        case "ok":
            says_more = op.argument is None or op.result not in (None, op.argument)
            ended = (f" -> {value(op.result, 40)}" if says_more else " ok") + lasted
        case "fail":
            ended = f" refused{lasted}"
        case "info":
            ended = f" of unknown outcome{lasted}"
        case _:
            ended = " never answered"
    error = "" if op.error is None else f" [{value(op.error, 40)}]"
    optional = " (or without effect)" if op.is_optional else ""
    note = f"  {line(op.note, 60)}" if op.note else ""
    return f"{mark:<2} p{op.process}{node} {asked}{ended}{error}{optional}{note}"


def _edges(failure: Failure) -> list[str]:
    """The order that is impossible, edge by edge."""
    by_invoke = {op.invoke: op for op in failure.ops}

    def name(invoke: int) -> str:
        op = by_invoke[invoke]
        return f"{line(op.f, 20)}{'' if op.argument is None else ' ' + value(op.argument, 20)} of p{op.process}"

    def told(edge: FailureEdge) -> str:
        return f"{name(edge.before)} comes before {name(edge.after)}: {line(edge.why, 120)}"

    known = [edge for edge in failure.edges if edge.before in by_invoke and edge.after in by_invoke]
    lines = [""] if known else []
    for edge in known[:EDGES_MAX]:
        lines += _wrapped(told(edge))
    if len(known) > EDGES_MAX:
        lines.append(f"  ... and {len(known) - EDGES_MAX} more")
    if failure.cycle and all(invoke in by_invoke for invoke in failure.cycle):
        lines += _wrapped(
            "in a circle: " + ", then ".join(name(invoke) for invoke in (*failure.cycle, failure.cycle[0]))
        )
    return lines


def _neighbours(failure: Failure, history: History, count: int) -> list[str]:
    """The ops on the failure's key that began last before it; refused ones that follow each other are one line."""
    failed = [op.invoke for op in failure.ops if "failed" in op.roles]
    if not failed:
        return []
    key = freeze(failure.key)
    last = failed[0]
    before: deque[tuple[Op, Op | None]] = deque(maxlen=max(count, FOLDED_MAX))
    for begun, ended in history.pairs():
        if begun.is_client and begun.index <= last and freeze(begun.key) == key:
            before.append((begun, ended))
    return list(_folded(before))[-count:]


def around(history: History, time_ns: int, span_ns: int, key: str | None, count: int) -> list[str]:
    """Every client op that was open within `span_ns` of this time, on the key if one is given, and every fault in force: one line
    each, runs of refused ops as one. count: the most lines of ops; those nearest to the time are kept."""
    begin_ns, end_ns = time_ns - span_ns, time_ns + span_ns
    lines = [f"around {time_ns / 1e9:.6f} s, {span_ns / 1e6:g} ms to each side:"]
    for window in fault_windows(history):
        if window.began_ns <= end_ns and (window.lifted_ns is None or window.lifted_ns >= begin_ns):
            until = "the end" if window.lifted_ns is None else f"{window.lifted_ns / 1e9:.6f} s"
            lines.append(f"  {window.began_ns / 1e9:12.6f}  !! {line(window.title, 80)}, until {until}")
    pairs = [
        (begun, ended)
        for begun, ended in history.pairs()
        if begun.is_client
        and begun.time <= end_ns
        and (ended is None or ended.time >= begin_ns)
        and (key is None or is_key(begun.key, key))
    ]
    told = list(_folded(pairs))
    if len(told) > count:
        nearest = sorted(range(len(told)), key=lambda place: abs(_time_of(told[place]) - time_ns))[:count]
        far = counted(len(told) - count, "line")
        lines.append(f"                .. {far} farther away left out")
        told = [told[place] for place in sorted(nearest)]
    return [*lines, *(told or ["  no operation was open then"])]


def _time_of(told: str) -> float:
    """The time at which a line of ops begins."""
    return float(told.split(maxsplit=1)[0]) * 1e9


def is_key(found: Any, asked: str) -> bool:
    """Whether a user who writes `asked` means this key: its JSON, or a text without its quotes."""
    return value(found, 200) == asked or found == asked


def _folded(pairs: Iterable[tuple[Op, Op | None]]) -> Iterator[str]:
    refused: list[tuple[Op, Op]] = []
    for begun, ended in pairs:
        if ended is not None and ended.type == "fail":
            refused.append((begun, ended))
            continue
        yield from _refused(refused)
        refused = []
        yield _neighbour(begun, ended)
    yield from _refused(refused)


def _refused(pairs: list[tuple[Op, Op]]) -> Iterator[str]:
    if len(pairs) < 3:
        yield from (_neighbour(begun, ended) for begun, ended in pairs)
        return
    errors = Counter(value(ended.error, 40) for _, ended in pairs)
    told = ", ".join(f"{count} [{error}]" for error, count in errors.most_common(3))
    yield f"  {pairs[0][0].time / 1e9:12.6f}     {len(pairs)} ops refused until {pairs[-1][1].time / 1e9:.6f} s: {told}"


def _neighbour(begun: Op, ended: Op | None) -> str:
    op = FailureOp.of(begun, ended)
    return f"  {begun.time / 1e9:12.6f}  {_told(op)}"
