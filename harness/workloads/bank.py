"""A bank, as Jepsen's: transfers between accounts, and reads of all balances, whose sum must always be the same.

The accounts are opened first, until one client was told that they are; to open an account again changes nothing. Amounts are
small and balances too, so that transfers are also refused for want of funds.
"""

from __future__ import annotations

from random import Random
from typing import Annotated

import msgspec

from harness.generators import (
    Context,
    Generator,
    Invocation,
    Stream,
    delay,
    each_thread,
    phases,
    random_calls,
    repeat,
    time_limit,
    until_ok,
)
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import RETRY_S, Positive, chosen


class BankOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """accounts: how many. balance: of each in the beginning. amount_max: a transfer moves at most so much. transfer, read:
    weights of the mix. final_time_limit_s: for how long every client tries to read in the end; 0: never.
    """

    accounts: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 8
    balance: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10
    amount_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 5
    transfer: Positive = 5
    read: Positive = 5
    final_time_limit_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0


class BankWorkload:
    """See the module."""

    name = "bank"
    summary = "transfers between accounts, whose balances must always add up"
    interface = "bank"
    data_type = "bank"
    option_type = BankOptions

    def commands(self, options: BankOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"open", "transfer", "read"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """The accounts are opened; then all threads transfer and read."""
        options: BankOptions = context.options
        accounts = {str(account): options.balance for account in range(options.accounts)}

        def draw(_: Context, draws: Stream) -> Invocation:
            if chosen(draws, ("transfer", options.transfer), ("read", options.read)) == "read":
                return Invocation("read")
            source = draws.below(options.accounts)
            target = (source + 1 + draws.below(options.accounts - 1)) % options.accounts
            return Invocation(
                "transfer", None, {"from": source, "to": target, "amount": 1 + draws.below(options.amount_max)}
            )

        opening = until_ok(delay(RETRY_S, repeat(Invocation("open", None, accounts))))
        return phases(opening, random_calls(rng, draw))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        options: BankOptions = context.options
        if not options.final_time_limit_s:
            return None
        return time_limit(options.final_time_limit_s, each_thread(until_ok(delay(RETRY_S, repeat(Invocation("read"))))))
