"""Registers that only grow: `offer` keeps the greater of what is held and what is offered."""

from __future__ import annotations

from typing import Any, ClassVar

from targets.machines.machine import Command, Key, ReadCommand


class Offer(Command, frozen=True, kw_only=True, tag="offer"):
    """The register holds `value` if that is more than what it held."""

    value: int


class Read(ReadCommand, frozen=True, tag="read"):
    """The greatest value ever offered; None before the first."""


class MaxRegister:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "max-register"
    command_type: ClassVar[Any] = Offer | Read
    result_type: ClassVar[Any] = int

    def __init__(self) -> None:
        self._held: dict[Key, int] = {}

    def apply(self, command: Offer | Read) -> int | None:
        """Carry out `command`; return what a read saw."""
        if isinstance(command, Read):
            return self.query(command)
        self._held[command.key] = max(command.value, self._held.get(command.key, command.value))
        return None

    def query(self, command: Offer | Read) -> int | None:
        """The greatest value."""
        return self._held.get(command.key)

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, greatest value]."""
        return [[key, value] for key, value in self._held.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these registers were offered something."""
        self._held = dict(snapshot)
