"""What counts as the result of a fault op."""

from __future__ import annotations

from typing import Any

import pytest

from histories.faults import FaultResult, fault_result
from histories.op import NEMESIS, Op, OpType, Process

INSTALLED: dict[str, Any] = {"status": "installed", "did": {"nodes": ["n1"]}}


def op(type: OpType, process: Process, value: Any) -> Op:
    return Op(0, 0, type, process, "kill", None, value)


def test_a_completion_of_the_nemesis_tells_what_it_did() -> None:
    expected = FaultResult("installed", did={"nodes": ["n1"]})
    assert fault_result(op("info", NEMESIS, INSTALLED)) == expected
    assert fault_result(op("info", NEMESIS, expected)) is expected


@pytest.mark.parametrize(
    ("type", "process", "value"),
    [
        ("invoke", NEMESIS, INSTALLED),
        ("ok", 3, INSTALLED),
        ("info", NEMESIS, None),
        ("info", NEMESIS, "killed n1"),
        ("info", NEMESIS, {"status": "perhaps"}),
    ],
)
def test_nothing_else_does(type: OpType, process: Process, value: Any) -> None:
    assert fault_result(op(type, process, value)) is None
