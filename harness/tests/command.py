"""The command, run to its end: in this process, which takes milliseconds, or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from harness.cli import run_command
from harness.cli import themis as themis_command
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


def every_command(path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command that does something."""
    group = command_of(path)
    if not isinstance(group, click.Group):
        return [path]
    names = group.list_commands(click.Context(group))
    return [words for name in names for words in every_command((*path, name))]


def command_of(words: tuple[str, ...]) -> click.Command:
    """The command that these words begin with."""
    command: click.Command = themis_command
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


def assert_refused(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 254, one clear message, no traceback."""
    assert ended.returncode == 254, (ended.returncode, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stdout + ended.stderr
    for word in words:
        assert word in ended.stderr, ended.stderr
