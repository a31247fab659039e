"""Shows a person how a run goes on: one line that renews itself on a terminal, one line every five seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from histories.faults import Begun, FaultResult, fault_result
from histories.op import Op, Process
from histories.printing import line
from histories.units import NS_PER_S

REFRESH_S = 0.5
PLAIN_INTERVAL_S = 5.0
LATENCIES_MAX = 1000
"""The latency shown is of so many of the latest ops that ended ok."""
ERRORS_MAX = 200
"""The error shown is the commonest of so many of the latest ops that did not end ok."""
FAULTS_MAX = 2
"""So many faults are named; of more there is only a number, so that they hide nothing else."""
WORDS_MAX = 32
"""The length of an error, and of a fault's nodes, in characters."""
MAIN, HEAL, QUIET, FINAL = "main", "heal", "quiet", "final ops"
"""The activities in which clients and the nemesis do ops, and the nodes can be asked who leads."""


class Progress:
    """What has happened so far. The thread that records writes it, the thread that shows reads it: plain counters need no lock.

    activity: what the run is doing, in a word or two.
    """

    def __init__(self, time_limit_s: float) -> None:
        self.time_limit_s = time_limit_s
        self.activity = "start"
        self.ok = self.fail = self.info = self.faults = 0
        self.time_ns = 0
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_MAX)
        self.errors: deque[str] = deque(maxlen=ERRORS_MAX)
        self.in_force: dict[str, str] = {}
        """Fault id -> what it is, of those that were begun and are not over; replaced, never changed."""
        self.fault_op = ""
        """The fault op that is being done now; empty when none is."""
        self._left: dict[str, set[str]] = {}
        self._invoked_ns: dict[Process, int] = {}

    def enter(self, activity: str) -> None:
        """The run does `activity` from now on."""
        self.activity = activity

    def note(self, op: Op) -> None:
        """Count an op that was recorded."""
        self.time_ns = op.time
        if not op.is_client:
            self.fault_op = op.f if op.type == "invoke" else ""
            if (result := fault_result(op)) is not None:
                self._note_faults(result)
        elif op.type == "invoke":
            self._invoked_ns[op.process] = op.time
        else:
            invoked_ns = self._invoked_ns.pop(op.process, op.time)
            if op.type == "ok":
                self.ok += 1
                self.latencies_ns.append(op.time - invoked_ns)
                return
            self.fail += op.type == "fail"
            self.info += op.type == "info"
            self.errors.append(_error_word(op.error))

    def _note_faults(self, result: FaultResult) -> None:
        in_force = dict(self.in_force)
        for begun in result.begins:
            self.faults += begun.id not in self._left
            self._left.setdefault(begun.id, set(begun.nodes))
            in_force[begun.id] = _title(begun)
        for ended in result.ends:
            left = self._left.get(ended.id, set())
            left -= {node for node, lift in ended.nodes.items() if lift.lifted_ns is not None}
            if not left:
                in_force.pop(ended.id, None)
        self.in_force = in_force

    @property
    def ended(self) -> int:
        """How many client ops have ended, with any type."""
        return self.ok + self.fail + self.info


