"""The histories of the benchmark are what they say: valid, or with one G-single."""

from __future__ import annotations

import pytest

from checkers.bench.transactions import ROWS, Row, generate, measure
from checkers.transactions import Workload
from histories.wellformed import problems


@pytest.mark.parametrize("workload", ["list-append", "rw-register"])
def test_the_histories_are_well_formed_and_decided_as_they_should_be(workload: Workload) -> None:
    assert not problems(generate(workload, 500, 1))
    assert measure(Row(workload, 500, runs=1), 1).anomalies == {}
    assert measure(Row(workload, 500, is_broken=True, runs=1), 1).anomalies == {"G-single-item": 1}


@pytest.mark.parametrize("model", ["serializable", "snapshot-isolation"])
def test_the_exact_checks_decide_them_too(model: str) -> None:
    assert measure(Row("rw-register", 100, runs=1, exact=model), 1).validity == "valid"
    assert measure(Row("rw-register", 100, is_broken=True, runs=1, exact=model), 1).validity == "invalid"


def test_the_same_seed_gives_the_same_history() -> None:
    assert generate("list-append", 50, 3) == generate("list-append", 50, 3)
    assert generate("list-append", 50, 3) != generate("list-append", 50, 4)


def test_each_size_is_measured_once() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
