"""Locks with fencing tokens (Kleppmann, "How to do distributed locking", 2016): each acquisition gets a greater number than all
before it, so that the resource that the lock protects can turn away a holder who was replaced without noticing.

The command names the owner, not the connection. Only a release frees a lock.
"""

from __future__ import annotations

from typing import Any, ClassVar

from targets.machines.machine import Command, Element, Key, Refused


class Acquire(Command, frozen=True, kw_only=True, tag="acquire"):
    """The lock is held by the owner `value`; the result is the token. Refused while anybody holds it, the same owner too."""

    value: Element


class Release(Command, frozen=True, kw_only=True, tag="release"):
    """The lock is free. Refused where the owner `value` does not hold it."""

    value: Element


LockCommand = Acquire | Release

_HELD = Refused("held")
_NOT_HELD = Refused("not-held")


class LockMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "lock"
    command_type: ClassVar[Any] = LockCommand
    result_type: ClassVar[Any] = int

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[Key, tuple[Element | None, int]] = {}
        """(owner, None when it is free; the last token)."""

    def apply(self, command: LockCommand) -> int | Refused | None:
        """Carry out `command`; return the token of an acquisition."""
        owner, token = self._locks.get(command.key, (None, 0))
        if isinstance(command, Acquire):
            if owner is not None:
                return _HELD
            self._locks[command.key] = (command.value, token + 1)
            return token + 1
        if owner is None or owner != command.value:
            return _NOT_HELD
        self._locks[command.key] = (None, token)
        return None

    def query(self, command: LockCommand) -> Any:
        """No command is a read."""
        raise AssertionError(f"{command!r} is not a read")

    def snapshot(self) -> list[list[Any]]:
        """[key, owner, last token] for each lock that was ever held."""
        return [[key, owner, token] for key, (owner, token) in self._locks.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these locks were ever held."""
        self._locks = {key: (owner, token) for key, owner, token in snapshot}
