"""Counters: whole numbers, from 0, that are added to."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from targets.machines.machine import Command, Key, ReadCommand

AMOUNT_MAX = 2**31
"""So that a sum of a run's amounts stays within what the wire takes (targets.wire.INTEGER_MAX)."""


class Add(Command, frozen=True, kw_only=True, tag="add"):
    """The counter grows by `value`, which may be negative."""

    value: Annotated[int, msgspec.Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]


class Read(ReadCommand, frozen=True, tag="read"):
    """The sum of all that was added."""


CounterCommand = Add | Read


class CounterMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "counter"
    command_type: ClassVar[Any] = CounterCommand
    result_type: ClassVar[Any] = int

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[Key, int] = {}

    def apply(self, command: CounterCommand) -> int | None:
        """Carry out `command`; return what a read saw."""
        if isinstance(command, Read):
            return self.query(command)
        self._sums[command.key] = self._sums.get(command.key, 0) + command.value
        return None

    def query(self, command: CounterCommand) -> int:
        """Where the counter stands."""
        return self._sums.get(command.key, 0)

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, sum]."""
        return [[key, total] for key, total in self._sums.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these counters were added to."""
        self._sums = dict(snapshot)
