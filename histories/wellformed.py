"""The rules that make a list of ops a history, and the names of the broken ones.

A process has at most one operation open, each completion ends the invocation that opened it, and what ended `info`
never returns: a process that comes back after an `info` would let one logical client do two things at once, and every
checker here assumes that none does. Every broken rule is reported, not only the first, because whoever repairs a
recorder wants to see the pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from histories import printing
from histories.op import NEMESIS, Op
from histories.printing import quoted

RULES: dict[str, str] = {
    "syntax": "each line is one op: an object with the fields of Op, of their types",
    "gzip": "a file that begins as gzip data unpacks to its end",
    "header": 'a history file begins with {"themis-history": 1}',
    "version": "the header's version is one that this reader knows",
    "type": "an op's type is invoke, ok, fail or info",
    "process": 'a process is an integer from 0 up, or "nemesis"',
    "index": "indices count the ops from 0, one by one; a file may leave them out",
    "time": "time is an integer from 0 up, and never goes backwards; a file may leave it out",
    "two-open": "a process has at most one operation open",
    "no-invocation": "a completion ends an operation that its process has open",
    "f": "a completion has the f of its invocation",
    "key": "a completion has the key of its invocation",
    "after-info": "a process whose operation ended info is gone: its successor has another number",
    "nemesis-end": "a nemesis operation ends info: whether a fault took hold is evidence, not an answer",
}
"""Rule -> what it asks, in words."""

_SHOWN = 20

PROBLEMS_MAX = 100_000
"""So many broken rules are looked for. Nobody repairs a file with more of them one by one, and 1 MB of gzip data may unpack to 200
million empty lines."""


class Problem(msgspec.Struct, frozen=True):
    """One broken rule: `rule` is a key of RULES, `detail` says how it was broken, in a line fit for a terminal.

    position: of the op in the sequence, from 0. line: in the file it was read from, from 1; None when it came from no
    file.
    """

    position: int
    rule: str
    detail: str
    line: int | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "detail", printing.line(self.detail))  # It quotes a file that anybody may have written.

    def __str__(self) -> str:
        where = f"op {self.position}" if self.line is None else f"line {self.line}"
        return f"{where}: {self.rule}: {self.detail}"


class MalformedHistory(ValueError):
    """A history that breaks rules, or a file that is none.

    path: None when it came from no file. problems: every broken rule; of more than PROBLEMS_MAX, the first ones and one more.
    """

    def __init__(self, problems: Sequence[Problem], path: str | PathLike[str] | None = None) -> None:
        assert problems, "a malformed history breaks at least one rule"
        self.problems = tuple(problems)
        self.path = None if path is None else str(path)
        super().__init__(self.problems, self.path)

    def __str__(self) -> str:
        name = self.path or "history"
        count = len(self.problems)
        many = f"more than {PROBLEMS_MAX:,}" if count > PROBLEMS_MAX else str(count)
        lines = [f"{name} is not a well-formed history: {many} broken {'rule' if count == 1 else 'rules'}"]
        lines += [f"  {name}: {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append("  ... and more" if count > PROBLEMS_MAX else f"  ... and {count - _SHOWN} more")
        return "\n".join(lines)


def problems(ops: Iterable[Op | Problem], lines: Sequence[int] | int | None = None) -> list[Problem]:
    """Every broken rule, in order; none: the ops are a well-formed history. After PROBLEMS_MAX and one more it looks no further.

    ops: a Problem among them stands for a line that could not be read; it is reported as it is.
    lines: the line of each op; a number is the line of the first op, the others following it one by one.
    """
    return list(islice(_broken(ops, lines), PROBLEMS_MAX + 1))


def require(
    ops: Sequence[Op], path: str | PathLike[str] | None = None, lines: Sequence[int] | int | None = None
) -> None:
    """The ops are a well-formed history. **Raises** MalformedHistory with every broken rule when they are not."""
    if broken := problems(ops, lines):
        raise MalformedHistory(broken, path)


def _broken(ops: Iterable[Op | Problem], lines: Sequence[int] | int | None) -> Iterator[Problem]:
    open_ops: dict[Any, Op] = {}
    known: set[Any] = set()
    ended_info: dict[Any, int] = {}
    expected, last_ns = 0, 0

    def problem(position: int, rule: str, detail: str) -> Problem:
        line = position + lines if isinstance(lines, int) else None if lines is None else lines[position]
        return Problem(position, rule, detail, line)

    # One pass that asks each question once: this loop is most of the cost of reading a million operations after
    # decoding them.
    for position, op in enumerate(ops):
        if isinstance(op, Problem):
            yield op
            expected = -1
            continue
        index, process, type = op.index, op.process, op.type
        if index == expected:
            expected += 1
        else:
            if expected >= 0:
                yield problem(position, "index", f"index {quoted(index)} where {expected} was due")
            expected = index + 1 if isinstance(index, int) else -1
        time_ns = op.time
        if not isinstance(time_ns, int) or time_ns < last_ns:
            yield problem(position, "time", _time_detail(time_ns, last_ns))
        else:
            last_ns = time_ns
        if process not in known:
            if not _is_process(process):
                yield problem(
                    position, "process", f"{quoted(process)} is not a process: an integer from 0 up, or {NEMESIS!r}"
                )
                continue
            known.add(process)
        if type == "invoke":
            if process in ended_info:
                gone_at = ended_info.pop(process)
                yield problem(
                    position,
                    "after-info",
                    f"process {process} invokes {op.f} again, but its operation ended info at index {gone_at}",
                )
            if process in open_ops:
                previous = open_ops[process]
                yield problem(
                    position,
                    "two-open",
                    f"process {process} invokes {op.f} while its {previous.f} of index {previous.index} is still open",
                )
            open_ops[process] = op
            continue
        if type not in ("ok", "fail", "info"):
            yield problem(position, "type", f"{quoted(type)} is not a type: invoke, ok, fail or info")
            continue
        invocation = open_ops.pop(process, None)
        if invocation is None:
            yield problem(
                position, "no-invocation", f"process {process} completes {op.f} ({type}), but has no operation open"
            )
        else:
            if op.f != invocation.f:
                yield problem(
                    position,
                    "f",
                    f"process {process} invoked {invocation.f} at index {invocation.index}, but completes {op.f}",
                )
            if op.key != invocation.key:
                yield problem(
                    position,
                    "key",
                    f"process {process} invoked {invocation.f} on key {quoted(invocation.key)} at index {invocation.index}, "
                    f"but completes it on key {quoted(op.key)}",
                )
        if process == NEMESIS:
            if type != "info":
                yield problem(position, "nemesis-end", f"the nemesis completes {op.f} as {type}, not as info")
        elif type == "info":
            ended_info[process] = op.index


def _is_process(process: object) -> bool:
    return process == NEMESIS or (process.__class__ is int and process >= 0)


def _time_detail(time_ns: object, last_ns: int) -> str:
    if not isinstance(time_ns, int):
        return f"{quoted(time_ns)} is not a time in ns"
    if time_ns < 0:
        return f"time {time_ns} ns lies before the run began"
    return f"time {time_ns} ns comes after {last_ns} ns"
