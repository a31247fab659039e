"""Readings of clocks over a network: which of several counts, when it was taken, and what cannot be known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import pytest

from harness.environments.real.clock_offsets import ClockReader, ClockReading, Exchange, shortest, shortest_of_each
from targets.timekeeping import Reading


def exchange(took_ns: int, clock_ns: int = 0) -> Exchange:
    return Exchange(clock_ns, 1_000, 1_000 + took_ns)


def test_a_clock_is_read_in_the_middle_of_the_round_trip() -> None:
    origin = Reading(monotonic_ns=400, wall_ns=1_000_000)
    # At 1,200 on the monotonic clock true time is 1,000,800.
    assert Exchange(1_000_850, 1_000, 1_400).reading(origin) == (50, 1_200)


def test_the_shortest_round_trip_counts() -> None:
    answers = iter([exchange(50, 1), exchange(20, 2), exchange(90, 3)])
    assert shortest(lambda: next(answers)).clock_ns == 2
    assert next(answers, None) is None


def test_a_short_enough_round_trip_ends_the_readings() -> None:
    answers = iter([exchange(50, 1), exchange(20, 2), exchange(10, 3)])
    assert shortest(lambda: next(answers), enough_ns=20).clock_ns == 2


def test_of_several_nodes_each_has_its_own_shortest_and_who_is_silent_is_left_out() -> None:
    asked: list[list[str]] = []
    rounds: Iterator[dict[str, Exchange]] = iter(
        [
            {"n1": exchange(10, 1), "n2": exchange(30, 1)},
            {"n1": exchange(40, 2), "n2": exchange(20, 2)},
            {"n1": exchange(50, 3)},
        ]
    )

    def ask(nodes: Collection[str]) -> Mapping[str, Exchange]:
        asked.append(list(nodes))
        return next(rounds)

    found = shortest_of_each(ask, ["n3", "n1", "n2"])
    assert {node: reading.clock_ns for node, reading in found.items()} == {"n1": 1, "n2": 2}
    assert asked == [["n1", "n2", "n3"], ["n1", "n2"], ["n1", "n2"]]


class Reader(ClockReader):
    """Gives these readings, one after another."""

    apart_s = 0.0

    def __init__(self, *readings: Mapping[str, ClockReading | None]) -> None:
        self._readings = iter(readings)

    def _read(self) -> Mapping[str, ClockReading | None]:
        return next(self._readings)


def test_offsets_are_those_read_and_a_silent_node_has_none() -> None:
    assert Reader({"n1": (500, 7), "n2": None}).offsets_ns() == {"n1": 500, "n2": None}


def test_a_rate_takes_two_readings_and_without_both_it_is_not_known() -> None:
    first: Mapping[str, ClockReading | None] = {"n1": (0, 1_000), "n2": (0, 1_000), "n3": None, "n4": (0, 1_000)}
    second: Mapping[str, ClockReading | None] = {"n1": (500, 2_000), "n2": None, "n3": (0, 2_000), "n4": (-200, 2_000)}
    assert Reader(first, second).rates() == {"n1": 1.5, "n2": None, "n3": None, "n4": pytest.approx(0.8)}
