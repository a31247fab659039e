"""A history as transactions: who ran which micro-operations from when to when, and how each ended.

A transaction is one operation whose value is a list of micro-operations [f, key, value]. What ends `ok` has the values that it
read. Of what ends `info`, or never ends, only the writes are known; of what ends `fail`, that its writes must not be seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from histories.history import History
from histories.op import NEMESIS, Op, freeze
from histories.printing import quoted
from histories.wellformed import Problem

Workload = Literal["list-append", "rw-register"]
WRITE: dict[str, str] = {"list-append": "append", "rw-register": "w"}
"""The micro-operation that writes, beside the r that reads."""

OK, INFO, FAIL = 0, 1, 2
"""How a transaction ended; one that never did counts as INFO."""

PROBLEMS_MAX = 1_000

_NO_OBJECT = object()
_UNFIT_KEYS = frozenset((bool, float))


class UnfitTransactions(ValueError):
    """A history in which something is no transaction of the workload, or an assumption of the checker is broken.

    problems: every one found, up to PROBLEMS_MAX; `position` is the position in the history.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


class Transactions(msgspec.Struct, frozen=True, eq=False):
    """The transactions, numbered from 0 in the order in which they ended; those that never ended come last.

    steps: the micro-operations of each. kind: int8[n]: OK, INFO, FAIL. process: int64[n]. begin, end: int32[n], positions in the
    history; end is -1 for one that never ended. events: int32[..]: 2 * number for the begin, 2 * number + 1 for the end of each
    transaction, in the order of the history.
    """

    history: History
    workload: Workload
    steps: list[Any]
    kind: array[int]
    process: array[int]
    begin: array[int]
    end: array[int]
    events: array[int]

    def __len__(self) -> int:
        return len(self.steps)

    def op(self, number: int) -> Op:
        """The op that best tells the transaction: its completion, or its invocation where it has none."""
        end = self.end[number]
        return self.history[end if end >= 0 else self.begin[number]]


def read(history: History, workload: Workload, *, frozen: bool = False) -> Transactions:
    """The transactions of the clients. frozen: keys and values are made hashable, where JSON has others.

    Raises UnfitTransactions for what is no transaction of this workload.
    """
    found = _read(history, workload)
    if problems := _problems(found):
        raise UnfitTransactions(problems)
    if frozen:
        found.steps[:] = [_hashable(workload == "list-append", steps) for steps in found.steps]
    return found


def _read(history: History, workload: Workload) -> Transactions:
    steps: list[Any] = []
    kind, process_of = array("b"), array("q")
    begin, end = array("i"), array("i")
    open_ops: dict[Any, tuple[int, Any]] = {}
    problems: list[Problem] = []
    kinds = {"ok": OK, "info": INFO, "fail": FAIL}
    object_key: Any = _NO_OBJECT
    for position, op in enumerate(history):
        process = op.process
        if process == NEMESIS:
            continue
        type = op.type
        if type == "invoke":
            if op.key is not object_key and op.key != object_key:
                if object_key is not _NO_OBJECT:
                    problems.append(of_another_object(position, op.key, object_key))
                object_key = op.key
            if process in open_ops:
                problems.append(Problem(position, "two-open", f"process {process} begins while its last is still open"))
            open_ops[process] = (position, op.value)
            continue
        begun = open_ops.pop(process, None)
        if begun is None:
            problems.append(Problem(position, "no-invocation", f"process {process} ends {op.f}, but has nothing open"))
            continue
        at, asked = begun
        told = op.value
        kind.append(kinds[type])
        # Of a read whose end nobody saw only the invocation is certain; some clients repeat it in the completion, some do not.
        steps.append(told if type == "ok" or asked is None else asked)
        process_of.append(process)
        begin.append(at)
        end.append(position)
    for process, (at, asked) in open_ops.items():
        kind.append(INFO)
        steps.append(asked)
        process_of.append(process)
        begin.append(at)
        end.append(-1)
    if problems:
        raise UnfitTransactions(problems[:PROBLEMS_MAX])
    of_event = array("i", [-1]) * len(history)
    for number, at in enumerate(begin):
        of_event[at] = 2 * number
    for number, at in enumerate(end):
        if at >= 0:
            of_event[at] = 2 * number + 1
    events = array("i", (event for event in of_event if event >= 0))
    return Transactions(history, workload, steps, kind, process_of, begin, end, events)


