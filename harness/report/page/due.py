"""The page that every run gets that is not VALID: a page that fails changes no verdict and no exit code."""

from __future__ import annotations

import contextlib
import logging

from harness.report.page.report import REPORT, is_due, write_report
from harness.run.sinks import logging_to
from harness.store.runs import Result, RunDirectory
from histories.printing import line

_log = logging.getLogger("themis")


def write_due(run: RunDirectory, result: Result) -> str:
    """A run that is not VALID has its report.html. Returns "", or what went wrong with that, which the run's log has with its
    traceback: it is to be told beside the verdict."""
    path = run.path / REPORT
    try:
        path.unlink(missing_ok=True)  # That of an earlier verdict says what is no longer true.
        if is_due(result):
            write_report(run)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the verdict is told
        with contextlib.suppress(OSError), logging_to(run.log):
            _log.exception("the report of %s could not be written", run.path)
        why = line(error) or type(error).__name__
        return f"no {REPORT}: {why}; the verdict stands, and {run.log.name} has the traceback"
    return ""
