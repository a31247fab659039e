"""Moves the clocks of programs outside the project by libfaketime. The library is loaded before a program's own libraries and
answers in place of the system's clock. Our own nodes have a clock hook and need none of this.

Each node has a file that says what to add to its clock; real.agent.ClockFiles writes it. The library opens the file again at every
reading of a clock (FAKETIME_NO_CACHE), so that the clock of a running program moves.

Only the wall clock is moved (FAKETIME_DONT_FAKE_MONOTONIC). Measured with version 0.9.10 and Python 3.11: the monotonic clock, and
the waits of select, poll, epoll and of condition variables, keep true time over jumps in both directions, so that timers neither
hang nor fire early. If the library moved the monotonic clock too, a jump back would hang event loops for as long, and waits on
condition variables would hang without any jump. One thing breaks: up to 0.9.10 an absolute sleep on the monotonic clock
(clock_nanosleep with TIMER_ABSTIME: Python's time.sleep since 3.11) fails with EINVAL. So a program is started with the library
only in runs that move clocks; in all others it runs as it is.

A program that is linked statically, or that asks the kernel by itself (Go), never sees the library.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from harness.environments.base import EnvironmentUnavailable
from harness.environments.real.agent_clients import at_once
from harness.environments.real.clock_offsets import ClockReader, ClockReading, Exchange, shortest
from harness.environments.real.executor import ExecutorFailed, Ran
from nemesis.capabilities import FaultError, NodeId, ProcessState
from targets.target import Program
from targets.timekeeping import Reading

FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib")
LIBRARY = "libfaketime.so.1"
INSTALL = "apt-get install libfaketime"
DATE_NS_MAX = 30_000_000
"""A `date` that took longer is asked again."""
RATE_MIN, RATE_MAX = 0.001, 1000.0

Run = Callable[[Sequence[str]], Ran]
"""A command, run to its end where the nodes will be. Raises ExecutorFailed when it could not be started."""


Keeper = Callable[[Mapping[NodeId, tuple[int | None, float | None]]], None]
"""Has the files of these nodes' clocks written: offset in ns and rate, None where it stays. See real.agent.ClockFiles.set."""


def find_library(program: Program, run: Run, where: str) -> str:
    """The path of the library. Raises EnvironmentUnavailable with what to do where the program's clock cannot be moved."""
    if not program.asks_libc_for_time:
        raise EnvironmentUnavailable(
            f"the clock of {program.name} cannot be moved: it does not ask libc for the time, so libfaketime is of no use"
        )
    return installed_library(run, where)


def installed_library(run: Run, where: str) -> str:
    """The path of the library. Raises EnvironmentUnavailable with the command that installs it."""
    try:
        found = run(["find", *FOLDERS, "-name", LIBRARY]).text.split()
    except ExecutorFailed as error:
        raise EnvironmentUnavailable(f"{where}: {error}") from None
    if not found:
        raise EnvironmentUnavailable(
            f"{where}: {LIBRARY}, which moves the clocks of programs, is not installed: {INSTALL}"
        )
    return found[0]


def variables(library: str, file: str) -> dict[str, str]:
    """The environment variables to add for a program whose clock `file` moves."""
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": file,
        "FAKETIME_NO_CACHE": "1",
        # The name that it had before version 0.9.9 as well: a version ignores the one it does not know.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


class Told(Protocol):
    """Reads the clocks of those of these nodes whose status tells it."""

    def clocks(self, nodes: Collection[NodeId]) -> Mapping[NodeId, ClockReading]: ...


class FaketimeClocks(ClockReader):
    """Implements NodeClocks of harness.environments.real.node_clocks for programs that were started with `variables`."""

    apart_s = 0.5

    def __init__(
        self,
        libraries: Mapping[NodeId, str],
        file: Callable[[NodeId], str],
        keep: Keeper,
        run: Callable[[NodeId, Sequence[str]], Ran],
        states: Callable[[], Mapping[NodeId, ProcessState]],
        access: Told,
        origin: Reading,
    ) -> None:
        """file: the path of the node's file, on its machine; nobody else writes it. run: a command, on a node's machine.
        states: only the clocks of nodes that run are measured."""
        self._libraries = libraries
        self._file = file
        self._keep = keep
        self._run = run
        self._states = states
        self._access = access
        self._origin = origin

    def variables(self, node: NodeId) -> dict[str, str]:
        """The environment variables to add for the node's program, which starts now; the node's file exists on return."""
        self._keep({node: (None, None)})
        return variables(self._libraries[node], self._file(node))

    def resumed(self, nodes: Collection[NodeId]) -> None:
        """These run again after a pause: the library reads their files anew by itself."""

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """The nodes' clocks are so far off."""
        self._keep({node: (ns, None) for node, ns in offset_ns.items()})

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """The nodes' clocks run at these rates."""
        for node, by in rate.items():
            if not RATE_MIN <= by <= RATE_MAX:
                raise FaultError(f"{node}: rate: {by} is not between {RATE_MIN:g} and {RATE_MAX:g}")
        self._keep({node: (None, by) for node, by in rate.items()})

    def heal(self) -> None:
        """Every clock is true again."""
        self._keep(dict.fromkeys(self._libraries, (0, 1.0)))

    def _read(self) -> dict[NodeId, ClockReading | None]:
        # By what the program itself says its clock shows, or else by a `date` that sees what it sees.
        states = self._states()
        running = [node for node in self._libraries if states[node] == "running"]
        told = self._access.clocks(running)
        asked = at_once({node: self._asking(node) for node in running if node not in told})
        return {node: told.get(node) or asked.get(node) for node in self._libraries}

    def _asking(self, node: NodeId) -> Callable[[], ClockReading]:
        words = [f"{name}={value}" for name, value in variables(self._libraries[node], self._file(node)).items()]

        def ask() -> Exchange:
            asked_ns = time.monotonic_ns()
            said = self._run(node, ["env", *words, "date", "+%s%N"]).checked(node)
            return Exchange(int(said.text), asked_ns, time.monotonic_ns())

        def work() -> ClockReading:
            # On a busy machine, a process takes long to start.
            return shortest(ask, enough_ns=DATE_NS_MAX).reading(self._origin)

        return work
