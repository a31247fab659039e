"""How each command ends when something goes wrong at each step: its exit code, and that nobody is shown a traceback.

1 and 2 are only for a verdict, a violation dominates whatever happens after it, and a signal gives 128 and its number.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkers import Verdict
from harness.campaign import sweep as sweeping
from harness.cli import doctor, run_command
from harness.cli.ending import Ending, tell_no_tracebacks
from harness.cli.outlets import open_outlets
from harness.environments.sim.environment import SimEnvironment
from harness.errors import HARNESS, INVALID, UNKNOWN, USAGE, VALID, Interrupted, UsageError
from harness.run import check as checking
from harness.run import execute as execute_module
from harness.run import sinks
from harness.run.interruption import raising_interrupts
from harness.store.runs import Store
from harness.tests.command import command_of, every_command
from histories import jsonl
from histories.builder import h
from nemesis import schedule

SIM = ("--env", "sim", "--nodes", "3", "--time-limit", "2", "--seed", "3", "--nemesis", "partition")
WRONG = ("--bug", "stale-read")
CODE_OF = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
FULL = OSError(errno.ENOSPC, "No space left on device")

Patch = Callable[[pytest.MonkeyPatch], None]


def ended(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """The exit code of a command that is run as the console script runs it, signals included, and what it printed."""
    with raising_interrupts():
        code = run_command([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    told = printed.out + printed.err
    # What a checker of the user's own raised is his to see.
    assert "Traceback" not in told or "the checker crashed" in told, told
    return code, told


def raises(owner: object, name: str, error: BaseException) -> Patch:
    """The function of the owner raises instead."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_arguments: Any, **_more: Any) -> Any:
            raise error

        monkeypatch.setattr(owner, name, crash)

    return patch


