"""A key-value store as a replicated state machine, with the bodies in which clients and cores speak of it.

The bodies stand here and not in targets/kv.py because a core may import `targets.machines` and nothing of the client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Key = str | int | None
"""None: the only object of a workload that has one."""

FS = ("read", "write", "cas")


class KvCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What a client asks, and what a log entry carries.

    read: `value` is ignored. write: `value` is the new value. cas: `value` is [old, new]; a missing key holds None.
    """

    f: Literal["read", "write", "cas"]
    key: Key = None
    value: Any = None

    def __post_init__(self) -> None:
        if self.f == "cas" and not (isinstance(self.value, (list, tuple)) and len(self.value) == 2):
            raise ValueError(f"the value of a cas is [old, new], not {self.value!r}")


class KvReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """How a request ended.

    ok: done; `value` is what a read saw. mismatch: a cas found another value and changed nothing.
    not-leader: certainly not done here, and never will be; `leader` is whom to ask, where the node knows.
    unknown: the node stopped leading before it learned the fate of the command, which may still be carried out.
    superseded: certainly not done: another command was committed in its place.
    """

    status: Literal["ok", "mismatch", "not-leader", "unknown", "superseded"]
    value: Any = None
    leader: str | None = None


DONE = KvReply("ok")
MISMATCH = KvReply("mismatch")


class KvMachine:
    """The store. `apply` is the only thing that changes it."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Key, Any] = {}

    def apply(self, command: KvCommand) -> KvReply:
        """Carry out `command`; return its answer."""
        match command.f:
            case "read":
                return KvReply("ok", self._values.get(command.key))
            case "write":
                self._values[command.key] = command.value
                return DONE
            case "cas":
                old, new = command.value
                if self._values.get(command.key) != old:
                    return MISMATCH
                self._values[command.key] = new
                return DONE

    def read(self, key: Key) -> Any:
        """The value of `key` as of the last command applied; None when it was never written."""
        return self._values.get(key)

    @property
    def values(self) -> Mapping[Key, Any]:
        """Every key that was written. Reads only."""
        return self._values
