"""Futures that a signal cannot leave locked.

`Future.result` and `Future.cancel` hold the future's lock for a moment. An exception that a signal raises in that moment may leave
it locked; then the thread that has the result to tell waits for ever, and so does the end of the pool.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

from harness.run.interruption import interrupts_waiting

Returned = TypeVar("Returned")

WAIT_S = 0.1
"""How long a signal waits at most."""


class InterruptibleFuture(Future[Returned]):
    """A signal that comes while somebody asks it raises Interrupted soon, between two looks at it."""

    def result(self, timeout: float | None = None) -> Returned:
        """As Future.result; timeout in s."""
        deadline_s = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            with interrupts_waiting():
                wait([self], min(WAIT_S, left_s))
                if self.done() or left_s == 0:
                    return super().result(0)

    def cancel(self) -> bool:
        """As Future.cancel."""
        with interrupts_waiting():
            return super().cancel()


def interruptible(future: Future[Returned]) -> Future[Returned]:
    """The same future, from now on interruptible: a library's executor makes its futures itself, always of one class."""
    future.__class__ = InterruptibleFuture
    return future


class InterruptibleExecutor(Executor):
    """The tasks of another executor, with interruptible futures. Whoever made that one ends it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As Executor.submit; a signal meanwhile waits."""
        with interrupts_waiting():
            return interruptible(self._executor.submit(fn, *args, **kwargs))
