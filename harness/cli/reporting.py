"""Writes pages beside verdicts, for the commands: a page that fails changes no verdict and no exit code."""

from __future__ import annotations

import os
from pathlib import Path

from checkers import Verdict
from harness.cli.ending import say
from harness.errors import UsageError
from harness.report.page import due
from harness.report.page.report import history_page
from harness.store.runs import Result, RunDirectory, write_atomically
from histories.history import History
from histories.printing import line


def check_place(path: Path) -> Path:
    """Where a file is written that takes the place of what is there; of a link, where it leads. Asked before anything is done that
    takes long. Raises UsageError when a file cannot be written there, or something else than a file would go."""
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder; name a file")
    place = path.resolve() if path.is_symlink() else path
    if place.exists() and not place.is_file():
        raise UsageError(f"{path}: this is a device, a pipe or a socket; name a file")
    if not place.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {place.parent}")
    if not os.access(place.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {place.parent} cannot be written")
    return place


def write_checked(path: Path, title: str, history: History, verdict: Verdict, claim: str) -> None:
    """The page of a history that `themis check` judged is in `path`. What goes wrong with that is said; the verdict and the exit
    code stay."""
    try:
        write_atomically(path, history_page(title, history, verdict, claim))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the verdict is told
        say(f"no report in {line(path)}: {line(error) or type(error).__name__}; the verdict stands")


def tell_due(run: RunDirectory, result: Result) -> None:
    """A run that is not VALID has its report.html; what goes wrong with that is said, and nothing else."""
    if problem := due.write_due(run, result):
        say(problem)
