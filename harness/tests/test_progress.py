"""Progress has a line of its own, which is gone before anything else is printed."""

from __future__ import annotations

import io
import time

import pytest

from harness.cli.progress import PLAIN_EVERY_S, TERMINAL_EVERY_S, ProgressLine, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_in_a_terminal_the_line_is_drawn_over_itself_and_cleared() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, "seed", 40, clock)
    line.show(1)
    line.clear()
    assert stream.getvalue() == ""
    for done in (10, 20):
        clock.now_s += TERMINAL_EVERY_S
        line.show(done)
        line.show(done + 1)
    line.clear()
    line.clear()
    erased = "\r\x1b[K"
    assert stream.getvalue().split(erased) == ["", "10 of 40 seeds, 20.0 a second", "20 of 40 seeds, 20.0 a second", ""]


def test_elsewhere_whole_lines_come_seldom() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, "seed", 4_000, clock)
    for second in range(int(2 * PLAIN_EVERY_S) + 1):
        clock.now_s = 100 + second
        line.show(second)
        line.clear()
    assert stream.getvalue() == "30 of 4000 seeds, 1.0 a second\n60 of 4000 seeds, 1.0 a second\n"


def test_long_work_is_told_in_a_terminal_and_the_line_is_gone_at_its_end() -> None:
    stream = Terminal()
    with waiting(stream, "linearizable: 2,000,000 events", silent_s=0.0):
        deadline_s = time.monotonic() + 30
        while not stream.getvalue():
            assert time.monotonic() < deadline_s
            time.sleep(0.001)
    assert "linearizable: 2,000,000 events: 0 s" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_short_work_and_work_that_nobody_looks_at_go_without_a_word() -> None:
    for stream in (Terminal(), io.StringIO()):
        with waiting(stream, "work", silent_s=0.0 if not stream.isatty() else 60.0):
            pass
        assert stream.getvalue() == ""


def test_what_is_longer_than_the_line_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps leaves its beginning behind when it is drawn again."""
    monkeypatch.setenv("COLUMNS", "20")
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, "seed", 1, clock)
    clock.now_s += 1
    line.show(1)
    assert stream.getvalue() == "\r\x1b[K1 of 1 seed, 1.0 a…"


def test_a_terminal_that_cannot_draw_over_a_line_gets_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, "seed", 40, clock)
    clock.now_s += PLAIN_EVERY_S
    line.show(30)
    assert stream.getvalue() == "30 of 40 seeds, 1.0 a second\n"
