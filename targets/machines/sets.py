"""Sets of numbers and texts. A read lists the elements in the order in which they were added."""

from __future__ import annotations

from typing import Any, ClassVar

from targets.machines.machine import Command, Element, Key, ReadCommand


class Add(Command, frozen=True, kw_only=True, tag="add"):
    """`value` is in the set; nothing changes if it was there already."""

    value: Element


class Remove(Command, frozen=True, kw_only=True, tag="remove"):
    """`value` is not in the set; nothing changes if it was not there."""

    value: Element


class Contains(ReadCommand, frozen=True, kw_only=True, tag="contains"):
    """Whether `value` is in the set."""

    value: Element


class Read(ReadCommand, frozen=True, tag="read"):
    """Every element, once."""


SetCommand = Add | Remove | Contains | Read


class SetMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "set"
    command_type: ClassVar[Any] = SetCommand
    result_type: ClassVar[Any] = bool | list[Element]

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        # Dicts for sets: they keep the order of their elements, which must be the same on every node.
        self._sets: dict[Key, dict[Element, None]] = {}

    def apply(self, command: SetCommand) -> bool | list[Element] | None:
        """Carry out `command`; return what a read saw."""
        match command:
            case Add():
                self._sets.setdefault(command.key, {})[command.value] = None
                return None
            case Remove():
                self._sets.get(command.key, {}).pop(command.value, None)
                return None
        return self.query(command)

    def query(self, command: SetCommand) -> bool | list[Element]:
        """The elements, or whether one is among them."""
        elements = self._sets.get(command.key, {})
        return command.value in elements if isinstance(command, Contains) else list(elements)

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, elements]."""
        return [[key, list(elements)] for key, elements in self._sets.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these sets have elements, in this order."""
        self._sets = {key: dict.fromkeys(elements) for key, elements in snapshot}
