"""The command, run to its end: in this process, which takes milliseconds, or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.cli import run_command
from harness.run.interruption import raising_interrupts

SIM = ("test", "--env", "sim", "--time-limit", "5", "--seed", "3")


def themis(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, as the console script runs it; what it prints is kept. cwd: where, this directory."""
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        raising_interrupts(),
    ):
        code = run_command(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def themis_process(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, timeout=90, **more
    )


def assert_refused(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 254, one clear message, no traceback."""
    assert ended.returncode == 254, (ended.returncode, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stdout + ended.stderr
    for word in words:
        assert word in ended.stderr, ended.stderr
