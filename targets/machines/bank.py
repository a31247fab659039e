"""A bank: accounts, each with a balance that is never below zero, and transfers between them. Held by the key-value machine.

Each operation is one transaction of the key-value machine, whose keys are the accounts: so a bank adds no state of its own, and
whatever replicates or splits a key-value store can keep one. Money comes only by `open`, and never goes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from targets.machines.kv import KvMachine, Txn
from targets.machines.machine import Command, ReadCommand, Refused

AMOUNT_MAX = 2**31
"""So that a sum of balances stays within what the wire takes (targets.wire.INTEGER_MAX)."""

Account = str | int
"""1 and "1" are one account: a read names it "1", as in a map of JSON."""


class Transferred(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}):
    """Jepsen's {"from": account, "to": account, "amount": more than 0}."""

    source: Account
    target: Account
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]

    def __post_init__(self) -> None:
        if str(self.source) == str(self.target):
            raise ValueError(f"from and to are both {self.source!r}: a transfer is between two accounts")


class Open(Command, frozen=True, kw_only=True, tag="open"):
    """Accounts that there are not yet begin with these balances; those that there are keep theirs. `key` is not used."""

    value: dict[str, Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]]


class Transfer(Command, frozen=True, kw_only=True, tag="transfer"):
    """The amount goes from one account to the other. Refused where the account has less, or where one of the two is not open."""

    value: Transferred


class Read(ReadCommand, frozen=True, tag="read"):
    """All balances by account, as text."""


BankCommand = Open | Transfer | Read

_NO_ACCOUNT = Refused("no-account")
_NO_FUNDS = Refused("insufficient-funds")


class BankMachine:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "bank"
    command_type: ClassVar[Any] = BankCommand
    result_type: ClassVar[Any] = Any

    __slots__ = ("_store",)

    def __init__(self) -> None:
        self._store = KvMachine()

    def apply(self, command: BankCommand) -> Any:
        """Carry out `command`; return its result."""
        match command:
            case Open(value=balances):
                held = self._balances()
                self._write({account: balance for account, balance in balances.items() if account not in held})
                return None
            case Transfer(value=asked):
                source, target = str(asked.source), str(asked.target)
                balances = self._read((source, target))
                if balances[source] is None or balances[target] is None:
                    return _NO_ACCOUNT
                if balances[source] < asked.amount:
                    return _NO_FUNDS
                self._write({source: balances[source] - asked.amount, target: balances[target] + asked.amount})
                return None
        return self.query(command)

    def query(self, command: BankCommand) -> Any:
        """All balances."""
        return self._balances()

    def snapshot(self) -> list[list[Any]]:
        """Pairs [account, balance]."""
        return self._store.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Exactly these accounts are open, with these balances."""
        self._store.restore(snapshot)

    def _balances(self) -> dict[str, int]:
        return dict(self._store.snapshot())

    def _read(self, accounts: tuple[str, ...]) -> dict[str, Any]:
        """The balance of each, None for one that is not open."""
        steps = self._store.query(Txn(value=tuple(("r", account, None) for account in accounts)))
        return {account: balance for _, account, balance in steps}

    def _write(self, balances: dict[str, int]) -> None:
        if balances:
            self._store.apply(Txn(value=tuple(("w", account, balance) for account, balance in balances.items())))
