"""Clocks of programs that are not ours: what the files say, what libfaketime makes of them, and where it cannot be had.

Those that need libfaketime itself are marked `linux`, as what installs it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.environments.base import EnvironmentUnavailable
from harness.environments.real import faketime
from harness.environments.real.agent import ClockFiles, forget_faketime
from harness.environments.real.clock_offsets import ClockReading
from harness.environments.real.executor import ExecutorFailed, Ran, run_here
from harness.environments.real.faketime import FaketimeClocks
from harness.tests.outside import TARGET, OutsideTarget
from nemesis.capabilities import FaultError
from targets.timekeeping import Reading

SECOND = 10**9
NEAR_NS = SECOND // 10


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


# --- the files --------------------------------------------------------------------------------------------------------


def offset_ns(path: Path) -> int:
    """What the file says, as the library reads it."""
    found = re.fullmatch(r"([+-])(\d+)\.(\d{9})\n", path.read_text())
    assert found is not None, path.read_text()
    sign, seconds, ns = found.groups()
    return (-1 if sign == "-" else 1) * (int(seconds) * SECOND + int(ns))


@pytest.mark.parametrize(
    ("offset", "text"),
    [(0, "+0.000000000\n"), (-1_500_000_000, "-1.500000000\n"), (7, "+0.000000007\n"), (-1, "-0.000000001\n")],
)
def test_a_file_says_the_offset_in_seconds_with_its_sign(tmp_path: Path, offset: int, text: str) -> None:
    ClockFiles().set(str(tmp_path / "new" / "clock"), offset, None)
    assert (tmp_path / "new" / "clock").read_text() == text


def test_a_clock_drifts_from_where_it_is_and_stays_where_it_got(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    files = ClockFiles()
    files.set(str(path), 5 * SECOND, None)
    began_ns = time.monotonic_ns()
    files.set(str(path), None, 3.0)
    until(lambda: offset_ns(path) > 5 * SECOND + SECOND // 5)
    files.set(str(path), None, 1.0)
    gained_ns = offset_ns(path) - 5 * SECOND
    assert SECOND // 5 < gained_ns <= 2 * (time.monotonic_ns() - began_ns)
    until(lambda: files._thread is None)
    assert offset_ns(path) == gained_ns + 5 * SECOND
    files.set(str(path), 0, 1.0)
    assert offset_ns(path) == 0


def test_what_a_killed_program_left_is_forgotten_and_nothing_else() -> None:
    process = subprocess.Popen(["sleep", "0"])
    process.wait()
    left = [Path(f"/dev/shm/{name}{process.pid}") for name in ("faketime_shm_", "sem.faketime_sem_")]
    other = Path(f"/dev/shm/faketime_shm_{process.pid}0")
    try:
        for path in (*left, other):
            path.touch()
        forget_faketime(process.pid)
        assert [path.exists() for path in (*left, other)] == [False, False, True]
        forget_faketime(process.pid)
    finally:
        other.unlink()


# --- where it can be had ----------------------------------------------------------------------------------------------


def test_a_missing_library_is_named_with_the_command_that_mends_it() -> None:
    def run(argv: Sequence[str]) -> Ran:
        return Ran(tuple(argv), 1, b"", b"find: /usr/lib64: No such file or directory")

    with pytest.raises(EnvironmentUnavailable, match=r"n1: libfaketime.so.1, .*: apt-get install libfaketime"):
        faketime.find_library(TARGET, run, "n1")


def test_a_library_is_found_although_one_of_the_folders_is_missing() -> None:
    def run(argv: Sequence[str]) -> Ran:
        return Ran(tuple(argv), 1, b"/usr/lib/a/libfaketime.so.1\n/usr/lib/b/libfaketime.so.1\n", b"find: no /lib64")

    assert faketime.find_library(TARGET, run, "n1") == "/usr/lib/a/libfaketime.so.1"


def test_a_machine_that_cannot_be_asked_is_named() -> None:
    def run(argv: Sequence[str]) -> Ran:
        raise ExecutorFailed("the command find is not installed")

    with pytest.raises(EnvironmentUnavailable, match="n1: the command find is not installed"):
        faketime.find_library(TARGET, run, "n1")


def test_a_program_that_does_not_ask_libc_is_not_promised_anything() -> None:
    class Static(OutsideTarget):
        asks_libc_for_time = False

    with pytest.raises(EnvironmentUnavailable, match="the clock of outside cannot be moved"):
        faketime.find_library(Static(), run_here, "n1")


# --- the clocks -------------------------------------------------------------------------------------------------------


class Telling:
    """Implements faketime.Told: what the nodes' programs say of their clocks."""

    def __init__(self) -> None:
        self.says: dict[str, ClockReading] = {}

    def clocks(self, nodes: Collection[str]) -> Mapping[str, ClockReading]:
        return {node: self.says[node] for node in nodes if node in self.says}


