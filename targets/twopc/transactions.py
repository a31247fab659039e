"""Transactions: their names, what each shard has to do of one, and what doing it reads and writes.

A transaction is known as a whole when it begins, so each shard's part goes out with the request to prepare (as in Sinfonia, SOSP
2007, §4): it locks, reads and votes in one round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from targets.core import NodeId
from targets.machines import bank
from targets.machines.kv import Append, Cas, KvCommand, Read, Txn, Write, longer, plain
from targets.machines.machine import Key

TxnId = tuple[int, NodeId]
"""A number that its coordinator never uses twice, and that coordinator. The smaller is the older."""

Step = tuple[Literal["r", "w", "append", "cas", "open", "debit", "credit", "scan"], Key, Any]
"""[f, key, value]; cas: value is [old, new]. open: the key holds the value unless it holds one already. debit, credit: so much less
or more. scan: all keys of the shard."""

Commands = KvCommand | bank.BankCommand

MEMBERS: Key = None
"""Stands for the set of a shard's keys: who scans reads it, and who opens writes it, so that no scan misses a key that appears
meanwhile (a phantom). Steps of the key-value machine, which may use this key, never scan or open."""

MISMATCH = "cas-mismatch"
NO_LIST = "not-a-list"
NO_VOTE = "no vote in time"
NO_ACCOUNT = "no-account"
NO_FUNDS = "insufficient-funds"
REFUSALS = frozenset({MISMATCH, NO_LIST, NO_ACCOUNT, NO_FUNDS})
"""Reasons of a no that lie in the state of the store."""


def name_of(txn: TxnId) -> str:
    """As traces have it."""
    return f"{txn[1]}:{txn[0]}"


def steps_of(command: Commands) -> tuple[Step, ...]:
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
        case bank.Open():
            return tuple(("open", account, balance) for account, balance in command.value.items())
        case bank.Transfer(value=asked):
            return (("debit", str(asked.source), asked.amount), ("credit", str(asked.target), asked.amount))
        case bank.Read():
            return (("scan", MEMBERS, None),)


def answer_of(command: Commands, results: Sequence[Any]) -> Any:
    """What the client is told: results has what each step saw, a scan once for each shard."""
    match command:
        case Txn():
            return [[f, key, result] for (f, key, _), result in zip(command.value, results, strict=True)]
        case Read():
            return results[0]
        case bank.Read():
            return {account: balance for of_shard in results for account, balance in of_shard.items()}
        case _:
            return None


def written_keys(steps: Sequence[Step]) -> tuple[Key, ...]:
    """Each once, in order of first use."""
    written = dict.fromkeys(key for f, key, _ in steps if f not in ("r", "scan"))
    if any(f == "open" for f, _, _ in steps):
        written[MEMBERS] = None
    return tuple(written)


def read_keys(steps: Sequence[Step], keys: Iterable[Key]) -> tuple[Key, ...]:
    """Those that are read and not written, each once. keys: all of the shard."""
    written = {*written_keys(steps)}
    read = dict.fromkeys(key for f, key, _ in steps if f == "r" and key not in written)
    if any(f == "scan" for f, _, _ in steps):
        read |= dict.fromkeys((MEMBERS, *keys))
    return tuple(read)


def carry_out(
    steps: Sequence[Step], read: Callable[[Key], Any], keys: Iterable[Key]
) -> tuple[tuple[Any, ...], Mapping[Key, Any]] | str:
    """(what each step saw, or was given where it writes; what is written), or why the state forbids it. Changes nothing.

    read: what a key holds before the first step. keys: all of the shard.
    """
    written: dict[Key, Any] = {}
    results: list[Any] = []
    for f, key, value in steps:
        held = written[key] if key in written else read(key)
        match f:
            case "r":
                results.append(plain(held))
                continue
            case "scan":
                found = {str(one): read(one) for one in keys if one is not MEMBERS}
                results.append({account: balance for account, balance in found.items() if balance is not None})
                continue
            case "cas":
                if plain(held) != value[0]:
                    return MISMATCH
                after = value[1]
            case "w":
                after = value
            case "append":
                after = longer(held, value)
                if after is None:
                    return NO_LIST
            case "open":
                after = value if held is None else held
                written[MEMBERS] = True
            case "debit" | "credit":
                if held is None:
                    return NO_ACCOUNT
                if f == "debit" and held < value:
                    return NO_FUNDS
                after = held - value if f == "debit" else held + value
        written[key] = after
        results.append(value)
    return tuple(results), written
