"""Drives the interpreter in real time: starts the ops that it gives, completes each exactly once, wakes it when it asks.

Client calls are tasks of one event loop. The nemesis works in a thread of its own, for its methods block; it takes one op at
a time and gives up on stuck ones itself.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec
import uvloop

from harness.clients.sessions import SessionFailed
from histories.faults import FaultResult
from histories.op import NEMESIS, Op, OpType
from targets.session import Call, Outcome

LOOK_S = 0.1
"""The interpreter is polled at least so often: a signal handler may have told it to stop."""


class Driven(Protocol):
    """What the driver needs of an Interpreter (harness.generators.interpreter)."""

    @property
    def wake_ns(self) -> int | None: ...
    @property
    def finished(self) -> bool: ...
    def poll(self, now_ns: int) -> Sequence[Op]: ...
    def complete(
        self, now_ns: int, invocation: Op, type: OpType, value: Any = None, error: Any = None, node: str | None = None
    ) -> None: ...


class NemesisWorker(Protocol):
    """The nemesis as the driver sees it: takes a nemesis invocation and returns what it did."""

    def invoke(self, op: Op) -> FaultResult: ...


class Caller(Protocol):
    """Carries clients' calls to nodes; bound to the running loop."""

    async def call(self, call: Call, process: int, home: str, op: int | None = None) -> tuple[Outcome, str]:
        """How the call ended, and the node that was asked last. op: the index of its invocation, for the nodes' traces.

        Raises SessionFailed; the call may have happened.
        """
        ...

    def close(self) -> Awaitable[None] | None: ...


def drive(
    interpreter: Driven,
    nemesis: NemesisWorker,
    make_caller: Callable[[], Caller],
    nodes: Sequence[str],
    began_ns: int | None = None,
) -> None:
    """Run the interpreter to its end. The home node of a process is `nodes[process % len(nodes)]`.

    began_ns: the interpreter's time zero on the monotonic clock; None: now. Raises what a caller, the nemesis or the interpreter
    raised, after it has cancelled everything else under way.
    """
    driver = _Driver(interpreter, nemesis, nodes, time.monotonic_ns() if began_ns is None else began_ns)
    # Collections of the young go on; a full one would stop clients for as long as the history is large.
    thresholds = gc.get_threshold()
    gc.set_threshold(thresholds[0], thresholds[1], 1_000_000)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(driver.run(make_caller))
    finally:
        gc.set_threshold(*thresholds)


class _Driver:
    def __init__(self, interpreter: Driven, nemesis: NemesisWorker, nodes: Sequence[str], began_ns: int) -> None:
        self.interpreter = interpreter
        self.nemesis = nemesis
        self.nodes = nodes
        self.began_ns = began_ns
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def now_ns(self) -> int:
        return time.monotonic_ns() - self.began_ns

    async def run(self, make_caller: Callable[[], Caller]) -> None:
        self.loop = asyncio.get_running_loop()
        self._is_due = asyncio.Event()
        caller = make_caller()
        interpreter = self.interpreter
        try:
            while True:
                self._is_due.clear()
                for op in interpreter.poll(self.now_ns()):
                    self._start(self._invoke(op) if op.process == NEMESIS else self._call(op, caller))
                if interpreter.finished:
                    return
                await self._rest()
                if self._failure is not None:
                    raise self._failure
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if (closing := caller.close()) is not None:
                await closing

    async def _rest(self) -> None:
        """Wait for a completion, the time of the interpreter's next op, or the next look whether to stop."""
        wake_ns = self.interpreter.wake_ns
        delay_s = LOOK_S if wake_ns is None else min(LOOK_S, (wake_ns - self.now_ns()) / 1e9)
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        timer = self.loop.call_later(delay_s, self._is_due.set)
        try:
            await self._is_due.wait()
        finally:
            timer.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
        self._is_due.set()

    async def _call(self, op: Op, caller: Caller) -> None:
        assert isinstance(op.process, int)
        node = self.nodes[op.process % len(self.nodes)]
        try:
            outcome, node = await caller.call(Call(op.f, op.key, op.value), op.process, node, op.index)
        except SessionFailed as error:
            self.interpreter.complete(self.now_ns(), op, "info", op.value, ["session", str(error)], node)
            raise
        self.interpreter.complete(self.now_ns(), op, outcome.type, outcome.value, outcome.error, node)

    async def _invoke(self, op: Op) -> None:
        result = await _in_thread(self.loop, lambda: self.nemesis.invoke(op))
        self.interpreter.complete(self.now_ns(), op, "info", msgspec.to_builtins(result))


def _in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], FaultResult]) -> Awaitable[FaultResult]:
    """The result of `work`, done in a thread that does not keep the program from ending."""
    done: asyncio.Future[FaultResult] = loop.create_future()

    def settle(result: FaultResult | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if result is not None:
            done.set_result(result)
        else:
            assert error is not None
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 (carried over to the loop, which raises it)
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # The loop is closed: nobody waits any more.

    threading.Thread(target=run, name="nemesis", daemon=True).start()
    return done
