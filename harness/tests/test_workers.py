"""Nothing of a sweep is left, however it ended: no worker, no resource tracker, no semaphore in shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.campaign.futures import InterruptibleExecutor, InterruptibleFuture, interruptible
from harness.campaign.workers import signals_waiting, worker_pool
from harness.environments import shared_memory
from harness.environments.real import labelled_processes
from harness.errors import Interrupted
from harness.run.interruption import raising_interrupts

pytestmark = pytest.mark.real

PATIENCE_S = 60.0


def until(happened: Callable[[], object], what: str) -> None:
    """Return when it has happened."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def semaphores(pid: int) -> list[str]:
    """Those that the process has in shared memory."""
    return [entry.name for entry in shared_memory.PLACE.iterdir() if entry.name.startswith(f"sem.themis-{pid}-")]


def processes(pid: int) -> list[labelled_processes.Labelled]:
    """The workers of this sweep, and the resource tracker."""
    return labelled_processes.labelled(f"sweep-{pid}")


@contextmanager
def sweeping(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command in the middle of its seeds."""
    command = [sys.executable, "-m", "harness", "test", "--env", "sim", "--seeds", "1..100000", "--jobs", "2"]
    options = ["--time-limit", "30", "--nemesis", "kill"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output, start_new_session=True)
    try:
        until(lambda: len(processes(process.pid)) >= 3 and semaphores(process.pid), "no worker was started")
        yield process
    finally:
        process.kill()
        process.wait()


def nothing_is_left(sweep: subprocess.Popen[bytes], output: Path) -> None:
    """Of a sweep that a signal ended, and nothing of Python's own is told."""
    until(lambda: not processes(sweep.pid), "a worker or the tracker lives on")
    assert not semaphores(sweep.pid)
    told = output.read_text()
    assert "Traceback" not in told, told
    assert "died unexpectedly" not in told, told  # The tracker.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.long
@pytest.mark.real
def test_nothing_outlives_a_sweep(number: signal.Signals, tmp_path: Path) -> None:
    with sweeping(tmp_path) as sweep:
        sweep.send_signal(number)
        sweep.wait(PATIENCE_S)
        nothing_is_left(sweep, tmp_path / "output")
        if number != signal.SIGKILL:
            assert b"interrupted by" in (tmp_path / "output").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.long
@pytest.mark.real
def test_a_signal_to_every_process_of_a_sweep_ends_it_like_one_to_itself(
    number: signal.Signals, tmp_path: Path
) -> None:
    """As a closed terminal and a service manager send it."""
    with sweeping(tmp_path) as sweep:
        os.killpg(sweep.pid, number)
        assert sweep.wait(PATIENCE_S) == 128 + number
        nothing_is_left(sweep, tmp_path / "output")


@pytest.mark.parametrize("gaps_s", [(0.005, 0.005), (0.15, 0.15)], ids=["at once", "while Python ends"])
@pytest.mark.long
@pytest.mark.real
def test_more_signals_change_neither_code_nor_what_is_told(gaps_s: tuple[float, ...], tmp_path: Path) -> None:
    with sweeping(tmp_path) as sweep:
        sweep.send_signal(signal.SIGTERM)
        for gap_s in gaps_s:
            time.sleep(gap_s)
            sweep.send_signal(signal.SIGTERM)
        assert sweep.wait(PATIENCE_S) == 128 + signal.SIGTERM
        nothing_is_left(sweep, tmp_path / "output")


def test_a_signal_that_another_thread_takes_waits_too() -> None:
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    steps = []

    def step() -> None:
        with raising_interrupts(), signals_waiting():
            os.kill(os.getpid(), signal.SIGTERM)  # To the process: this thread blocks it, the other one takes it.
            until(lambda: not pending(os.getpid(), signal.SIGTERM), "nobody took the signal")
            steps.append("not cut short")

    other.start()
    try:
        with pytest.raises(Interrupted) as interrupted:
            step()
    finally:
        ended.set()
        other.join()
    assert interrupted.value.number == signal.SIGTERM
    assert steps == ["not cut short"]


class Bell(threading.Condition):
    """Signals this process while whoever waits for it holds its lock, before Python lets go of that by itself."""

    def __enter__(self) -> bool:
        entered = super().__enter__()
        os.kill(os.getpid(), signal.SIGTERM)
        return entered


@pytest.mark.parametrize("use", ["result", "cancel"])
def test_a_signal_leaves_no_future_locked(use: str) -> None:
    future = interruptible(Future[None]())
    future._condition = Bell()

    def step() -> None:
        with raising_interrupts():
            getattr(future, use)()

    with pytest.raises(Interrupted):
        step()
    taken: list[bool] = []
    other = threading.Thread(target=lambda: taken.append(future._condition.acquire(blocking=False)))
    other.start()
    other.join()
    assert taken == [True]


def test_what_the_workers_and_other_executors_are_given_is_interruptible() -> None:
    with worker_pool(1) as workers, ThreadPoolExecutor(1) as threads:
        for executor in (workers, InterruptibleExecutor(threads)):
            future = executor.submit(pow, 2, 5)
            assert isinstance(future, InterruptibleFuture)
            assert future.result() == 32
            assert future.result(0) == 32


def test_an_interruptible_future_that_is_not_done_in_time_says_so() -> None:
    future: Future[None] = interruptible(Future())
    for timeout in (0.0, 0.25):
        with pytest.raises(TimeoutError):
            future.result(timeout)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()


def pending(pid: int, number: signal.Signals) -> bool:
    """Whether the process was sent the signal and no thread has taken it."""
    status = Path(f"/proc/{pid}/status").read_text()
    shared = next(line for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(shared.split()[1], 16) >> (number - 1) & 1)


def test_cleanup_knows_what_is_left_when_the_tracker_was_killed_too(tmp_path: Path) -> None:
    with sweeping(tmp_path) as sweep:
        assert not [left for left in shared_memory.find_leftovers() if left.pid == sweep.pid], "it still lives"
        names = semaphores(sweep.pid)
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
        until(lambda: not processes(sweep.pid), "a worker or the tracker lives on")
        found = [left for left in shared_memory.find_leftovers() if left.pid == sweep.pid]
        assert {Path(left.path).name for left in found} == set(names)
        assert [left.remove() for left in found] == [None] * len(found)
        assert not semaphores(sweep.pid)


def test_a_semaphore_of_a_living_process_and_one_of_another_program_are_no_leftovers(tmp_path: Path) -> None:
    mine = labelled_processes.identity(os.getpid()).replace(":", "-")
    for name in (f"sem.themis-{mine}-a", "sem.mp-abc", "sem.themis-x", "sem.themis-4194305-1-b"):
        (tmp_path / name).touch()
    assert [Path(left.path).name for left in shared_memory.find_leftovers(tmp_path)] == ["sem.themis-4194305-1-b"]
