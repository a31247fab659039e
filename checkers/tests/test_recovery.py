"""A run that was dead to its end is not green."""

from __future__ import annotations

import pytest

from checkers.recovery import recovery
from checkers.tests.fault_ops import begins, ends, numbered, pair
from checkers.verdict import Validity
from histories.faults import FaultResult
from histories.history import History
from histories.op import Op, OpType

KILLED = begins(10, "kill-1", ["n1", "n2"], took=1)
HEALED = ends(50, {"kill-1": ["n1", "n2"]}, took=1)


def read(start: int, type_: OpType = "ok", error: object = None, node: str = "n1") -> list[Op]:
    process = start
    return [
        Op(0, start, "invoke", process, "read", node=node),
        Op(0, start + 5, type_, process, "read", error=error, node=node),
    ]


def history(*groups: list[Op]) -> History:
    return History(numbered(*groups))


def test_served_after_the_last_heal() -> None:
    verdict = recovery(history(KILLED, read(20, "fail", "timeout"), HEALED, read(60)))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["ok_count"] == 1


def test_without_faults_there_is_nothing_to_recover_from() -> None:
    assert recovery(history(read(1, "fail", "timeout"))).validity is Validity.VALID
    assert recovery(History([])).validity is Validity.VALID


SILENT = [read(60 + i, "fail", "timeout", "n3") for i in range(10, 15)]

DEAD = [
    ([KILLED, read(20)], "kill n1 n2 was not seen to end"),
    ([KILLED, HEALED, read(49)], "no client op was tried after the last fault was lifted"),
    (
        [KILLED, HEALED, read(60, "fail", "timeout")],
        r"none of the 1 client ops after the last fault was lifted succeeded \(timeout: 1\)",
    ),
    ([KILLED, HEALED, read(60, "info", ["reset", "by peer"])], r"none of the 1 .*\(reset: 1\)"),
    ([KILLED, ends(50, {"kill-1": ["n1"]}), read(60)], "kill n1 n2 was not seen to end"),
    (
        [KILLED, ends(50, {"kill-1": ["n1", "n2"]}, status="indeterminate"), read(60)],
        "kill n1 n2 was not seen to end",
    ),
    ([KILLED, HEALED, read(60), *SILENT], "the last 5 client ops, to n3, got no answer"),
    (
        [KILLED, HEALED, begins(55, "pause-2", ["n3"]), ends(58, {"pause-2": ["n3"]}), read(60), *SILENT],
        "the last 5 client ops, to n3, got no answer",
    ),
    (
        [KILLED, HEALED, read(60), *(read(70 + i, "info", "ConnectionResetError", "n3") for i in range(5))],
        "the last 5 client ops, to n3, got no answer",
    ),
    (
        [KILLED, HEALED, read(55), begins(70, "pause-2"), ends(80, {"pause-2": ["n1"]}), read(85, "fail", "timeout")],
        "none of the 1 client ops after the last fault was lifted succeeded",
    ),
]


@pytest.mark.parametrize(("groups", "reason"), DEAD)
def test_not_recovered(groups: list[list[Op]], reason: str) -> None:
    verdict = recovery(history(*groups))
    assert verdict.validity is Validity.UNKNOWN
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(verdict.reason)


def test_ops_of_the_main_phase_count_when_no_fault_is_left() -> None:
    idle = pair(90, 91, "start", FaultResult("installed"))
    assert recovery(history(KILLED, HEALED, read(60), idle)).validity is Validity.VALID, (
        "the last heal had nothing to do"
    )


def test_final_reads_that_succeed_at_last_or_are_refused_are_recovery() -> None:
    assert recovery(history(KILLED, HEALED, read(60), *SILENT, read(90))).validity is Validity.VALID
    assert recovery(history(KILLED, HEALED, read(60), *SILENT[1:])).validity is Validity.VALID, "four are bad luck"
    empty = [read(60 + i, "fail", "empty") for i in range(10, 20)]
    assert recovery(history(KILLED, HEALED, read(60), *empty)).validity is Validity.VALID


def test_a_node_whose_data_was_damaged_need_not_serve() -> None:
    wiped = begins(12, "disk:wipe-2", ["n3"], damages=True)
    back = ends(51, {"disk:wipe-2": ["n3"]})
    assert recovery(history(KILLED, HEALED, wiped, back, read(60), *SILENT)).validity is Validity.VALID


def test_a_cluster_that_was_dead_at_the_end_of_a_run_without_faults_is_not_green() -> None:
    verdict = recovery(history(read(60), *SILENT))
    assert verdict.validity is Validity.UNKNOWN
    assert "the last 5 client ops, to n3, got no answer" in verdict.reason
    assert recovery(history(read(60), *SILENT, read(90))).validity is Validity.VALID
