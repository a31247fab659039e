"""Decisions: each key is decided once, for the value that was proposed first, and never changes (a write-once register).

Sequentially this is all that consensus is: who proposes learns what was decided, whoever proposed it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from targets.machines.machine import Command, Key, ReadCommand


class Propose(Command, frozen=True, kw_only=True, tag="propose"):
    """The key is decided for `value`, unless it was decided before. The result is what it is decided for."""

    value: Any

    def __post_init__(self) -> None:
        if self.value is None:
            raise ValueError("value: null stands for 'not decided', and cannot be proposed")


class Learn(ReadCommand, frozen=True, tag="learn"):
    """What the key is decided for; None: it is not."""


ConsensusCommand = Propose | Learn


class ConsensusMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "consensus"
    command_type: ClassVar[Any] = ConsensusCommand
    result_type: ClassVar[Any] = Any

    __slots__ = ("_decided",)

    def __init__(self) -> None:
        self._decided: dict[Key, Any] = {}

    def apply(self, command: ConsensusCommand) -> Any:
        """Decide, if nothing is decided; return what is."""
        if isinstance(command, Propose):
            return self._decided.setdefault(command.key, command.value)
        return self.query(command)

    def query(self, command: ConsensusCommand) -> Any:
        """What the key is decided for."""
        return self._decided.get(command.key)

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, decision]."""
        return [[key, value] for key, value in self._decided.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these keys are decided."""
        self._decided = dict(snapshot)
