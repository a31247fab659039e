"""The native twins of the causal patterns and of the session guarantees give what their pure twins give."""

from __future__ import annotations

from random import Random

import pytest

from checkers.causal import causal, columns
from checkers.causal.order import CausalCycle, Clock, clocks
from checkers.causal.patterns import overwritten, overwritten_pure, unordered, unordered_pure
from checkers.causal.reads_from import Trace, trace_of
from checkers.relaxed.identity import Misfit
from checkers.sessions import GUARANTEES
from checkers.sessions.check import breaches, breaches_pure
from checkers.tests.weak_histories import random_history


def compare(seed: int, count: int) -> dict[str, int]:
    """How many answers of each kind were not empty."""
    rng = Random(seed)
    seen = dict.fromkeys(("overwritten", "unordered", *GUARANTEES), 0)
    while count:
        history = random_history(rng, ops_max=rng.choice((6, 20, 60)), keys=3, processes=5)
        try:
            trace = trace_of(history)
            clock = clocks(trace)
        except (Misfit, CausalCycle):
            continue
        count -= 1
        for name, native, pure in answers(trace, clock, rng.choice((1, 2, 20))):
            assert native == pure, (name, seed, count)
            seen[name] += bool(pure)
    return seen


def answers(trace: Trace, clock: list[Clock], found_max: int) -> list[tuple[str, object, object]]:
    return [
        ("overwritten", overwritten(trace, clock, found_max), overwritten_pure(trace, clock, found_max)),
        ("unordered", unordered(trace, clock), unordered_pure(trace, clock)),
        *((each, list(breaches(trace, clock, each)), list(breaches_pure(trace, clock, each))) for each in GUARANTEES),
    ]


def test_the_twins_agree() -> None:
    """And the histories have something of everything."""
    seen = compare(1, 400)
    assert min(seen.values()) >= 20, seen


@pytest.mark.soak
def test_the_twins_agree_on_many_histories() -> None:
    compare(2, 30_000)


def test_which_twin_ran_is_in_the_stats(monkeypatch: pytest.MonkeyPatch) -> None:
    history = random_history(Random(5))
    monkeypatch.setattr(columns, "native", None)
    assert causal(history).stats["core"] == "pure"
    monkeypatch.undo()
    monkeypatch.setenv("CHECKERS_PURE", "1")
    assert causal(history).stats["core"] == "pure"
    monkeypatch.delenv("CHECKERS_PURE")
    assert causal(history).stats["core"] == ("pure" if columns.native is None else "native")


def test_more_keys_and_sessions_than_the_native_twin_takes_are_left_to_the_pure_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = trace_of(random_history(Random(5)))
    monkeypatch.setattr(columns, "PLACES_MAX", 0)
    assert columns.core(trace) == "pure"


def test_a_history_is_read_once_for_all_checkers() -> None:
    history = random_history(Random(5))
    trace = trace_of(history)
    assert trace_of(history) is trace
    assert trace_of(history, 7) is not trace
    assert clocks(trace) is clocks(trace)
    assert clocks(trace, {}) is not clocks(trace)
