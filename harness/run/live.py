"""What a person sees while a run is under way: a line that renews itself on a terminal, one line every five seconds
elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from histories.op import NEMESIS, Op

REFRESH_S = 0.5
PLAIN_INTERVAL_S = 5.0
_NS_PER_S = 1_000_000_000


class Progress:
    """What has happened so far. Written by the thread that records, read by the one that shows: plain counters need
    no lock."""

    def __init__(self, time_limit_s: float) -> None:
        self.time_limit_s = time_limit_s
        self.ok = self.fail = self.info = self.faults = 0
        self.time_ns = 0

    def note(self, op: Op) -> None:
        """Count an op that was recorded."""
        self.time_ns = op.time
        if op.process == NEMESIS:
            self.faults += op.type == "info"
        elif op.type == "ok":
            self.ok += 1
        elif op.type == "fail":
            self.fail += 1
        elif op.type == "info":
            self.info += 1

    @property
    def ended(self) -> int:
        """Client ops that have ended, however they did."""
        return self.ok + self.fail + self.info


class View:
    """Turns a Progress into lines; the rate is that since the line before."""

    def __init__(self, progress: Progress, fault_in_force: Callable[[], str], leader: Callable[[], str | None]) -> None:
        self._progress = progress
        self._fault_in_force = fault_in_force
        self._leader = leader
        self._seen = 0
        self._seen_ns = 0
        self._rate_hz = 0.0

    def line(self) -> str:
        """The state of the run in one line. Asks the live system for its leader, so it may take as long as that
        takes."""
        progress = self._progress
        ended, now_ns = progress.ended, progress.time_ns
        if now_ns > self._seen_ns:
            self._rate_hz = (ended - self._seen) * _NS_PER_S / (now_ns - self._seen_ns)
            self._seen, self._seen_ns = ended, now_ns
        return (
            f"{now_ns / _NS_PER_S:6.1f} s of {progress.time_limit_s:g}  {self._rate_hz:6.0f} ops/s  "
            f"ok {progress.ok}  fail {progress.fail}  info {progress.info}  "
            f"fault: {_asked(self._fault_in_force) or 'none'}  leader: {_asked(self._leader) or 'none'}"
        )


def _asked(question: Callable[[], str | None]) -> str | None:
    """The answer; "?" when it cannot be had. The run must never fail because someone watches it."""
    try:
        return question()
    except Exception:  # noqa: BLE001 - whatever a cluster under faults raises, it only means that nobody knows
        return "?"


@contextmanager
def watched(
    progress: Progress,
    fault_in_force: Callable[[], str],
    leader: Callable[[], str | None],
    stream: TextIO | None = None,
) -> Iterator[None]:
    """While inside, the run's state is shown on `stream` (None: standard error), from a thread of its own.

    On a terminal it is one line that renews itself and is gone at the end; elsewhere a line every PLAIN_INTERVAL_S.
    """
    stream = stream or sys.stderr
    view, over = View(progress, fault_in_force, leader), threading.Event()
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
