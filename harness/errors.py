"""What the harness says when it cannot go on, and the exit code that goes with it (Jepsen's codes)."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from nemesis.spelling import nearest_name

VALID, INVALID, UNKNOWN, USAGE, HARNESS = 0, 1, 2, 254, 255
SIGNALS = range(129, 193)
"""The exit codes of commands that a signal ended, as a shell counts them: 128 and the signal's number (130 for Ctrl-C)."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end. number: the signal's. what: what that means, for the user."""

    def __init__(self, number: int = signal.SIGINT, what: str = "") -> None:
        super().__init__(what)
        self.number = number


def code_of_signal(number: int | str) -> int:
    """The exit code of a command that this signal, given by number or name, ended before it found anything invalid."""
    return 128 + (signal.Signals[number] if isinstance(number, str) else number)


class UsageError(Exception):
    """What was asked cannot be done as asked: the message says what was wrong, where, and what to do. Exit code 254."""


class HarnessError(Exception):
    """The harness itself failed; the system under test is not to blame. Exit code 255."""


def unknown_name(kind: str, name: str, known: Iterable[str], own: str = "") -> UsageError:
    """The error for a name that does not exist, with the nearest one that does. own: how one names what is not built in."""
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}{own and f'; your own is {own}'}")


def module_of_file(path: str) -> str:
    """For the end of a message about package.module:Name: how it is written, where somebody named a file; else empty."""
    module, _, name = path.partition(":")
    if "/" not in module and not module.endswith(".py"):
        return ""
    return f"; name the module, not its file: {module.rpartition('/')[2].removesuffix('.py')}:{name}, in the folder that holds it"


def exit_code(codes: Iterable[int]) -> int:
    """One code for several endings: a violation (1) dominates all, then a signal, usage, a failed harness, an unknown, and valid.

    Whatever is none of these says that the harness failed.
    """
    present = set(codes)
    if INVALID in present:
        return INVALID
    if told := present & set(SIGNALS):
        return max(told)
    if present - {VALID, UNKNOWN, USAGE}:
        return USAGE if USAGE in present else HARNESS
    return next((code for code in (USAGE, UNKNOWN, VALID) if code in present), UNKNOWN)
