"""Offers of random numbers to many max-registers, and reads of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

from checkers.models.model import Operation
from harness.generators import Generator, Stream
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import ClaimChecker, check_linearizable
from harness.workloads.keyed import DrawnOps, KeyedOptions, chosen, final_ops, keyed, read_until_ok


class MaxRegisterModel:
    """What a max-register answers, one operation after another."""

    name = "max-register"
    fs = frozenset({"offer", "read"})

    def initial(self) -> int | None:
        return None

    def step(self, state: int | None, operation: Operation) -> list[int | None]:
        if operation.is_refused:
            return [state]
        if operation.f == "offer":
            return [operation.argument if state is None else max(state, operation.argument)]
        return [state] if not operation.is_known or operation.result == state else []


def draw(options: KeyedOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """An offer of a number that grows, with leaps back; or a read."""
    f = chosen(draws, ("offer", 1), ("read", 1))
    return f, number - draws.below(3) if f == "offer" else None


class MaxRegisterWorkload:
    """Keys from 0 up."""

    name = "max-register"
    summary = "offers to many registers that only grow, and reads of them"
    interface = "max-register"
    data_type = "max-register"
    option_type = KeyedOptions
    checkers: Sequence[ClaimChecker] = (
        ClaimChecker(
            "linearizable", "linearizable", "max-register", partial(check_linearizable, f"{__name__}:MaxRegisterModel")
        ),
    )

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """As many threads on a key as nodes."""
        return keyed(context, rng, len(context.nodes), lambda salt, key: DrawnOps(draw, context.options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is read."""
        return final_ops(context, read_until_ok)
