"""Registers that only grow: a state machine, the workload that asks for it, and the model that its history is checked by.

`offer` keeps the greater of what is held and what is offered; `read` tells what is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, ClassVar

from checkers.models.model import Operation
from harness.generators import Generator, Stream
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import ClaimChecker, check_linearizable
from harness.workloads.keyed import DrawnOps, KeyedOptions, chosen, final_ops, keyed, read_until_ok
from targets.machines.machine import Command, Key, ReadCommand


class Offer(Command, frozen=True, kw_only=True, tag="offer"):
    """The register holds `value` if that is more than what it held."""

    value: int


class Read(ReadCommand, frozen=True, tag="read"):
    """The greatest value ever offered; None before the first."""


class MaxRegister:
    """Implements targets.machines.machine.Machine."""

    name: ClassVar[str] = "max-register"
    command_type: ClassVar[Any] = Offer | Read
    result_type: ClassVar[Any] = int

    def __init__(self) -> None:
        self._held: dict[Key, int] = {}

    def apply(self, command: Offer | Read) -> int | None:
        """Carry out `command`; return what a read saw."""
        if isinstance(command, Read):
            return self.query(command)
        self._held[command.key] = max(command.value, self._held.get(command.key, command.value))
        return None

    def query(self, command: Offer | Read) -> int | None:
        """The greatest value."""
        return self._held.get(command.key)

    def snapshot(self) -> list[list[Any]]:
        """Pairs [key, greatest value]."""
        return [[key, value] for key, value in self._held.items()]

    def restore(self, snapshot: Any) -> None:
        """Exactly these registers were offered something."""
        self._held = dict(snapshot)


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
