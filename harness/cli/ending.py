"""How a command ends: this is the one place that decides its exit code.

1 and 2 are only ever given for a verdict, and 1 dominates whatever happens after the violation was found: an exception, a signal, a
closed pipe. A command calls `note` as soon as it has a verdict, before it prints anything.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

import click

from harness.cli.outlets import is_outlet
from harness.errors import HARNESS, INVALID, USAGE, HarnessError, Interrupted, UsageError, code_of_signal, exit_code
from harness.run.interruption import send_again
from histories.printing import block, harmless, line

_log = logging.getLogger("themis")


class Ending:
    """The codes of the verdicts that a command has come to so far."""

    def __init__(self) -> None:
        self._codes: list[int] = []

    def note(self, code: int) -> None:
        """The command has a verdict; this is its code."""
        self._codes.append(code)

    @property
    def has_verdict(self) -> bool:
        """Whether a verdict was noted."""
        return bool(self._codes)

    def leave(self, number: int) -> NoReturn:
        """End the process at once, with nothing more said, because of this signal."""
        os._exit(INVALID if INVALID in self._codes else code_of_signal(number))

    def code_after(self, raised: BaseException) -> int:
        """The exit code of the command that `raised` ended, which it may have asked for itself. Says on standard error what is to
        be said: never a traceback, unless THEMIS_DEBUG asks for it."""
        if isinstance(raised, BrokenPipeError) and not is_outlet(sys.stdout):
            # Nobody reads on, as in `themis list | head`; that changes no verdict. An outlet never says so: then something else
            # than the reader has gone, such as a process of a sweep.
            return exit_code(self._codes) if self._codes else 0
        if isinstance(raised, click.exceptions.Exit):
            return raised.exit_code
        code = tell(raised)
        return INVALID if INVALID in self._codes else code


def note(code: int) -> int:
    """The running command has a verdict with this exit code, which is returned."""
    context = click.get_current_context(silent=True)
    ending = None if context is None else context.find_object(Ending)
    if ending is not None:
        ending.note(code)
    return code


def tell(raised: BaseException) -> int:
    """Say on standard error why the command ended, in one message; the exit code of that."""
    if os.environ.get("THEMIS_DEBUG") and not isinstance(raised, click.ClickException | UsageError):
        click.echo(harmless("".join(traceback.format_exception(raised))), err=True)
    match raised:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(raised.format_message(), err=True)
            return USAGE
        case click.ClickException():
            say(block(raised.format_message()))
            context = getattr(raised, "ctx", None)
            if context is not None:
                click.echo(f"Try `{context.command_path} --help`.", err=True)
            return USAGE
        case UsageError():
            say(block(raised))
            return USAGE
        case KeyboardInterrupt() | click.Abort():
            number = getattr(raised, "number", signal.SIGINT)
            why = line(raised)
            say(f"interrupted by {signal.Signals(number).name}" + (f": {why}" if why else ""))
            return code_of_signal(number)
        case HarnessError():
            say(f"the harness failed: {block(raised)}")
            return HARNESS
        case _:
            # 1 and 2 are verdicts: no crash may end with them, nor a plugin that calls sys.exit.
            hint = "themis --debug ... shows where; please report it"
            say(f"unexpected {type(raised).__name__}: {line(raised)} ({hint})")
            return HARNESS


class _Said(logging.Handler):
    """Tells on standard error what is logged while no log is open. It names an exception, and shows its traceback only where
    THEMIS_DEBUG asks for that."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it on standard error."""
        raised = record.exc_info[1] if record.exc_info else None
        if raised is not None and os.environ.get("THEMIS_DEBUG"):
            click.echo(harmless("".join(traceback.format_exception(raised))), err=True)
        why = f": {type(raised).__name__}: {raised}" if raised is not None else ""
        say(block(f"{record.getMessage()}{why}"))


def tell_no_tracebacks() -> None:
    """What Python itself would tell of an error that no caller can catch, in a thread or where an object is removed, goes into the
    run's log; of a thread there is one line on standard error as well, and one of what no log is there for. With THEMIS_DEBUG all
    of it is told. A signal that came there is not lost."""
    logging.lastResort = _Said(logging.WARNING)

    def note_in_log(what: str, raised: BaseException | None) -> None:
        if _log.hasHandlers():  # Without any, it would be told on standard error.
            _log.error("%s", what, exc_info=raised)

    def of_thread(told: threading.ExceptHookArgs) -> None:
        if os.environ.get("THEMIS_DEBUG"):
            threading.__excepthook__(told)
            return
        if told.exc_type is SystemExit or told.exc_value is None:
            return
        name = "a thread" if told.thread is None else f"thread {told.thread.name}"
        note_in_log(f"unexpected in {name}", told.exc_value)
        say(f"unexpected {told.exc_type.__name__} in {name}: {line(told.exc_value)} (themis --debug ... shows where)")

    def of_removal(told: sys.UnraisableHookArgs) -> None:
        if isinstance(told.exc_value, Interrupted):
            send_again(told.exc_value)
            return
        if os.environ.get("THEMIS_DEBUG"):
            sys.__unraisablehook__(told)
            return
        note_in_log(f"unexpected where {told.object!r} was removed", told.exc_value)

    threading.excepthook = of_thread
    sys.unraisablehook = of_removal


def say(text: str) -> None:
    """One message on standard error."""
    try:
        click.echo(f"themis: {text}", err=True)
    except (OSError, ValueError):  # Closed, or on a full disk: there is nobody to tell.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what else there is to say goes nowhere, too
