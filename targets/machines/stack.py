"""Stacks, last in, first out."""

from __future__ import annotations

from typing import Any, ClassVar

from targets.machines.machine import Command, Element, Key, ReadCommand


class Push(Command, frozen=True, kw_only=True, tag="push"):
    """`value` lies on top of the stack."""

    value: Element


class Pop(Command, frozen=True, tag="pop"):
    """The result is the element on top, which leaves the stack; None: the stack is empty."""


class Peek(ReadCommand, frozen=True, tag="peek"):
    """The element on top, which stays; None: the stack is empty."""


StackCommand = Push | Pop | Peek


class StackMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "stack"
    command_type: ClassVar[Any] = StackCommand
    result_type: ClassVar[Any] = Element

    __slots__ = ("_stacks",)

    def __init__(self) -> None:
        self._stacks: dict[Key, list[Element]] = {}

    def apply(self, command: StackCommand) -> Element | None:
        """Carry out `command`; return what was popped or seen."""
        match command:
            case Push():
                self._stacks.setdefault(command.key, []).append(command.value)
                return None
            case Pop():
                stack = self._stacks.get(command.key)
                return stack.pop() if stack else None
        return self.query(command)

    def query(self, command: StackCommand) -> Element | None:
        """What lies on top."""
        stack = self._stacks.get(command.key)
        return stack[-1] if stack else None

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, elements, the top last]."""
        return [[key, list(stack)] for key, stack in self._stacks.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these stacks were used."""
        self._stacks = {key: list(elements) for key, elements in snapshot}
