"""The operations of a history, each with what it asked and what it was told, and what is none of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec

from checkers.relaxed.identity import identity
from checkers.transactions.reading import PROBLEMS_MAX, UnfitTransactions, of_another_object
from histories.history import History
from histories.op import Op, freeze
from histories.printing import quoted
from histories.wellformed import Problem


class Call(msgspec.Struct, frozen=True):
    """One operation. begin, end: positions in the history; end is None for one that never ended."""

    begin: int
    end: int | None
    invoked: Op
    completion: Op | None

    @property
    def type(self) -> str:
        """How it ended: ok, fail or info; one that never ended counts as info."""
        return "info" if self.completion is None else self.completion.type

    @property
    def f(self) -> str:
        """What it did."""
        return self.invoked.f

    @property
    def index(self) -> int:
        """Of the op that tells most of it."""
        return (self.completion or self.invoked).index

    @property
    def position(self) -> int:
        """Of that op in the history."""
        return self.begin if self.end is None else self.end

    @property
    def told(self) -> Any:
        """The value of its completion; where it did not end ok, of its invocation."""
        if self.completion is not None and (self.completion.type == "ok" or self.invoked.value is None):
            return self.completion.value
        return self.invoked.value

    def is_before(self, other: Call) -> bool:
        """Whether it had ended before the other began."""
        return self.end is not None and self.end < other.begin


def calls(history: History) -> list[Call]:
    """The clients' operations in the order in which they began. Raises UnfitTransactions where a process completes what it did not
    begin, or begins twice."""
    open_: dict[Any, tuple[int, Op]] = {}
    found: list[Call] = []
    problems: list[Problem] = []
    for position, op in enumerate(history):
        if not op.is_client:
            continue
        if op.type == "invoke":
            if op.process in open_:
                problems.append(
                    Problem(position, "two-open", f"process {op.process} begins while its last is still open")
                )
            open_[op.process] = (position, op)
        elif op.process not in open_:
            problems.append(
                Problem(position, "no-invocation", f"process {op.process} ends {op.f}, but has nothing open")
            )
        else:
            begin, invoked = open_.pop(op.process)
            found.append(Call(begin, position, invoked, op))
    refuse(problems)
    found += [Call(begin, None, invoked, None) for begin, invoked in open_.values()]
    return sorted(found, key=lambda call: call.begin)


def calls_on_one(history: History) -> list[Call]:
    """As `calls`, of one object. Raises UnfitTransactions also where they are on several keys of the history."""
    found = calls(history)
    refuse(
        of_another_object(call.begin, call.invoked.key, before.invoked.key)
        for before, call in pairwise(found)
        if identity(before.invoked.key) != identity(call.invoked.key)
    )
    return found


def refuse(problems: Iterable[Problem]) -> None:
    """Raises UnfitTransactions with the problems, in the order of the history, where there are any."""
    if some := sorted(problems, key=lambda problem: problem.position)[:PROBLEMS_MAX]:
        raise UnfitTransactions(some)


Steps = list[tuple[str, Any, Any]]
"""Micro-operations (f, key, value), with keys and values made hashable."""


def steps_of(call: Call, writes: tuple[str, ...] = ("w",)) -> Steps | Problem:
    """The micro-operations of a transaction, or why it is none: r, and those of `writes`."""
    value = call.told
    if not isinstance(value, list | tuple):
        return Problem(
            call.position, "transaction", f"{quoted(value)} is not a list of micro-operations [f, key, value]"
        )
    steps: Steps = []
    for step in value:
        if not isinstance(step, list | tuple) or len(step) not in (2, 3) or (len(step) == 2 and step[0] != "r"):
            return Problem(call.position, "micro-operation", f"{quoted(step)} is not [f, key, value]")
        if step[0] not in ("r", *writes):
            names = " nor ".join(writes)
            detail = f"{quoted(step[0])} in {quoted(step)} is neither r nor {names}"
            return Problem(call.position, "micro-operation", detail)
        steps.append((step[0], freeze(step[1]), freeze(step[2]) if len(step) == 3 else None))
    return steps


def transactions_of(
    history: History, fs: tuple[str, ...] = ("txn", "read", "write"), writes: tuple[str, ...] = ("w",)
) -> list[tuple[Call, Steps]]:
    """Every operation with its micro-operations. Raises UnfitTransactions for what is none of these."""
    found: list[tuple[Call, Steps]] = []
    problems: list[Problem] = []
    for call in calls_on_one(history):
        if call.f not in fs:
            problems.append(Problem(call.begin, "f", f"{quoted(call.f)} is none of {', '.join(fs)}"))
            continue
        steps = steps_of(call, writes)
        if isinstance(steps, Problem):
            problems.append(steps)
        else:
            found.append((call, steps))
    refuse(problems)
    return found


def written_once(transactions: list[tuple[Call, Steps]]) -> dict[Any, tuple[Call, Any]]:
    """Key -> who wrote it, and what. Raises UnfitTransactions where a key is written twice: a read could not tell the order."""
    writers: dict[Any, tuple[Call, Any]] = {}
    problems: list[Problem] = []
    for call, steps in transactions:
        for f, key, value in steps:
            if f == "r":
                continue
            if key in writers:
                problems.append(Problem(call.begin, "written-once", f"the key {quoted(key)} is written a second time"))
            elif value is None:
                problems.append(Problem(call.begin, "micro-operation", f"null is written to the key {quoted(key)}"))
            writers[key] = call, value
    refuse(problems)
    return writers
