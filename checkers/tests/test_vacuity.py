"""What could not have failed is not green."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from checkers.evidence import Vacuity
from checkers.tests.fault_ops import begins, ends, numbered, pair
from checkers.vacuity import VacuityThresholds, vacuity
from checkers.verdict import Validity
from histories.builder import h
from histories.faults import FaultResult
from histories.history import History
from histories.op import NEMESIS, Op

BUSY = " | ".join(
    [
        "p0 invoke write 1 | p1 invoke read | p0 ok write 1 | p1 ok read 1",
        "p0 invoke cas [1,2] | p0 ok cas [1,2]",
    ]
    * 4
)


MS = 1_000_000


def history(text: str, faults: Iterable[Op] = ()) -> History:
    """Clients' ops, one a ms, and fault ops, in order of time."""
    return History(numbered(list(h(text)), list(faults)))


def partition(start: int, stop: int | None, status: str = "installed") -> list[Op]:
    ops = begins(start * MS, "partition-1", status=status)
    return ops if stop is None else [*ops, *ends(stop * MS, {"partition-1": ["n1"]})]


def test_a_busy_history_is_not_vacuous() -> None:
    verdict = vacuity(h(BUSY))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["ok_count"] == 12
    assert verdict.stats["concurrent_count"] == 4


VACUOUS = [
    ("", "0 client ops succeeded, fewer than 10"),
    ("p0 invoke write 1 | p0 ok write 1", "1 client ops succeeded, fewer than 10"),
    (BUSY + " | p0 invoke delete | p0 fail delete", "delete was tried 1 times and never succeeded"),
    (BUSY + " | p0 invoke delete | p0 info delete", "delete was tried 1 times and never succeeded"),
    (" | ".join(["p0 invoke read | p0 ok read"] * 20), "0 ops met another op on their key"),
    (
        " | ".join(["p0 invoke read a= | p1 invoke read b= | p0 ok read | p1 ok read"] * 9),
        "0 ops met another op on their key",
    ),
]


@pytest.mark.parametrize(("text", "reason"), VACUOUS)
def test_vacuous(text: str, reason: str) -> None:
    verdict = vacuity(h(text))
    assert verdict.validity is Validity.UNKNOWN
    assert verdict.reason.startswith("vacuous: ")
    assert reason in verdict.reason
    assert any(reason in each for each in verdict.evidence_of(Vacuity).reasons)


def test_all_reasons_are_given() -> None:
    assert len(vacuity(h("p0 invoke write 1 | p0 fail write 1")).evidence_of(Vacuity).reasons) == 3


@pytest.mark.parametrize(
    ("start", "stop", "overlap_count"),
    [(0, 100, 12), (5, 6, 2), (6, None, 9), (20, 21, 2), (23, None, 1), (24, None, 0)],
)
def test_overlap_with_a_fault(start: int, stop: int | None, overlap_count: int) -> None:
    verdict = vacuity(history(BUSY, partition(start, stop)))
    assert verdict.stats["overlap_count"] == overlap_count
    assert (verdict.validity is Validity.VALID) == (overlap_count > 0)


def test_an_op_that_meets_two_faults_is_counted_once() -> None:
    faults = [*partition(2, 8), *begins(3 * MS, "kill-2", took=MS)]
    verdict = vacuity(history(BUSY, faults))
    assert verdict.stats["overlap_count"] == 12
    assert verdict.stats["faults_by_status"] == {"installed": 2}


def test_a_heal_is_no_fault() -> None:
    heal = pair(30 * MS, 31 * MS, "stop-loss", FaultResult("installed"))
    assert vacuity(history(BUSY, [*partition(2, 8), *heal])).stats["faults_by_status"] == {"installed": 1}
    assert "faults_by_status" not in vacuity(history(BUSY, heal)).stats, "nothing was planned, nothing was to heal"


def test_a_fault_that_was_not_seen_to_be_in_force_does_not_count() -> None:
    verdict = vacuity(history(BUSY, partition(1, 20, "indeterminate")))
    assert verdict.validity is Validity.UNKNOWN
    assert "none was installed (1 indeterminate)" in verdict.reason


def test_a_fault_that_was_skipped_does_not_count() -> None:
    skipped = pair(1, 1, "kill", FaultResult("skipped", why="no node leads"))
    assert "none was installed (1 skipped)" in vacuity(history(BUSY, skipped)).reason


def test_a_fault_that_never_completed_does_not_count() -> None:
    verdict = vacuity(history(BUSY, [Op(0, 3 * MS, "invoke", NEMESIS, "kill")]))
    assert "none was installed (1 never completed)" in verdict.reason


def test_nothing_is_asked_of_faults_that_another_tool_recorded() -> None:
    jepsen = pair(3 * MS, 4 * MS, "start-partition", "cut off n1")
    assert vacuity(history(BUSY, jepsen)).validity is Validity.VALID


def test_a_history_without_faults_needs_none() -> None:
    assert "overlap_count" not in vacuity(h(BUSY)).stats


def test_thresholds() -> None:
    off = VacuityThresholds(ok_min=0, attempts_min=0, overlap_min=0, concurrent_min=0)
    assert vacuity(h("p0 invoke write 1 | p0 fail write 1"), off).validity is Validity.VALID
    assert vacuity(h(BUSY), VacuityThresholds(ok_min=13)).validity is Validity.UNKNOWN
    assert vacuity(h(BUSY), VacuityThresholds(concurrent_min=5)).validity is Validity.UNKNOWN
    patient = VacuityThresholds(attempts_min=2)
    assert vacuity(h(BUSY + " | p0 invoke delete | p0 fail delete"), patient).validity is Validity.VALID
    with pytest.raises(ValueError, match="ok_min: -1 is negative"):
        VacuityThresholds(ok_min=-1)


def test_faults_that_were_asked_for_and_never_begun_are_not_green() -> None:
    verdict = vacuity(h(BUSY), were_planned=True)
    assert (verdict.validity, verdict.reason) == (
        Validity.UNKNOWN,
        "vacuous: faults were asked for, and none was begun",
    )
    idle = history(BUSY, pair(3 * MS, 4 * MS, "stop-partition", FaultResult("installed")))
    assert vacuity(idle, were_planned=True).validity is Validity.UNKNOWN, "a heal of nothing is no fault"
    assert vacuity(history(BUSY, partition(2, 20)), were_planned=True).validity is Validity.VALID
    assert vacuity(h(BUSY), VacuityThresholds(overlap_min=0), were_planned=True).validity is Validity.VALID


def test_a_kind_of_fault_that_was_never_done_is_named() -> None:
    """The others make the run no less green: what is green has not met it."""
    skipped: list[Op] = []
    for at, why in ((3, "no node leads"), (6, "n1 leads already"), (8, "no node leads")):
        skipped += pair(at * MS, at * MS, "start-transfer", FaultResult("skipped", why=why))
    verdict = vacuity(history(BUSY, [*partition(2, 5), *skipped]))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["never_done"] == {"start-transfer": {"tried": 3, "why": "no node leads"}}
    done = [*partition(2, 5), *skipped, *begins(7 * MS, "transfer-1")]
    assert "never_done" not in vacuity(history(BUSY, done)).stats
