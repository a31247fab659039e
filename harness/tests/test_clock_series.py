"""The series of clock offsets beside a verdict."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping

from checkers import Validity
from checkers.evidence import ClockSample, ClockSeries
from harness.run.clock_series import sampling, series
from nemesis.capabilities import FaultError


class Clocks:
    """Clocks that answer, then fail once, then answer again."""

    def __init__(self) -> None:
        self.readings = 0
        self.is_enough = threading.Event()

    def offsets_ns(self) -> Mapping[str, int | None]:
        self.readings += 1
        if self.readings == 2:
            raise FaultError("the nodes are not up")
        if self.readings >= 4:
            self.is_enough.set()
        return {"n1": -self.readings, "n2": None}

    def set_offset(self, offset_ns: Mapping[str, int]) -> None:
        raise AssertionError("a watch changes nothing")

    def set_rate(self, rate: Mapping[str, float]) -> None:
        raise AssertionError("a watch changes nothing")

    def rates(self) -> Mapping[str, float | None]:
        return {}

    def heal(self) -> None:
        raise AssertionError("a watch changes nothing")


def test_a_reading_that_fails_is_left_out_and_the_watch_goes_on() -> None:
    clocks = Clocks()
    with sampling(clocks, interval_s=0.001) as samples:
        assert clocks.is_enough.wait(10)
    assert [sample.offset_ns["n1"] for sample in samples[:3]] == [-1, -3, -4]
    assert all(earlier.time < later.time for earlier, later in itertools.pairwise(samples))


def test_without_clocks_there_is_no_series() -> None:
    with sampling(None) as samples:
        pass
    assert samples == []


def test_the_series_is_evidence_and_says_the_worst_offset() -> None:
    verdict = series([ClockSample(5, {"n1": -7, "n2": None}), ClockSample(9, {"n1": 3, "n2": 2})])
    assert verdict.validity is Validity.VALID
    assert verdict.stats == {"samples": 2, "offset_ns_max": 7}
    assert verdict.evidence_of(ClockSeries).samples[0] == ClockSample(5, {"n1": -7, "n2": None})
