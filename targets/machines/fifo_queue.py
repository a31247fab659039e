"""Queues, first in, first out. There is no read: a dequeued element is gone."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

from targets.machines.machine import Command, Element, Key


class Enqueue(Command, frozen=True, kw_only=True, tag="enqueue"):
    """`value` stands at the end of the queue."""

    value: Element


class Dequeue(Command, frozen=True, tag="dequeue"):
    """The result is the element in front, which leaves the queue; None: the queue is empty."""


QueueCommand = Enqueue | Dequeue


class QueueMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "queue"
    command_type: ClassVar[Any] = QueueCommand
    result_type: ClassVar[Any] = Element

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[Key, deque[Element]] = {}

    def apply(self, command: QueueCommand) -> Element | None:
        """Carry out `command`; return what was dequeued."""
        queue = self._queues.get(command.key)
        if isinstance(command, Enqueue):
            if queue is None:
                queue = self._queues[command.key] = deque()
            queue.append(command.value)
            return None
        return queue.popleft() if queue else None

    def query(self, command: QueueCommand) -> Any:
        """No command is a read."""
        raise AssertionError(f"{command!r} is not a read")

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, elements, the next to be dequeued first]."""
        return [[key, list(queue)] for key, queue in self._queues.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these queues were used."""
        self._queues = {key: deque(elements) for key, elements in snapshot}
