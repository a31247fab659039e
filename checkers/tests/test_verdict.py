"""A verdict is never lost, never a truth value, and never better than its worst part."""

from __future__ import annotations

from itertools import permutations
from typing import Any, cast

import pytest

from checkers.evidence import CheckerCrash, Vacuity
from checkers.verdict import Validity, Verdict, guarded, merge

VALID, INVALID, UNKNOWN = Verdict.valid("a"), Verdict.invalid("lost", "b"), Verdict.unknown("no time", "c")


@pytest.mark.parametrize("parts", list(permutations((VALID, INVALID, UNKNOWN))))
def test_an_invalid_part_decides_in_any_order(parts: tuple[Verdict, ...]) -> None:
    merged = merge({part.checker: part for part in parts})
    assert (merged.validity, merged.reason) == (Validity.INVALID, "b: lost")
    assert set(merged.parts) == {"a", "b", "c"}


@pytest.mark.parametrize("parts", list(permutations((VALID, UNKNOWN))))
def test_an_unknown_part_is_never_outvoted_by_a_valid_one(parts: tuple[Verdict, ...]) -> None:
    assert merge({part.checker: part for part in parts}).validity is Validity.UNKNOWN


def test_nothing_checked_is_unknown() -> None:
    assert merge({}).validity is Validity.UNKNOWN


@pytest.mark.parametrize("validity", Validity)
def test_a_validity_is_no_truth_value(validity: Validity) -> None:
    with pytest.raises(TypeError, match="not a truth value"):
        bool(validity)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        Validity.VALID,
        {"validity": "valid"},
        Verdict.valid(stats={"seen": object()}),
        Verdict(cast(Validity, "invalid"), "mine", "lost"),
        Verdict(cast(Validity, True)),
    ],
)
def test_what_a_checker_returns_is_a_verdict_that_can_be_written_or_a_crash(answer: Any) -> None:
    verdict = guarded("mine", lambda: cast(Verdict, answer))
    assert (verdict.validity, verdict.checker) == (Validity.UNKNOWN, "mine")
    assert verdict.reason.startswith("the checker crashed: TypeError")
    assert "Traceback" in verdict.evidence_of(CheckerCrash).traceback


def test_a_verdict_that_can_be_written_is_given_back_as_it_is() -> None:
    verdict = Verdict.unknown("vacuous", "mine", evidence=Vacuity(("no ops",)), stats={"ok": 1})
    assert guarded("mine", lambda: verdict) is verdict


def test_what_is_let_pass_is_raised() -> None:
    def check() -> Verdict:
        raise LookupError("an op")

    with pytest.raises(LookupError):
        guarded("mine", check, lets_pass=(LookupError,))
    assert guarded("mine", check).validity is Validity.UNKNOWN
