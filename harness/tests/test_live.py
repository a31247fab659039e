"""The live line says what happened, and never disturbs the run."""

from __future__ import annotations

import io
import threading

import pytest

from checkers.tests.fault_ops import begins, ends
from harness.run import live
from harness.run.live import Progress, View, watched
from histories.builder import h
from histories.op import Op


def progress() -> Progress:
    progress = Progress(30.0)
    progress.enter("main")
    for op in h(
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 fail read | p2 invoke read | p2 info read | "
        "nemesis invoke kill | nemesis info kill"
    ):
        progress.note(op)
    return progress


def test_the_line_counts_what_ended() -> None:
    line = View(progress(), lambda: "n2").line()
    assert "ok 1  fail 1  info 1" in line
    assert "leader: n2" in line
    assert "429 ops/s" in line, "three ops in seven milliseconds"
    assert "latency 1 ms, 99% 1 ms" in line


@pytest.mark.parametrize(
    ("ns", "told"), [(2_344_000, "2.34"), (355_200_000, "355"), (999_700_000, "1000"), (1_451_000_000, "1451")]
)
def test_a_latency_of_seconds_is_no_power_of_ten(ns: int, told: str) -> None:
    seen = progress()
    seen.latencies_ns.clear()
    seen.latencies_ns.append(ns)
    assert f"latency {told} ms, 99% {told} ms" in View(seen, lambda: None).line()


def test_the_rate_is_that_since_the_line_before() -> None:
    seen = progress()
    view = View(seen, lambda: None)
    view.line()
    for op in h("p0 invoke read | p0 ok read 1"):
        seen.note(op)
    seen.time_ns = 1_007_000_000
    line = view.line()
    assert " 1 ops/s" in line
    assert "leader: none  faults: none" in line


def test_the_line_tells_the_faults_in_force_and_what_the_nemesis_does() -> None:
    seen = progress()
    for op in begins(20, "kill-1", ["n1", "n2"]):
        seen.note(op)
    assert "faults: kill n1 n2" in View(seen, lambda: "n3").line()
    invoke, complete = ends(30, {"kill-1": ["n1", "n2"]})
    seen.note(invoke)
    assert "faults: kill n1 n2 (doing stop)" in View(seen, lambda: "n3").line()
    seen.note(complete)
    assert "faults: none" in View(seen, lambda: "n3").line()
    assert seen.faults == 1, "its heal is no fault"


def test_many_faults_do_not_hide_the_leader() -> None:
    seen = progress()
    for number in range(20):
        for op in begins(20 + number, f"partition-{number}", [f"a-node-with-a-long-name-{i}" for i in range(9)]):
            seen.note(op)
    line = View(seen, lambda: "n3").line()
    assert " and 18 more" in line
    assert line.index("leader: n3") < line.index("faults:")
    assert len(line) < 250


def test_the_line_tells_why_ops_fail_and_what_the_run_is_doing() -> None:
    seen = progress()
    seen.enter("heal")
    for error in ("timeout", ["not-sent", "ConnectionRefusedError"], ["not-sent", "x"], ["not-sent"]):
        seen.note(Op(0, 9, "fail", 7, "read", error=error))
    line = View(seen, lambda: None).line()
    assert "  heal  " in line
    assert "errors: not-sent (3 of the last 6)" in line


def test_while_the_run_starts_collects_or_checks_no_node_is_asked_who_leads() -> None:
    def never() -> str:
        raise AssertionError("there are no nodes to ask")

    seen = progress()
    seen.enter("check")
    line = View(seen, never).line()
    assert "  check for 0 s" in line
    assert "ok 1" in line
    assert "leader" not in line


def test_a_cluster_that_does_not_answer_is_a_question_mark() -> None:
    def raises() -> str:
        raise OSError("no one answers")

    assert "leader: ?" in View(progress(), raises).line()


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
    with watched(progress(), lambda: "n1", stream):
        assert stream.written.wait(10)
    assert ("\x1b[" in stream.getvalue()) is is_terminal
    assert not any(thread.name == "themis-live" for thread in threading.enumerate())
