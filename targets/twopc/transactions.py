"""Transactions: their names, what each shard has to do of one, and what doing it reads and writes.

A transaction is known as a whole when it begins, so each shard's part goes out with the request to prepare (as in Sinfonia, SOSP
2007, §4): it locks, reads and votes in one round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from targets.core import NodeId
from targets.machines.kv import Append, Cas, KvCommand, Read, Txn, Write, longer, plain
from targets.machines.machine import Key

TxnId = tuple[int, NodeId]
"""A number that its coordinator never uses twice, and that coordinator. The smaller is the older."""

Step = tuple[Literal["r", "w", "append", "cas"], Key, Any]
"""[f, key, value]; cas: value is [old, new]."""

MISMATCH = "cas-mismatch"
NO_LIST = "not-a-list"
NO_VOTE = "no vote in time"
REFUSALS = frozenset({MISMATCH, NO_LIST})
"""Reasons of a no that lie in the state of the store."""


def name_of(txn: TxnId) -> str:
    """As traces have it."""
    return f"{txn[1]}:{txn[0]}"


def steps_of(command: KvCommand) -> tuple[Step, ...]:
    """What the command does, in order."""
    match command:
        case Txn():
            return command.value
        case Read():
            return (("r", command.key, None),)
        case Write():
            return (("w", command.key, command.value),)
        case Append():
            return (("append", command.key, command.value),)
        case Cas():
            return (("cas", command.key, list(command.value)),)


def answer_of(command: KvCommand, results: Sequence[Any]) -> Any:
    """What the client is told: results has what each step saw."""
    match command:
        case Txn():
            return [[f, key, result] for (f, key, _), result in zip(command.value, results, strict=True)]
        case Read():
            return results[0]
        case _:
            return None


def written_keys(steps: Sequence[Step]) -> tuple[Key, ...]:
    """Each once, in order of first use."""
    return tuple(dict.fromkeys(key for f, key, _ in steps if f != "r"))


def read_keys(steps: Sequence[Step]) -> tuple[Key, ...]:
    """Those that are read and not written, each once."""
    written = {*written_keys(steps)}
    return tuple(dict.fromkeys(key for _, key, _ in steps if key not in written))


def carry_out(steps: Sequence[Step], read: Callable[[Key], Any]) -> tuple[tuple[Any, ...], Mapping[Key, Any]] | str:
    """(what each step saw, or was given where it writes; what is written), or why the state forbids it. Changes nothing.

    read: what a key holds before the first step.
    """
    written: dict[Key, Any] = {}
    results: list[Any] = []
    for f, key, value in steps:
        held = written[key] if key in written else read(key)
        if f == "r":
            results.append(plain(held))
            continue
        if f == "cas":
            old, new = value
            if plain(held) != old:
                return MISMATCH
            written[key] = new
        elif f == "w":
            written[key] = value
        else:
            grown = longer(held, value)
            if grown is None:
                return NO_LIST
            written[key] = grown
        results.append(value)
    return tuple(results), written