class Bench:
    """Two nodes on this machine, of which `running` run."""

    def __init__(self, directory: Path, run: faketime.Run = run_here, library: str = "lib.so") -> None:
        self.running = {"n1", "n2"}
        self.telling = Telling()
        self.directory = directory
        self.origin = Reading.now()
        self._files = ClockFiles()
        self.clocks = FaketimeClocks(
            libraries={"n1": library, "n2": library},
            file=lambda node: str(directory / node),
            keep=self._keep,
            run=lambda _, argv: run(argv),
            states=lambda: {node: "running" if node in self.running else "dead" for node in ("n1", "n2")},
            access=self.telling,
            origin=self.origin,
        )

    def _keep(self, settings: Mapping[str, tuple[int | None, float | None]]) -> None:
        for node, (offset, rate) in settings.items():
            self._files.set(str(self.directory / node), offset, rate)


def test_a_clock_is_what_the_program_says_and_else_what_a_date_beside_it_says(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> Ran:
        asked.append(argv)
        return Ran(tuple(argv), 0, str(bench.origin.true_ns() + 7 * SECOND).encode())

    bench = Bench(tmp_path, run)
    bench.telling.says["n1"] = (3 * SECOND, time.monotonic_ns())
    found = bench.clocks.offsets_ns()
    assert found["n1"] == 3 * SECOND
    assert found["n2"] == pytest.approx(7 * SECOND, abs=NEAR_NS)
    assert len(asked) == 1
    assert "LD_PRELOAD=lib.so" in asked[0]
    assert f"FAKETIME_TIMESTAMP_FILE={tmp_path / 'n2'}" in asked[0]
    bench.running.clear()
    assert bench.clocks.offsets_ns() == {"n1": None, "n2": None}
    assert len(asked) == 1, "nobody asks a dead node"


def test_what_is_asked_is_in_the_files_and_a_start_keeps_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.clocks.variables("n1")["FAKETIME_TIMESTAMP_FILE"] == str(tmp_path / "n1")
    assert offset_ns(tmp_path / "n1") == 0, "the file is there before the program"
    bench.clocks.set_offset({"n1": -5 * SECOND, "n2": SECOND})
    bench.clocks.variables("n1")
    assert (offset_ns(tmp_path / "n1"), offset_ns(tmp_path / "n2")) == (-5 * SECOND, SECOND)
    with pytest.raises(FaultError, match=r"n1: rate: 0 is not between 0\.001 and 1000"):
        bench.clocks.set_rate({"n1": 0})
    bench.clocks.heal()
    assert (offset_ns(tmp_path / "n1"), offset_ns(tmp_path / "n2")) == (0, 0)


PROGRAM = """
import asyncio, select, sys, threading, time

condition = threading.Condition()

def waits():
    select.select([], [], [], 0.02)
    asyncio.run(asyncio.sleep(0.02))
    with condition:
        condition.wait(0.02)

while True:
    waits()
    print(time.time_ns(), time.monotonic_ns(), flush=True)
"""


class Watched:
    """A program that waits in every way that Python has but one, and tells its clocks after each round."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
        )

    def tell(self) -> tuple[int, int]:
        """Its wall clock and monotonic clock, after one more round."""
        assert self.process.stdout is not None
        wall, monotonic = self.process.stdout.readline().split()
        return int(wall), int(monotonic)

    def rounds_until(self, is_so: Callable[[int, int], bool]) -> None:
        """Each round takes what it takes without libfaketime, whatever the wall clock does meanwhile."""
        deadline_s = time.monotonic() + 10
        wall, before = self.tell()
        while not is_so(wall, before):
            wall, monotonic = self.tell()
            assert 0.05 * SECOND < monotonic - before < 2 * SECOND
            assert abs(monotonic - time.monotonic_ns()) < 2 * SECOND, "the monotonic clock is the machine's"
            assert time.monotonic() < deadline_s
            before = monotonic


@contextmanager
def watched(variables: Mapping[str, str]) -> Iterator[Watched]:
    program = Watched(variables)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()
        assert program.process.stdout is not None
        program.process.stdout.close()
        forget_faketime(program.process.pid)


@pytest.mark.linux
@pytest.mark.real
def test_the_wall_clock_of_a_running_program_moves_and_its_waits_do_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, library=faketime.find_library(TARGET, run_here, "this machine"))

    def shows(offset: int) -> Callable[[int, int], bool]:
        return lambda wall, monotonic: (
            abs(wall - bench.origin.wall_ns - (monotonic - bench.origin.monotonic_ns) - offset) < NEAR_NS
        )

    with watched(bench.clocks.variables("n1")) as program:
        program.rounds_until(shows(0))
        for seconds in (100, -100, 3600, 0):
            bench.clocks.set_offset({"n1": seconds * SECOND})
            program.rounds_until(shows(seconds * SECOND))
        bench.clocks.set_rate({"n1": 2.0})
        assert bench.clocks.rates()["n1"] == pytest.approx(2.0, abs=0.1), "as a date that is started now sees it"
        program.rounds_until(lambda wall, monotonic: not shows(0)(wall, monotonic))
        assert bench.clocks.rates()["n2"] == pytest.approx(1.0, abs=0.04)
        bench.clocks.heal()
        program.rounds_until(shows(0))
    assert bench.clocks.offsets_ns()["n1"] == pytest.approx(0, abs=NEAR_NS)
