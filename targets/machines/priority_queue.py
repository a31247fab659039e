"""Priority queues: the smallest priority first; among equal ones, the element that came first."""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated, Any, ClassVar

import msgspec

from targets.machines.machine import Command, Element, Key, ReadCommand

Priority = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]


class Enqueue(Command, frozen=True, kw_only=True, tag="enqueue"):
    """value: [priority, element]. It is in the queue."""

    value: tuple[Priority, Element]


class Dequeue(Command, frozen=True, tag="dequeue"):
    """The result is a [priority, element] of the smallest priority, which leaves the queue; None: the queue is empty."""


class Peek(ReadCommand, frozen=True, tag="peek"):
    """What the next dequeue would take; None: the queue is empty."""


PriorityQueueCommand = Enqueue | Dequeue | Peek


class PriorityQueueMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "priority-queue"
    command_type: ClassVar[Any] = PriorityQueueCommand
    result_type: ClassVar[Any] = list[Element]

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[Key, list[tuple[int, Element]]] = {}
        """The next to be taken last."""

    def apply(self, command: PriorityQueueCommand) -> list[Element] | None:
        """Carry out `command`; return what was dequeued or seen."""
        match command:
            case Enqueue():
                _insert(self._queues.setdefault(command.key, []), command.value)
                return None
            case Dequeue():
                queue = self._queues.get(command.key)
                return list(queue.pop()) if queue else None
        return self.query(command)

    def query(self, command: PriorityQueueCommand) -> list[Element] | None:
        """What comes next."""
        queue = self._queues.get(command.key)
        return list(queue[-1]) if queue else None

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, elements with their priorities, the next to be dequeued last]."""
        return [[key, [list(pair) for pair in queue]] for key, queue in self._queues.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these queues were used."""
        self._queues = {key: [(priority, element) for priority, element in queue] for key, queue in snapshot}


def _insert(queue: list[tuple[int, Element]], pair: tuple[int, Element]) -> None:
    # The list descends; in front of its equals, which are taken from the end.
    queue.insert(bisect_left(queue, -pair[0], key=_descending), pair)


def _descending(pair: tuple[int, Element]) -> int:
    return -pair[0]
