"""The table of known answers: what it shows of runs, and what it calls wrong. The runs themselves are the bench's."""

from __future__ import annotations

import pytest

from harness.bench.systems import BEGIN, END, ROWS, Seen, differing, merged, table
from harness.run import plan


def seen(row: str, verdict: str, anomaly: str = "") -> Seen:
    return Seen(row, 1, 60.0, verdict, anomaly, 90.0, 0.2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_a_run_that_can_be_planned(row: object) -> None:
    from harness.bench.known_answer import Row

    assert isinstance(row, Row)
    assert plan.prepare(row.spec).target.name == row.name.partition("-")[0]


def test_the_table_counts_runs_and_shows_the_first_anomaly() -> None:
    found = [seen("redis-off", "INVALID", "read | of key 0"), seen("redis-off", "VALID"), seen("redis-off", "VALID")]
    (line,) = table(found)[2:]
    assert "1 INVALID of 60 s, 2 VALID of 60 s" in line
    assert "read \\| of key 0" in line


def test_rows_that_were_not_run_again_stay_in_the_table() -> None:
    before = table([seen("etcd-set", "VALID"), seen("redis-off", "VALID")])
    found = merged(["", *before, ""], table([seen("redis-off", "INVALID"), seen("redis-always", "VALID")]))
    assert [line.split("|")[1].strip() for line in found[2:]] == ["etcd-set", "redis-always", "redis-off"]
    assert "1 INVALID" in found[-1]


@pytest.mark.parametrize(
    ("row", "verdicts", "is_wrong"),
    [
        ("etcd-linearizable", ["VALID", "VALID"], False),
        ("etcd-linearizable", ["VALID", "INVALID"], True),
        ("etcd-linearizable", ["VALID", "UNKNOWN"], True),
        ("redis-off", ["VALID", "INVALID"], False),
        ("redis-off", ["VALID"], True),
        ("redis-sentinel-wait", ["VALID", "INVALID"], False),
        ("redis-sentinel-wait", ["UNKNOWN"], True),
    ],
)
def test_what_differs_from_the_expectation_is_told(row: str, verdicts: list[str], is_wrong: bool) -> None:
    assert bool(differing([seen(row, verdict) for verdict in verdicts])) is is_wrong


def test_the_page_has_the_marks_of_the_table() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "systems.md").read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
