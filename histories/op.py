"""One event of a history: a process invoked an operation, or learned how it ended.

The words are Jepsen's. An `invoke` opens an operation; `ok` says that it happened, `fail` that it certainly did not,
`info` that nobody knows: it may have happened, or may still happen at any later time.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

NEMESIS: Literal["nemesis"] = "nemesis"
"""The process of fault operations. Clients are the integers from 0 up."""

OpType = Literal["invoke", "ok", "fail", "info"]
Process = int | Literal["nemesis"]


class Op(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One event, immutable.

    index: position in the history, from 0.
    time: ns since the run began, on the controller's monotonic clock (virtual time in a simulation).
    process: a logical client with one outstanding operation, or "nemesis". After an `info` the process is gone: its
        successor on the same thread is process + concurrency.
    key: which of many independent objects; None when the workload has only one.
    value: whatever the operation's f takes or returns; JSON-like (lists, not tuples, after a round trip). An `ok` read
        of None read that the object was absent; only where Loaded.nil_reads_are_wildcards is true does it mean that
        nobody knows what was read.
    error: why a `fail` or `info` ended so: a short word or a list that starts with one.
    node: the node that was asked, where the client knew it.
    """

    index: int
    time: int
    type: OpType
    process: Process
    f: str
    key: Any = None
    value: Any = None
    error: Any = None
    node: str | None = None

    @property
    def is_client(self) -> bool:
        """Whether a client, not the nemesis, did this."""
        return self.process != NEMESIS


class FrozenMap(tuple[Any, ...]):
    """The items of a map, sorted: as a tuple of pairs, but equal to maps alone. {} is not [], and {"a": 1} is not [["a", 1]]."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other.__class__ is FrozenMap and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((FrozenMap, tuple.__hash__(self)))

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: {value!r}" for key, value in self) + "}"


_SCALARS = frozenset((bool, int, float, str))


def freeze(value: Any) -> Any:
    """The same value, hashable: lists become tuples, dicts FrozenMaps, sets frozensets. What is frozen stays as it is."""
    if value is None or value.__class__ in _SCALARS:
        return value
    match value:
        case FrozenMap():
            return FrozenMap(freeze(item) for item in value)
        case list() | tuple():
            return tuple(freeze(item) for item in value)
        case dict():
            return FrozenMap(sorted(((freeze(k), freeze(v)) for k, v in value.items()), key=repr))
        case set() | frozenset():
            return frozenset(freeze(item) for item in value)
        case _:
            return value
