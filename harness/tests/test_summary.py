"""Exit codes: 1 is for a violation alone and nothing hides one, and 0 is only for what is wholly good."""

from __future__ import annotations

from itertools import product

import pytest

from checkers import Validity, Verdict
from harness.errors import HARNESS, INVALID, UNKNOWN, USAGE, VALID, exit_code
from harness.report import summary
from harness.store.runs import HarnessFailure, Result

FAILED = (HarnessFailure("heal", "partition: the measurement disagrees"),)


@pytest.mark.parametrize(
    ("validity", "harness", "code"),
    [
        (Validity.VALID, (), VALID),
        (Validity.INVALID, (), INVALID),
        (Validity.UNKNOWN, (), UNKNOWN),
        (Validity.VALID, FAILED, HARNESS),
        (Validity.INVALID, FAILED, INVALID),
        (Validity.UNKNOWN, FAILED, HARNESS),
    ],
)
def test_one_run(validity: Validity, harness: tuple[HarnessFailure, ...], code: int) -> None:
    assert summary.code(Result(Verdict(validity), harness=harness)) == code


@pytest.mark.parametrize(
    ("validity", "code"), [(Validity.VALID, 143), (Validity.INVALID, INVALID), (Validity.UNKNOWN, 143)]
)
def test_a_run_that_a_signal_ended(validity: Validity, code: int) -> None:
    assert summary.code(Result(Verdict(validity), signal="SIGTERM", harness=FAILED)) == code


CODES = (VALID, INVALID, UNKNOWN, USAGE, HARNESS, 130, 143)


@pytest.mark.parametrize("codes", list(product(CODES, repeat=2)))
def test_several_runs(codes: tuple[int, int]) -> None:
    together = exit_code(codes)
    assert together in codes
    assert (together == INVALID) == (INVALID in codes)
    assert (together == VALID) == (set(codes) == {VALID})
    assert together != UNKNOWN or set(codes) <= {VALID, UNKNOWN}, "a harness that failed is not merely unknown"


def test_no_run_at_all_proves_nothing() -> None:
    assert exit_code(()) == UNKNOWN