def signals(owner: Any, name: str, *numbers: signal.Signals) -> Patch:
    """The process gets the signals, and the function of the owner does what it does."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        usual = getattr(owner, name)

        def interrupted(*arguments: Any, **more: Any) -> Any:
            monkeypatch.setattr(owner, name, usual)
            for number in numbers:
                os.kill(os.getpid(), number)
            return usual(*arguments, **more)

        monkeypatch.setattr(owner, name, interrupted)

    return patch


# --- a run, and what can fail in it --------------------------------------------------------------------------------------

STEPS: dict[str, tuple[object, str]] = {
    "the environment's check": (SimEnvironment, "check"),
    "nodes start": (SimEnvironment, "up"),
    "main phase": (SimEnvironment, "drive"),
    "an op is recorded": (jsonl.Writer, "append"),
    "findings": (SimEnvironment, "findings"),
    "logs are collected": (SimEnvironment, "collect"),
    "tear-down": (SimEnvironment, "down"),
    "the history is read": (jsonl, "read"),
    "vacuity": (checking, "vacuity"),
    "ops are counted": (checking, "count_ops"),
    "the schedule is saved": (schedule, "encode"),
    "the findings are kept": (sinks.FolderSink, "note_findings"),
    "the result is kept": (sinks.FolderSink, "keep"),
    "a link is set": (Store, "point"),
}
NOT_BEGUN = {"the environment's check": HARNESS, "the schedule is saved": USAGE, "a link is set": USAGE}
"""Step -> the code when the disk is full, where nothing has begun yet: 254 where the message names the store."""


@pytest.mark.parametrize(
    "error", [FULL, ZeroDivisionError("no luck"), SystemExit(1)], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_in_which_a_step_fails(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(*STEPS[step], error)(monkeypatch)
    store = tmp_path / "store"
    code, told = ended(capsys, "test", *SIM, "--store", store)
    if step in NOT_BEGUN:
        assert code == (NOT_BEGUN[step] if error is FULL else HARNESS)
    elif step == "vacuity":
        assert code == UNKNOWN, told
    else:
        assert code == HARNESS, told
    assert str(error) in told or (step in NOT_BEGUN and "No space left" in told)
    if step in NOT_BEGUN and (error is FULL or step == "the environment's check"):
        assert not store.exists(), "a run that never was leaves nothing"
    elif step != "vacuity" and step not in NOT_BEGUN:
        assert "harness failure in" in told
        assert "themis.log has the traceback" in told
        log = next(store.glob("raft-register/2*/themis.log")).read_text()
        assert "Traceback" in log


@pytest.mark.parametrize(
    "step", ["tear-down", "logs are collected", "ops are counted", "the result is kept", "vacuity"]
)
def test_a_violation_dominates_what_fails_after_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(*STEPS[step], FULL)(monkeypatch)
    code, told = ended(capsys, "test", *SIM, *WRONG, "--store", tmp_path)
    assert code == INVALID, told
    assert "INVALID" in told


@pytest.mark.parametrize("number", CODE_OF)
@pytest.mark.parametrize(
    "step", ["nodes start", "main phase", "findings", "tear-down", "vacuity", "the result is kept"]
)
def test_a_run_that_a_signal_ends_at_a_step(
    step: str,
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signals(*STEPS[step], number)(monkeypatch)
    code, told = ended(capsys, "test", *SIM, "--store", tmp_path)
    is_too_late = step == "the result is kept"
    assert code in ((VALID, UNKNOWN) if is_too_late else (CODE_OF[number],)), told
    assert is_too_late or f"interrupted by {number.name}" in told
    assert next(tmp_path.glob("raft-register/2*/verdict.json")).exists()


@pytest.mark.parametrize("step", ["main phase", "vacuity"])
def test_a_run_that_is_told_twice_to_stop(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals(*STEPS[step], signal.SIGTERM, signal.SIGTERM)(monkeypatch)
    code, told = ended(capsys, "test", *SIM, "--store", tmp_path)
    assert code == 143, told
    assert "UNKNOWN" in told
    assert ended(capsys, "analyze", "latest", "--store", tmp_path)[0] in (VALID, UNKNOWN)


def test_a_violation_that_was_found_before_the_second_signal_dominates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals(*STEPS["vacuity"], signal.SIGINT, signal.SIGINT)(monkeypatch)
    code, told = ended(capsys, "test", *SIM, *WRONG, "--store", tmp_path)
    assert code == INVALID, told
    assert "interrupted before it was checked" in told


@pytest.mark.parametrize("number", CODE_OF)
def test_a_signal_before_the_run_has_begun_leaves_nothing(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals(SimEnvironment, "check", number)(monkeypatch)
    code, told = ended(capsys, "test", *SIM, "--store", tmp_path / "store")
    assert (code, (tmp_path / "store").exists()) == (CODE_OF[number], False), told


@pytest.mark.parametrize("refusal", [UsageError("No space left"), Interrupted(signal.SIGTERM)])
def test_a_violation_of_an_earlier_run_dominates_a_later_run_that_does_not_begin_and_is_told(
    refusal: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual, count = Store.create, iter(range(9))

    def create(store: Store, *arguments: Any) -> Any:
        if next(count):
            raise refusal
        return usual(store, *arguments)

    monkeypatch.setattr(Store, "create", create)
    words = [str(word) for word in ("test", *SIM, *WRONG, "--test-count", "3", "--json", "--store", tmp_path)]
    assert run_command(words) == INVALID
    printed = capsys.readouterr()
    assert ("No space left" in printed.err) or ("interrupted by SIGTERM" in printed.err)
    assert [run["exit_code"] for run in json.loads(printed.out)] == [INVALID]


# --- sweeps, replay, analyze, check --------------------------------------------------------------------------------------

SWEEP = ("test", "--env", "sim", "--nodes", "3", "--time-limit", "2", "--nemesis", "partition", "--seeds", "3..6")


def sweep_until(monkeypatch: pytest.MonkeyPatch, last: BaseException) -> None:
    """The third seed raises."""
    usual, count = execute_module.execute, iter(range(9))

    def execute(*arguments: Any) -> Any:
        if next(count) == 2:
            raise last
        return usual(*arguments)

    monkeypatch.setattr(sweeping, "execute", execute)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (FULL, HARNESS),
        (RecursionError(), HARNESS),
        (MemoryError(), HARNESS),
        (SystemExit(1), HARNESS),
        (KeyboardInterrupt(), 130),
        (Interrupted(signal.SIGTERM), 143),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
@pytest.mark.parametrize("flags", [(), WRONG], ids=["healthy", "wrong"])
@pytest.mark.long
@pytest.mark.real
def test_a_sweep_that_ends_early(
    flags: tuple[str, ...],
    last: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    sweep_until(monkeypatch, last)
    got, told = ended(capsys, *SWEEP, *flags, "--store", tmp_path)
    assert got == (INVALID if flags else code), told
    assert "2 seeds: 2 " + ("INVALID" if flags else "VALID") in told
    assert "ended early, after 2 of 4 seeds" in told


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run."""
    root = tmp_path_factory.mktemp("stored") / "store"
    assert run_command(["test", *SIM, "--store", str(root)]) == VALID
    return root


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (raises(checking, "check", FULL), HARNESS),
        (raises(checking, "vacuity", RecursionError()), UNKNOWN),
        (raises(checking, "write_json", FULL), HARNESS),
        (raises(checking, "check", SystemExit(2)), HARNESS),
        (signals(checking, "vacuity", signal.SIGINT), 130),
        (signals(checking, "vacuity", signal.SIGTERM), 143),
    ],
)
def test_analyze(
    patch: Patch, code: int, stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (stored / "latest" / "verdict.json").read_bytes()
    patch(monkeypatch)
    got, told = ended(capsys, "analyze", "latest", "--store", stored)
    assert got == code, told
    if code != UNKNOWN:
        assert (stored / "latest" / "verdict.json").read_bytes() == before, (
            "a check that did not end replaces no verdict"
        )
    (stored / "latest" / "verdict.json").write_bytes(before)


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        ("main phase", HARNESS, "nothing to compare: run: OSError: [Errno 28] No space left"),
        ("the environment's check", HARNESS, "No space left"),
        ("the result is kept", VALID, "the same, byte by byte"),
    ],
)
def test_a_replay_in_which_a_step_fails(
    step: str, code: int, said: str, stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(*STEPS[step], FULL)(monkeypatch)
    got, told = ended(capsys, "replay", "latest", "--store", stored)
    assert got == code
    assert said in told
    assert "NOT the same" not in told


@pytest.mark.parametrize("number", CODE_OF)
def test_a_replay_that_a_signal_ends(
    number: signal.Signals, stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals(SimEnvironment, "drive", number)(monkeypatch)
    code, told = ended(capsys, "replay", "latest", "--store", stored)
    assert code == CODE_OF[number], told
    assert "nothing to compare" in told


def invalid(_history: object, _context: object) -> Verdict:
    """A checker."""
    return Verdict.invalid("as it says", "invalid")


def valid(_history: object, _context: object) -> Verdict:
    """A checker."""
    return Verdict.valid("valid")


def exits(_history: object, _context: object) -> Verdict:
    """A checker that ends the process, or tries to."""
    raise SystemExit(1)


def interrupts(_history: object, _context: object) -> Verdict:
    """A checker during which somebody presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("the signal comes before this line")


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("valid",), VALID),
        (("exits",), UNKNOWN),
        (("exits", "invalid"), INVALID),
        (("interrupts",), 130),
        (("valid", "interrupts"), 130),
        (("invalid", "interrupts"), INVALID),
        (("invalid", "interrupts", "valid"), INVALID),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_check(names: tuple[str, ...], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h("p0 invoke write 1 | p0 ok write 1"))
    checkers = [word for name in names for word in ("--checker", f"{__name__}:{name}")]
    got, told = ended(capsys, "check", path, *checkers)
    assert got == code, told


def test_an_error_that_no_caller_can_catch_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile:
        def __del__(self) -> None:
            raise FULL

    def fail() -> None:
        raise KeyError("no")

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    tell_no_tracebacks()
    Fragile()
    failing = threading.Thread(target=fail, name="live-traces")
    failing.start()
    failing.join()
    said = capsys.readouterr()
    assert (
        said.out + said.err
        == "themis: unexpected KeyError in thread live-traces: 'no' (themis --debug ... shows where)\n"
    )
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [OSError, KeyError]


# --- every command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted by SIGINT"),
        (Interrupted(signal.SIGTERM), 143, "interrupted by SIGTERM"),
        (Interrupted(signal.SIGHUP), 129, "interrupted by SIGHUP"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (RecursionError("too deep"), 255, "unexpected RecursionError"),
        (EOFError("cut"), 255, "unexpected EOFError"),
        (FULL, 255, "No space left"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_every_command_may_meet(
    words: tuple[str, ...],
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = command_of(words)
    monkeypatch.setattr(command, "params", [])
    raises(command, "callback", error)(monkeypatch)
    got, told = ended(capsys, *words)
    assert got == code
    assert said in told
    assert len(told.splitlines()) == (1 if said else 0)


def test_a_pipe_that_is_not_standard_output_is_no_reader_who_had_enough(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A worker that is killed while it starts breaks the pipe to it: the command did not do what it was asked."""
    gone = BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert Ending().code_after(gone) == VALID
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    open_outlets()
    assert Ending().code_after(gone) == HARNESS
    assert "unexpected BrokenPipeError" in capfd.readouterr().err


@pytest.mark.parametrize(("value", "is_coloured"), [("", True), ("1", False)])
def test_no_color_is_heeded(
    value: str, is_coloured: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("python", True, "new enough")])
    assert run_command(["doctor"]) == VALID
    assert ("\x1b[32m" in capsys.readouterr().out) is is_coloured
