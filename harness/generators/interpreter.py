"""Turns a generator and completions into invocations and a history, without I/O or a clock of its own.

Simulated and real runs share it: the driver passes the time in, starts what `poll` returns, and reports how it ended.
It keeps the two books that a history depends on: which thread is free, and which process each thread plays (a process
whose op ended `info` is never used again, because that op may still happen). A generator or a driver that breaks a
rule is told all that it broke at once; such a mistake stops the run, because a history recorded past it would prove
nothing.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec

from harness.generators.core import (
    Context,
    Generatable,
    Generator,
    GeneratorError,
    Invocation,
    Pending,
    lift,
)
from harness.generators.randomness import mixed
from histories.op import NEMESIS, Op, OpType, Process

_COMPLETIONS = frozenset(get_args(OpType)) - {"invoke"}


class InvalidCompletion(ValueError):
    """The driver reported an end that breaks rules. `problems`: each of them. Nothing was recorded."""

    def __init__(self, invocation: object, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"invalid completion of {invocation!r}: " + "; ".join(problems))


def _log_message(message: str) -> None:
    logging.getLogger("themis").info("%s", message)


class Interpreter:
    """One run's book-keeping. Not thread-safe: one driver calls it.

    After `poll` or `complete`:
    wake_ns: when `poll` must be called again at the latest if nothing completes; None: only a completion brings more.
    finished: the generator is exhausted and nothing is outstanding, or the run was aborted.
    needs_poll: after `complete`: `poll` may bring something before wake_ns, or say another wake_ns. Where it is false, a `poll`
    would change nothing: the simulation, which would pay for many, leaves it out.
    A completion may make new ops possible, so `poll` should follow it; `stop` sets wake_ns to the present for the
    same reason.
    """

    def __init__(
        self,
        generator: Generatable,
        *,
        concurrency: int,
        record: Callable[[Op], None],
        nodes: Sequence[str] = (),
        seed: int = 0,
        log: Callable[[str], None] = _log_message,
    ) -> None:
        """`record` gets each op as it happens; `log` the messages of generators.log. seed: decides which free thread
        gets an op."""
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be at least 1")
        self.wake_ns: int | None = 0
        self.finished = False
        self.needs_poll = True
        self._generator: Generator | None = lift(generator)
        self._nodes = tuple(nodes)
        self._record = record
        self._log = log
        self._concurrency = concurrency
        self._nemesis_bit = 1 << concurrency
        self._all = (self._nemesis_bit << 1) - 1
        self._free = self._all
        self._processes = tuple(range(concurrency))
        self._outstanding: dict[Process, Op] = {}
        self._sleepers: list[tuple[int, int]] = []
        """A heap of (when it wakes, its thread's bit)."""
        self._index = 0
        self._now_ns = 0
        self._word = mixed(seed)
        self._is_stopped = False
        self._is_aborted = False
        self._quiet: Generator | None = None
        self._quiet_until_ns = 0
        """Until when the generator `_quiet` has nothing to do."""

    @property
    def outstanding(self) -> Sequence[Op]:
        """The invocations that have not ended, in order."""
        return tuple(self._outstanding.values())

    def poll(self, now_ns: int) -> Sequence[Op]:
        """The invocations due now, already recorded. The driver starts each and calls `complete` exactly once for each.

        Raises GeneratorError when the generator offers what cannot be done; ValueError when time went backwards.
        """
        if now_ns < self._now_ns:
            raise ValueError(f"time went backwards: polled at {now_ns} ns after {self._now_ns} ns")
        self._now_ns = now_ns
        was_stopped = self._is_stopped
        due: list[Op] = []
        if self.finished:
            self.wake_ns = None
            return due
        sleepers = self._sleepers
        while sleepers and sleepers[0][0] <= now_ns:
            self._free |= heapq.heappop(sleepers)[1]
        wake_ns: int | None = None
        context: Context | None = None
        while self._generator is not None:
            if self._generator is not self._quiet:
                self._quiet, self._quiet_until_ns = self._generator, self._generator.quiet_until_ns
            if self._quiet_until_ns > now_ns and not self._is_stopped:
                wake_ns = self._quiet_until_ns
                break
            if context is None:
                context = self._context()
            step = self._generator.op(context)
            if step is None:
                self._generator = None
                break
            invocation, following = step
            if isinstance(invocation, Pending):
                self._generator = following
                if self._free == self._all:
                    raise GeneratorError(
                        f"the generator waits, with every thread free: nothing can come of {following!r}"
                    )
                break
            bit = self._bit_of_valid(invocation, context)
            time = invocation.time
            if time is not None and time > now_ns:
                wake_ns = time  # The generator stays as it was: a completion before then may change its mind.
                break
            self._word = mixed(self._word)
            self._generator = following
            match invocation.type:
                case "invoke":
                    context = self._invoke(invocation, bit, due)
                case "sleep":
                    self._free &= ~bit
                    heapq.heappush(sleepers, (now_ns + int(invocation.value), bit))
                    context = self._context()
                case "log":
                    self._log(str(invocation.value))
                    context = self._context()
        if sleepers and (wake_ns is None or sleepers[0][0] < wake_ns):
            wake_ns = sleepers[0][0]
        # A signal handler may have stopped us half-way, after the generator was asked: then it must be asked again at
        # once.
        self.wake_ns = wake_ns if self._is_stopped == was_stopped else now_ns
        if self._generator is None:
            self._see_whether_finished()
        return due

    def complete(
        self, now_ns: int, invocation: Op, type: OpType, value: Any = None, error: Any = None, node: str | None = None
    ) -> None:
        """Record how `invocation` ended. After `info` its process is replaced by process + concurrency.

        A nemesis' value may be a Struct; it is recorded as JSON-like data. After `abort` nothing is recorded.
        Raises InvalidCompletion with every broken rule.
        """
        if self._is_aborted:
            return
        process = invocation.process
        if (
            self._outstanding.get(process) is not invocation
            or type not in _COMPLETIONS
            or now_ns < self._now_ns
            or (process == NEMESIS and type != "info")
        ):
            raise InvalidCompletion(invocation, self._problems(now_ns, invocation, type))
        self._now_ns = now_ns
        del self._outstanding[process]
        if process == NEMESIS:
            # Sorted, because the order of a set of names changes with PYTHONHASHSEED, and the history must not.
            value = msgspec.to_builtins(value, order="deterministic")
            bit = self._nemesis_bit
        else:
            thread = process % self._concurrency
            bit = 1 << thread
        self._free |= bit
        event = Op(self._index, now_ns, type, process, invocation.f, invocation.key, value, error, node)
        self._index += 1
        self._record(event)
        if self._generator is not None:
            # The event comes before the replacement, so that a generator still sees the process that it speaks of.
            self._generator = self._generator.update(self._context(), event)
        if type == "info" and process != NEMESIS:
            self._processes = (
                *self._processes[:thread],
                process + self._concurrency,
                *self._processes[thread + 1 :],
            )
        generator = self._generator
        if generator is None:
            self.needs_poll = True
            self._see_whether_finished()
            return
        if generator is not self._quiet:
            self._quiet, self._quiet_until_ns = generator, generator.quiet_until_ns
        quiet_ns = self._quiet_until_ns
        self.needs_poll = quiet_ns <= now_ns or quiet_ns != self.wake_ns or self._is_stopped or bool(self._sleepers)

    def stop(self) -> None:
        """End the main phase: no more main ops; what follows it (heal, quiet period, final reads) still runs.

        Safe in a signal handler: it only leaves a mark that the next `poll` sees. Idempotent.
        """
        self._is_stopped = True
        if not self.finished:
            self.wake_ns = self._now_ns

    def abort(self) -> None:
        """The run is over at once: finished, nothing more is invoked or recorded, and what is outstanding never
        ends."""
        self._is_aborted = True
        self._generator = None
        self._outstanding.clear()
        self._sleepers.clear()
        self.finished = True
        self.wake_ns = None

    def _context(self) -> Context:
        return Context(self._now_ns, self._free, self._all, self._processes, self._nodes, self._word, self._is_stopped)

    def _bit_of_valid(self, invocation: Invocation, context: Context) -> int:
        """The bit of the thread that is to do it. Raises GeneratorError with every rule that it breaks."""
        # Every valid op passes this one test; `_broken` says which rules another op breaks.
        if type(invocation) is Invocation and invocation.f and type(invocation.time) is int:
            process = invocation.process
            if invocation.time >= self._now_ns and process is not None:
                if process == NEMESIS:
                    if self._free & self._nemesis_bit:
                        return self._nemesis_bit
                else:
                    thread = process % self._concurrency
                    if self._free >> thread & 1 and self._processes[thread] == process:
                        return 1 << thread
        raise GeneratorError(_broken(invocation, context))

    def _invoke(self, invocation: Invocation, bit: int, due: list[Op]) -> Context:
        """Begin it: recorded, due, and known to the generator. The context after it."""
        process = invocation.process
        assert process is not None, "checked by _bit_of_valid"
        op = Op(self._index, self._now_ns, "invoke", process, invocation.f, invocation.key, invocation.value)
        self._index += 1
        self._free &= ~bit
        self._outstanding[process] = op
        self._record(op)
        due.append(op)
        context = self._context()
        if self._generator is not None:
            self._generator = self._generator.update(context, op)
        return context

    def _see_whether_finished(self) -> None:
        if self._generator is None and not self._outstanding and not self._sleepers:
            self.finished = True
            self.wake_ns = None

    def _problems(self, now_ns: int, invocation: Op, type: str) -> list[str]:
        problems = []
        outstanding = self._outstanding.get(invocation.process)
        if outstanding is None:
            problems.append(f"process {invocation.process} has no op outstanding (each is completed exactly once)")
        elif outstanding is not invocation:
            problems.append(f"process {invocation.process} has another op outstanding: {outstanding!r}")
        if type not in _COMPLETIONS:
            problems.append(f"type is {type!r}; it must be one of {', '.join(sorted(_COMPLETIONS))}")
        if invocation.process == NEMESIS and type != "info":
            problems.append(f"a nemesis op ends info, not {type}")
        if now_ns < self._now_ns:
            problems.append(f"time went backwards: {now_ns} ns after {self._now_ns} ns")
        return problems


def _broken(invocation: object, context: Context) -> str:
    """Every rule that this answer of a generator breaks, in words."""
    if not isinstance(invocation, Invocation):
        return f"invalid op from the generator: {invocation!r} is not an Invocation"
    problems = []
    if not (isinstance(invocation.f, str) and invocation.f):
        problems.append(f"f is {invocation.f!r}; it must be a word")
    if not isinstance(invocation.time, int):
        problems.append(f"time is {invocation.time!r}; it must be ns since the run began")
    elif invocation.time < context.now_ns:
        problems.append(f"time is {invocation.time} ns, which has passed: it is {context.now_ns} ns")
    if invocation.process is None:
        problems.append("process is None: op() fills it in")
    elif not context.is_free(invocation.process):
        problems.append(f"process {invocation.process!r} is not free: {context.free_threads()} are the free threads")
    return f"invalid op from the generator: {invocation!r}: " + "; ".join(problems)