class View:
    """Turns a Progress into lines; the rate counts from the line before."""

    def __init__(self, progress: Progress, leader: Callable[[], str | None]) -> None:
        self._progress = progress
        self._leader = leader
        self._seen = 0
        self._seen_ns = 0
        self._rate_hz = 0.0
        self._activity = ""
        self._since_s = 0.0

    def line(self) -> str:
        """The state of the run in one line, what matters most first. Asks the live system for its leader, so it may take as
        long as that takes."""
        progress = self._progress
        ended, now_ns = progress.ended, progress.time_ns
        if progress.activity != self._activity:
            self._activity, self._since_s = progress.activity, time.monotonic()
        if now_ns > self._seen_ns:
            self._rate_hz = (ended - self._seen) * NS_PER_S / (now_ns - self._seen_ns)
            self._seen, self._seen_ns = ended, now_ns
        parts = [
            f"{now_ns / NS_PER_S:6.1f} s of {progress.time_limit_s:g}",
            progress.activity,
            f"{self._rate_hz:.0f} ops/s",
            f"ok {progress.ok}  fail {progress.fail}  info {progress.info}",
        ]
        if progress.latencies_ns:
            latencies_ns = sorted(progress.latencies_ns)
            median_ns, worst_ns = latencies_ns[len(latencies_ns) // 2], latencies_ns[len(latencies_ns) * 99 // 100]
            parts.append(f"latency {_ms(median_ns)} ms, 99% {_ms(worst_ns)} ms")
        if progress.activity not in (MAIN, HEAL, QUIET, FINAL):
            parts[1] += f" for {time.monotonic() - self._since_s:.0f} s"
            return "  ".join(parts)
        parts += [f"leader: {_asked(self._leader) or 'none'}", f"faults: {_faults(progress)}"]
        if progress.errors:
            word, count = Counter(progress.errors).most_common(1)[0]
            parts.append(f"errors: {word} ({count} of the last {len(progress.errors)})")
        return "  ".join(parts)


def _faults(progress: Progress) -> str:
    """The faults in force, the latest first, and what the nemesis is doing now."""
    titles = list(progress.in_force.values())[::-1]
    told = ", ".join(titles[:FAULTS_MAX]) or "none"
    more = f" and {len(titles) - FAULTS_MAX} more" if len(titles) > FAULTS_MAX else ""
    return f"{told}{more}" + (f" (doing {_short(progress.fault_op)})" if progress.fault_op else "")


def _title(begun: Begun) -> str:
    return f"{_short(begun.name)} {_short(begun.what or ' '.join(begun.nodes))}"


def _error_word(error: Any) -> str:
    """Why an op did not end ok, in a word or two."""
    if isinstance(error, list | tuple) and error:
        error = error[0]
    return _short(str(error)) if error is not None else "no reason given"


def _short(text: str) -> str:
    text = line(text, 10 * WORDS_MAX)
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…"


def _asked(question: Callable[[], str | None]) -> str | None:
    """The answer; "?" when asking raises. The run must never fail because someone watches it."""
    try:
        answer = question()
        return None if answer is None else _short(answer)
    except Exception:  # noqa: BLE001 - whatever a cluster under faults raises, it only means that nobody knows
        return "?"


@contextmanager
def watched(progress: Progress, leader: Callable[[], str | None], stream: TextIO | None = None) -> Iterator[None]:
    """While inside, a thread shows the run's state on `stream` (None: standard error).

    On a terminal it is one line that renews itself and disappears at the end; elsewhere a new line every PLAIN_INTERVAL_S.
    """
    stream = stream or sys.stderr
    view, over = View(progress, leader), threading.Event()
    show: Callable[[View, threading.Event, TextIO], None]
    show = _show_on_terminal if stream.isatty() else _show_plainly
    watcher = threading.Thread(target=show, args=(view, over, stream), name="themis-live", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(timeout=5.0)  # It may be asking a node that does not answer; it is a daemon and can be left.


def _show_on_terminal(view: View, over: threading.Event, stream: TextIO) -> None:
    console = Console(file=stream)
    with Live(Text(""), console=console, auto_refresh=False, transient=True) as live:
        while not over.wait(REFRESH_S):
            live.update(Text(view.line(), no_wrap=True, overflow="ellipsis"), refresh=True)


def _show_plainly(view: View, over: threading.Event, stream: TextIO) -> None:
    due_s = time.monotonic() + PLAIN_INTERVAL_S
    while not over.wait(max(0.0, due_s - time.monotonic())):
        due_s += PLAIN_INTERVAL_S
        click.echo(f"themis: {view.line().strip()}", file=stream)


def _ms(ns: int) -> str:
    """Three digits of it, or the whole number where that has more."""
    return f"{ns / 1e6:.3g}" if ns < 999.5 * 1e6 else f"{ns / 1e6:.0f}"
