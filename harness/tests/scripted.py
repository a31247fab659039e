"""An interpreter that follows a script, for tests of drivers and environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from histories.op import NEMESIS, Op, OpType, Process


class Scripted:
    """A Driven. Lets `concurrency` clients call one after another whatever `next_call` gives them, until the time is over.

    next_call: process -> (f, key, value), or None when this client is done. faults: (time in ns, f, value), in order.
    """

    def __init__(
        self,
        concurrency: int,
        next_call: Callable[[int], tuple[str, Any, Any] | None],
        time_limit_ns: int,
        faults: Sequence[tuple[int, str, Any]] = (),
    ) -> None:
        self.history: list[Op] = []
        self.wake_ns: int | None = None
        self.finished = False
        self._concurrency = concurrency
        self._next_call = next_call
        self._time_limit_ns = time_limit_ns
        self._faults = list(faults)
        self._free = list(range(concurrency))
        self._outstanding: dict[Process, Op] = {}

    def poll(self, now_ns: int) -> Sequence[Op]:
        started: list[Op] = []
        if now_ns >= self._time_limit_ns:
            self._free.clear()
            self._faults.clear()
        for process in self._free:
            call = self._next_call(process)
            if call is not None:
                started.append(self._record(now_ns, "invoke", process, *call))
        self._free.clear()
        if self._faults and self._faults[0][0] <= now_ns and NEMESIS not in self._outstanding:
            _, f, value = self._faults.pop(0)
            started.append(self._record(now_ns, "invoke", NEMESIS, f, None, value))
        for op in started:
            self._outstanding[op.process] = op
        self.wake_ns = self._faults[0][0] if self._faults else None
        self.finished = not self._outstanding and not self._faults
        return started

    def complete(
        self, now_ns: int, invocation: Op, type: OpType, value: Any = None, error: Any = None, node: str | None = None
    ) -> None:
        assert self._outstanding.pop(invocation.process) is invocation, "completed twice"
        process = invocation.process
        self._record(now_ns, type, process, invocation.f, invocation.key, value, error, node)
        if isinstance(process, int):
            self._free.append(process + self._concurrency if type == "info" else process)

    def stop(self) -> None:
        self._time_limit_ns = 0

    def _record(
        self,
        now_ns: int,
        type: OpType,
        process: Process,
        f: str,
        key: Any,
        value: Any,
        error: Any = None,
        node: str | None = None,
    ) -> Op:
        assert isinstance(process, int) or process == NEMESIS
        op = Op(
            len(self.history),
            now_ns,
            type,
            process if isinstance(process, int) else NEMESIS,
            f,
            key,
            value,
            error,
            node,
        )
        self.history.append(op)
        return op
