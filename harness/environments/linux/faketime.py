"""Clocks of programs outside the project, by libfaketime: a library that is loaded before a program's own and answers it for
the system's clock. Our own nodes have a clock hook and need none of this.

Each node has a file that says what to add to its clock; the library reads it again at every call (FAKETIME_NO_CACHE), so that
the clock of a running program moves. The monotonic clock and the time-outs of select, poll and epoll keep true time; sleeps
until an absolute time (clock_nanosleep, as Python's time.sleep does it) move with the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from harness.environments.linux.agents import at_once
from harness.environments.linux.executor import RUN_TIMEOUT_S
from harness.environments.linux.firewall import Runner
from nemesis.capabilities import FaultError, NodeId
from targets.timekeeping import NodeClock, Reading

FOLDERS = ("/usr/lib", "/usr/local/lib", "/lib")
LIBRARY = "libfaketime.so.1"
READINGS_APART_S = 0.5


def library(runner: Runner, node: NodeId) -> str:
    """Where the library is on this node. Raises FaultError when it is not installed."""
    found = runner.run(node, ["find", *FOLDERS, "-name", LIBRARY]).text.split()
    if not found:
        raise FaultError(
            f"{node} has no {LIBRARY}, which moves the clocks of its programs: apt-get install libfaketime"
        )
    return found[0]


def setting(offset_ns: int, rate: float) -> str:
    """What the library reads: an offset in seconds, and a rate from its start on."""
    seconds = f"{'-' if offset_ns < 0 else '+'}{abs(offset_ns) // 10**9}.{abs(offset_ns) % 10**9:09d}"
    return f"{seconds}\n" if rate == 1.0 else f"{seconds} x{rate:g}\n"


class FaketimeClocks:
    """Implements nemesis.capabilities.Clocks for the programs that were started with `environment`.

    The library counts a rate from when the program began, so a changed rate comes with a jump back by what had been gained.
    """

    def __init__(
        self,
        runner: Callable[[], Runner],
        files: Mapping[NodeId, str],
        states: Callable[[], Collection[NodeId]],
        origin: Reading,
    ) -> None:
        """files: node -> a path there that nobody else writes. states: the nodes that run now; the others' clocks are
        not measured."""
        self._runner = runner
        self._files = files
        self._running = states
        self._origin = origin
        self._wanted = {node: NodeClock(origin) for node in files}
        self._libraries: dict[NodeId, str] = {}

    def environment(self, node: NodeId) -> dict[str, str]:
        """What to add to the environment of the node's program. Raises FaultError where the library is missing."""
        if node not in self._libraries:
            self._libraries[node] = library(self._runner(), node)
            self._write({node})
        return {
            "LD_PRELOAD": self._libraries[node],
            "FAKETIME_TIMESTAMP_FILE": self._files[node],
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """See Clocks."""
        for node, ns in offset_ns.items():
            self._wanted[node].set_offset_ns(ns)
        self._write(offset_ns)

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """See Clocks."""
        for node, by in rate.items():
            try:
                self._wanted[node].set_rate(by)
            except ValueError as error:
                raise FaultError(f"{node}: {error}") from None
        self._write(rate)

    def heal(self) -> None:
        """See Clocks."""
        for clock in self._wanted.values():
            clock.set_rate(1.0)
            clock.set_offset_ns(0)
        self._write(self._wanted)

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        """See Clocks; measured by a `date` that sees what the program sees."""
        return {node: None if reading is None else reading[0] for node, reading in self._read().items()}

    def rates(self) -> Mapping[NodeId, float | None]:
        """See Clocks."""
        first = self._read()
        time.sleep(READINGS_APART_S)
        second = self._read()
        rates: dict[NodeId, float | None] = {}
        for node, then in first.items():
            now = second[node]
            rates[node] = None if then is None or now is None else 1 + (now[0] - then[0]) / (now[1] - then[1])
        return rates

    def _write(self, nodes: Collection[NodeId]) -> None:
        def writing(node: NodeId) -> Callable[[], None]:
            clock = self._wanted[node]
            text = setting(clock.now_ns() - clock.true_ns(), clock.rate)

            def work() -> None:
                # Not renamed into place: the library keeps the file open, and reads it in one piece.
                self._runner().run(node, ["tee", self._files[node]], stdin=text.encode()).checked(node)

            return work

        at_once({node: writing(node) for node in nodes})

    def _read(self) -> dict[NodeId, tuple[int, int] | None]:
        running = set(self._running())

        def reading(node: NodeId) -> Callable[[], tuple[int, int]]:
            variables = [f"{name}={value}" for name, value in self.environment(node).items()]

            def work() -> tuple[int, int]:
                asked_ns = time.monotonic_ns()
                said = (
                    self._runner()
                    .run(node, ["env", *variables, "date", "+%s%N"], timeout_s=RUN_TIMEOUT_S)
                    .checked(node)
                )
                middle_ns = (asked_ns + time.monotonic_ns()) // 2
                true_ns = self._origin.wall_ns + middle_ns - self._origin.monotonic_ns
                return int(said.text) - true_ns, middle_ns

            return work

        answers = at_once({node: reading(node) for node in sorted(running & self._files.keys())})
        return {node: answers.get(node) for node in self._files}
