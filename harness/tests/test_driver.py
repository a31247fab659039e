"""The driver starts what the interpreter gives and completes each op exactly once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

from harness.clients.driver import drive
from harness.clients.sessions import SessionFailed
from harness.tests.scripted import Scripted
from histories.faults import FaultResult
from histories.op import Op
from targets.session import Call, Outcome

NODES = ("n1", "n2", "n3")
SECOND = 10**9


class Caller:
    """Answers as the call's f says: ok, info, fail, never, raise."""

    def __init__(self) -> None:
        self.asked: list[tuple[Call, str]] = []
        self.is_closed = False
        self.cancelled_count = 0

    async def call(self, call: Call, process: int, home: str, op: int | None = None) -> tuple[Outcome, str]:
        self.asked.append((call, home))
        match call.f:
            case "ok" | "info" | "fail":
                await asyncio.sleep(0)
                return Outcome(call.f, f"value {call.value}", None if call.f == "ok" else "why"), "n9"
            case "never":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancelled_count += 1
                    raise
            case "broken":
                raise SessionFailed("asked too often")
        raise RuntimeError("the client is wrong")

    def close(self) -> None:
        self.is_closed = True


class Nemesis:
    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.threads: list[threading.Thread] = []

    def invoke(self, op: Op) -> FaultResult:
        self.ops.append(op)
        self.threads.append(threading.current_thread())
        if op.f == "raise":
            raise RuntimeError("the fault is wrong")
        return FaultResult("installed", did=op.value)


def limited(count: int, f: str = "ok") -> Any:
    left = Counter[int]()

    def next_call(process: int) -> tuple[str, Any, Any] | None:
        thread = process % 4
        left[thread] += 1
        return (f, None, left[thread]) if left[thread] <= count else None

    return next_call


def test_every_op_is_started_and_completed_once_at_its_process_node() -> None:
    interpreter, caller = Scripted(4, limited(10), 60 * SECOND), Caller()
    drive(interpreter, Nemesis(), lambda: caller, NODES)
    assert Counter(op.type for op in interpreter.history) == {"invoke": 40, "ok": 40}
    assert {(op.process, op.value) for op in interpreter.history if op.type == "ok"} == {
        (process, f"value {number}") for process in range(4) for number in range(1, 11)
    }
    assert [node for _, node in caller.asked[:4]] == ["n1", "n2", "n3", "n1"]
    assert {op.node for op in interpreter.history if op.type == "ok"} == {"n9"}
    assert caller.is_closed
    times = [op.time for op in interpreter.history]
    assert times == sorted(times)
    assert 0 <= times[0] < 10 * SECOND


def test_a_crashed_process_is_replaced_and_its_successor_asks_its_own_node() -> None:
    interpreter, caller = Scripted(4, limited(2, "info"), 60 * SECOND), Caller()
    drive(interpreter, Nemesis(), lambda: caller, NODES)
    assert sorted({op.process for op in interpreter.history if isinstance(op.process, int)}) == list(range(8))
    assert caller.asked[4][1] == NODES[4 % 3]


def test_faults_run_in_another_thread_at_their_time_and_keep_nobody_waiting() -> None:
    faults = [(SECOND // 20, "cut", {"n1": ["n2"]}), (SECOND // 10, "heal", None)]
    interpreter, nemesis = Scripted(2, limited(3), 60 * SECOND, faults), Nemesis()
    drive(interpreter, nemesis, Caller, NODES)
    done = [op for op in interpreter.history if op.process == "nemesis" and op.type == "info"]
    assert [op.value for op in done] == [{"status": "installed", "did": {"n1": ["n2"]}}, {"status": "installed"}]
    assert all(when <= op.time for (when, _, _), op in zip(faults, nemesis.ops, strict=True))
    assert threading.main_thread() not in nemesis.threads


def test_stop_from_elsewhere_is_noticed_soon() -> None:
    interpreter = Scripted(2, lambda process: ("ok", None, None), 3600 * SECOND)
    timer = threading.Timer(0.1, interpreter.stop)
    timer.start()
    began_s = time.monotonic()
    drive(interpreter, Nemesis(), Caller, NODES)
    assert time.monotonic() - began_s < 10
    assert interpreter.finished


@pytest.mark.parametrize("who", ["client", "fault"])
def test_what_a_client_or_a_fault_raises_ends_the_run_and_cancels_the_rest(who: str) -> None:
    calls = iter([("never", None, None), ("raise" if who == "client" else "never", None, None)])
    faults = [(1, "raise", None)] if who == "fault" else []
    interpreter, caller = Scripted(2, lambda process: next(calls), 3600 * SECOND, faults), Caller()
    with pytest.raises(RuntimeError, match=f"the {who} is wrong"):
        drive(interpreter, Nemesis(), lambda: caller, NODES)
    assert caller.cancelled_count == (1 if who == "client" else 2)
    assert caller.is_closed


def test_a_session_that_breaks_its_contract_ends_the_run_and_its_op_may_have_happened() -> None:
    calls = iter([("broken", None, 5)])
    interpreter = Scripted(1, lambda process: next(calls), 3600 * SECOND)
    with pytest.raises(SessionFailed, match="asked too often"):
        drive(interpreter, Nemesis(), Caller, NODES)
    end = interpreter.history[-1]
    assert (end.type, end.value, end.error, end.node) == ("info", 5, ["session", "asked too often"], "n1")


def test_time_zero_is_the_callers_when_given() -> None:
    interpreter = Scripted(1, limited(1), 60 * SECOND)
    drive(interpreter, Nemesis(), Caller, NODES, began_ns=time.monotonic_ns() - 5 * SECOND)
    assert 5 * SECOND <= interpreter.history[0].time < 60 * SECOND
