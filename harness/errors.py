"""What the harness says when it cannot go on, and the exit code that goes with it (Jepsen's codes)."""

from __future__ import annotations

from collections.abc import Iterable

from nemesis.spelling import nearest_name

VALID, INVALID, UNKNOWN, USAGE, HARNESS = 0, 1, 2, 254, 255


class UsageError(Exception):
    """What was asked cannot be done as asked: the message says what was wrong, where, and what to do. Exit code 254."""


class HarnessError(Exception):
    """The harness itself failed; the system under test is not to blame. Exit code 255."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def exit_code(codes: Iterable[int]) -> int:
    """One code for several runs: a violation (1) dominates all, then usage, a failed harness, an unknown, and valid."""
    order = (INVALID, USAGE, HARNESS, UNKNOWN, VALID)
    present = set(codes)
    return next((code for code in order if code in present), UNKNOWN)
