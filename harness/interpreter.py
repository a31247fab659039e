"""Turns a generator and completions into invocations and a history, without I/O or a clock of its own.

Simulated and real runs share it: the driver passes the time in, starts what `poll` returns, and reports how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from histories.op import Op, OpType


class Interpreter:
    """See the contract that the drivers rely on below; being written."""

    wake_ns: int | None
    """When `poll` must be called again at the latest if nothing completes; None: only a completion brings more."""
    finished: bool
    """The generator is exhausted and nothing is outstanding."""

    def poll(self, now_ns: int) -> Sequence[Op]:
        """The invocations due now, already recorded. The driver starts each and calls `complete` exactly once for each."""
        raise NotImplementedError

    def complete(
        self, now_ns: int, invocation: Op, type: OpType, value: Any = None, error: Any = None, node: str | None = None
    ) -> None:
        """Record how `invocation` ended. After `info` its process is replaced by process + concurrency."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the main phase: no more main ops; what follows it (heal, quiet period, final reads) still runs."""
        raise NotImplementedError
