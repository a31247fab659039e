"""What is counted of a recorded run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.run.check import count_faults_not_begun
from histories.history import History
from histories.op import NEMESIS, Op

DUE: list[tuple[int, str, Any]] = [
    (5, "start-partition", {"grudge": {"n1": ("n2", "n3")}}),
    (7, "kill", ["n1"]),
    (9, "kill", ["n2"]),
]
HEALS: list[tuple[int, str, Any]] = [(20, "stop-partition", None), (21, "start", None)]


def history(*begun: tuple[int, str, Any]) -> History:
    ops: list[Op] = []
    for time_ns, f, value in begun:
        ops.append(Op(len(ops), time_ns, "invoke", NEMESIS, f, value=as_recorded(value)))
        ops.append(Op(len(ops), time_ns, "info", NEMESIS, f, value={"status": "installed"}))
    return History(ops)


def as_recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_recorded(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("done", range(4))
def test_planned_faults_that_were_never_begun_are_counted_and_heals_are_none_of_them(done: int) -> None:
    late = [(time_ns + 10, f, value) for time_ns, f, value in DUE[:done]]
    assert count_faults_not_begun(history(*late, *HEALS), DUE) == 3 - done


def test_a_run_without_faults_missed_none() -> None:
    assert count_faults_not_begun(history(), []) == 0
