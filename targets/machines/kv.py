"""A key-value store: read, write, compare-and-set, append to a list, and transactions over several keys."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from targets.machines.machine import Command, Key, ReadCommand, Refused

MicroOp = tuple[Literal["r", "w", "append"], Key, Any]
"""[f, key, value]: one step of a transaction; the value of an r is ignored."""


class Read(ReadCommand, frozen=True, tag="read"):
    """The value of the key; None when it was never written."""


class Write(Command, frozen=True, kw_only=True, tag="write"):
    """The key holds `value` from now on."""

    value: Any = None


class Cas(Command, frozen=True, kw_only=True, tag="cas"):
    """value: [old, new]. The key holds new if it held old; otherwise the command is refused. A missing key holds None."""

    value: tuple[Any, Any]


class Append(Command, frozen=True, kw_only=True, tag="append"):
    """`value` is added at the end of the key's list; a missing key holds the empty one. Refused where the key holds no list."""

    value: Any = None


class Txn(Command, frozen=True, kw_only=True, tag="txn"):
    """All of the micro-operations, in order and at once. The result is `value` with what each r saw, which includes the effects of
    the steps before it.

    Refused as a whole when an append meets a value that is no list. `key` is not used.
    """

    value: Annotated[tuple[MicroOp, ...], msgspec.Meta(min_length=1)]

    @property
    def is_read(self) -> bool:
        """Whether every step is an r."""
        return all(f == "r" for f, _, _ in self.value)


KvCommand = Read | Write | Cas | Append | Txn

_MISMATCH = Refused("cas-mismatch")
_NO_LIST = Refused("not-a-list")


class KvMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "kv"
    command_type: ClassVar[Any] = KvCommand
    result_type: ClassVar[Any] = Any

    __slots__ = ("_values",)

    def __init__(self) -> None:
        # Lists that grew by appends are kept as tuples: what was read or snapshotted of them must not grow with them.
        self._values: dict[Key, Any] = {}

    def apply(self, command: KvCommand) -> Any:
        """Carry out `command`; return its result."""
        values = self._values
        # Most are one of these two, and every node carries each of them out.
        if command.__class__ is Write:
            values[command.key] = command.value
            return None
        if command.__class__ is Cas:
            old, new = command.value
            if plain(values.get(command.key)) != old:
                return _MISMATCH
            values[command.key] = new
            return None
        match command:
            case Append():
                grown = longer(values.get(command.key), command.value)
                if grown is None:
                    return _NO_LIST
                values[command.key] = grown
                return None
            case Txn():
                result, written = self._run(command)
                if result is None:
                    return _NO_LIST
                values.update(written)
                return result
        return self.query(command)

    def query(self, command: KvCommand) -> Any:
        """What a read or a transaction of reads sees."""
        if isinstance(command, Txn):
            return self._run(command)[0]
        return plain(self._values.get(command.key))

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, value]."""
        return [[key, plain(value)] for key, value in self._values.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these keys hold these values."""
        self._values = dict(snapshot)

    def _run(self, txn: Txn) -> tuple[list[list[Any]] | None, dict[Key, Any]]:
        """(the transaction's result, None when it is refused; what it writes)."""
        written: dict[Key, Any] = {}
        result: list[list[Any]] = []
        for f, key, value in txn.value:
            held = written[key] if key in written else self._values.get(key)
            if f == "r":
                result.append([f, key, plain(held)])
                continue
            after = value if f == "w" else longer(held, value)
            if f == "append" and after is None:
                return None, {}
            written[key] = after
            result.append([f, key, value])
        return result, written


def plain(value: Any) -> Any:
    """The value as clients are told it."""
    return list(value) if value.__class__ is tuple else value


def longer(held: Any, value: Any) -> tuple[Any, ...] | None:
    """The list with `value` at its end; None when there is no list."""
    if held is None:
        return (value,)
    return (*held, value) if isinstance(held, (tuple, list)) else None
