"""What `themis check` does with a history in which a cluster was restored from a backup: the same as the run's own check.

Each course of events is checked by itself (checkers.timelines), so that a run and a later check of its history agree.
"""

from __future__ import annotations

from collections.abc import Callable

from checkers import Verdict, timelines
from checkers.linearizability import UnfitHistory
from checkers.transactions import UnfitTransactions
from histories.history import History


def judge_courses(name: str, check: Callable[[History], Verdict], history: History) -> Verdict:
    """The worst verdict of the courses; of the whole history where nothing was restored. Raises what the check raises, about the
    whole history."""
    try:
        return timelines.checked(name, lambda course, _: check(course), history, None)
    except (UnfitHistory, UnfitTransactions):
        check(history)  # It names the places in the history, and not those in a course.
        raise


def restores(history: History) -> dict[str, Verdict]:
    """What each restore took back, as a verdict of its own; nothing where nothing was restored."""
    return {timelines.CHECKER: timelines.told(history)} if timelines.is_restored(history) else {}
