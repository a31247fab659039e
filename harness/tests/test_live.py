"""The live line says what happened, and never disturbs the run."""

from __future__ import annotations

import io
import threading

import pytest

from harness.run import live
from harness.run.live import Progress, View, watched
from histories.builder import h


def progress() -> Progress:
    progress = Progress(30.0)
    for op in h(
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 fail read | p2 invoke read | p2 info read | "
        "nemesis invoke kill | nemesis info kill"
    ):
        progress.note(op)
    return progress


def test_the_line_counts_what_ended() -> None:
    line = View(progress(), lambda: "partition n1 | n2 n3", lambda: "n2").line()
    assert "ok 1  fail 1  info 1" in line
    assert "fault: partition n1 | n2 n3  leader: n2" in line
    assert "429 ops/s" in line, "three ops in seven milliseconds"


def test_the_rate_is_that_since_the_line_before() -> None:
    seen = progress()
    view = View(seen, lambda: "", lambda: None)
    view.line()
    for op in h("p0 invoke read | p0 ok read 1"):
        seen.note(op)
    seen.time_ns = 1_007_000_000
    line = view.line()
    assert "     1 ops/s" in line
    assert "fault: none  leader: none" in line


def test_a_cluster_that_does_not_answer_is_a_question_mark() -> None:
    def raises() -> str:
        raise OSError("no one answers")

    assert "fault: ?  leader: ?" in View(progress(), raises, raises).line()


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal, and when something was written."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        if "ok 1" in text:
            self.written.set()
        return super().write(text)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_is_shown_while_the_run_is_under_way(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_S", 0.01)
    monkeypatch.setattr(live, "PLAIN_INTERVAL_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal(is_terminal)
    with watched(progress(), lambda: "", lambda: "n1", stream):
        assert stream.written.wait(10)
    assert ("\x1b[" in stream.getvalue()) is is_terminal
    assert not any(thread.name == "themis-live" for thread in threading.enumerate())