def of_another_object(position: int, key: Any, other: Any) -> Problem:
    """What is wrong with an op on another key of the history than the ops before it."""
    detail = f"it is on the key {quoted(key)}, and others on {quoted(other)}: each key is an object of its own, to be checked alone"
    return Problem(position, "key", detail)


def _problems(found: Transactions) -> list[Problem]:
    """What is no transaction: the first problem of each op."""
    write = WRITE[found.workload]
    is_append = found.workload == "list-append"
    problems: list[Problem] = []
    for number, steps in enumerate(found.steps):
        try:
            for step in steps:
                f = step[0]
                if step[1].__class__ is not int and step[1].__class__ is not str and _is_unfit_key(step[1]):
                    break
                if f == write:
                    value = step[2]
                    if len(step) == 3 and value is not None and value == value:
                        continue
                elif f == "r":
                    if len(step) == 3:
                        value = step[2]
                        if (
                            (not is_append and value == value)
                            or value is None
                            or value.__class__ is list
                            or value.__class__ is tuple
                        ):
                            continue
                    elif len(step) == 2:
                        continue
                break
            else:
                continue
        except (TypeError, IndexError, KeyError):
            pass
        position = found.end[number] if found.kind[number] == OK else found.begin[number]
        problems.append(Problem(position, *_named(steps, found.workload)))
        if len(problems) >= PROBLEMS_MAX:
            break
    return problems


def _named(steps: Any, workload: Workload) -> tuple[str, str]:
    """(rule, detail) of the first thing that makes these no transaction."""
    write = WRITE[workload]
    if not _is_list(steps):
        return "transaction", f"{quoted(steps)} is not a list of micro-operations [f, key, value]"
    for step in steps:
        if not _is_list(step) or len(step) not in (2, 3) or (len(step) == 2 and step[0] != "r"):
            return "micro-operation", f"{quoted(step)} is not [f, key, value]"
        if _is_unfit_key(step[1]):
            return (
                "micro-operation",
                f"{quoted(step[1])} in {quoted(step)} is no key: 1, 1.0 and true could not be told apart",
            )
        if step[0] == write and (step[2] is None or step[2] != step[2]):
            return "micro-operation", f"{quoted(step)} writes what a read could not tell from nothing"
        if step[0] == "r" and len(step) == 3 and step[2] != step[2]:
            return "micro-operation", f"{quoted(step)} read what is not equal to itself"
        if step[0] not in ("r", write):
            return "micro-operation", f"{quoted(step[0])} in {quoted(step)} is neither r nor {write}, as in {workload}"
        if step[0] == "r" and len(step) == 3 and step[2] is not None and not _is_list(step[2]):
            return "micro-operation", f"{quoted(step)} read something that is no list"
    raise AssertionError(f"a transaction was refused for no reason: {steps!r}")


def _is_unfit_key(key: object) -> bool:
    """Whether the key is, or holds, what equals a value of another type."""
    if isinstance(key, list | tuple):
        return any(map(_is_unfit_key, key))
    if isinstance(key, dict):
        return any(map(_is_unfit_key, key.values()))
    return key.__class__ in _UNFIT_KEYS


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _hashable(reads_lists: bool, steps: Any) -> Any:
    """The steps with keys and values frozen. reads_lists: a list that was read stays one, of frozen elements."""
    if steps is None:
        return steps
    return [
        [step[0], freeze(step[1]), *(_frozen(reads_lists and step[0] == "r", part) for part in step[2:])]
        for step in steps
    ]


def _frozen(is_list: bool, part: Any) -> Any:
    return [freeze(item) for item in part] if is_list and part is not None else freeze(part)
