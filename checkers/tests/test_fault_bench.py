"""The bench of faults measures what it says."""

from __future__ import annotations

from checkers.availability import availability
from checkers.bench.faults import CHECKS, history, measure
from checkers.evidence import Availability
from checkers.recovery import recovery
from checkers.vacuity import vacuity
from checkers.verdict import Validity
from checkers.windows import fault_windows
from histories.wellformed import problems


def test_its_history_is_a_good_one_with_so_many_ops_and_faults() -> None:
    made = history(2000, 30)
    assert problems(made) == []
    assert sum(op.is_client and op.type == "invoke" for op in made) == 2000
    assert len(fault_windows(made)) == 30
    assert vacuity(made).stats["overlap_count"] > 1500
    assert availability(made).evidence_of(Availability).windows[0].served.total_count > 100
    assert recovery(made).validity is Validity.VALID


def test_every_checker_is_measured() -> None:
    assert list(measure(500, 10).seconds) == ["pairs", *CHECKS]
