"""Shares served under faults, by side, and how soon all was well again."""

from __future__ import annotations

import msgspec

from checkers.availability import availability, sides
from checkers.evidence import Availability, Served
from checkers.verdict import Validity
from histories.history import History
from histories.op import NEMESIS, Op, OpType, Process

GRUDGE = {"grudge": {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}}


def timed(*events: tuple[int, OpType, Process, str, object, str | None]) -> History:
    ops = [Op(0, time, type, process, f, None, value, None, node) for time, type, process, f, value, node in events]
    ops.sort(key=lambda op: op.time)
    return History(msgspec.structs.replace(op, index=i) for i, op in enumerate(ops))


def op(
    start: int, end: int, process: int, type_: OpType, node: str
) -> list[tuple[int, OpType, Process, str, object, str]]:
    return [(start, "invoke", process, "read", None, node), (end, type_, process, "read", None, node)]


PARTITIONED = timed(
    *op(0, 5, 0, "ok", "n1"),
    (10, "invoke", NEMESIS, "start-partition", "one", None),
    (12, "info", NEMESIS, "start-partition", {"status": "installed", "did": GRUDGE}, None),
    *op(15, 20, 1, "ok", "n2"),
    *op(16, 40, 0, "info", "n1"),
    *op(30, 33, 1, "fail", "n3"),
    *op(34, 36, 2, "ok", "n2"),
    (50, "invoke", NEMESIS, "stop-partition", None, None),
    (52, "info", NEMESIS, "stop-partition", {"status": "installed"}, None),
    *op(51, 56, 1, "ok", "n2"),
    *op(55, 60, 2, "ok", "n2"),
    *op(58, 92, 5, "ok", "n1"),
)


def test_shares_under_a_partition() -> None:
    verdict = availability(PARTITIONED)
    assert verdict.validity is Validity.VALID
    (window,) = verdict.evidence_of(Availability).windows
    assert window.served == Served(ok_count=2, fail_count=1, info_count=1)
    assert window.served.ok_share == 0.5
    assert window.by_node["n2"].ok_share == 1.0
    assert [(side.nodes, side.served.ok_count, side.served.fail_count) for side in window.sides] == [
        (("n2", "n3"), 2, 1),
        (("n1",), 0, 0),
    ]
    assert window.longest_gap_ns == 16  # From the ok at 20 to the one at 36.


def test_recovery_is_of_ops_invoked_after_the_heal() -> None:
    (window,) = availability(PARTITIONED).evidence_of(Availability).windows
    assert window.recovery_ns == 8  # Healed at 52; the op invoked at 51 does not count.
    assert window.recovery_ns_by_node == {"n1": 40, "n2": 8}
    assert availability(PARTITIONED).stats["mttr_ns"] == 8


def test_the_whole_run() -> None:
    verdict = availability(PARTITIONED)
    assert verdict.evidence_of(Availability).overall == Served(ok_count=6, fail_count=1, info_count=1)
    stats = verdict.stats
    assert stats["window_count"] == 1
    assert stats["unrecovered_count"] == 0


def test_no_recovery_is_told_apart_from_no_heal() -> None:
    healed = timed(
        (1, "invoke", NEMESIS, "kill", None, None),
        (2, "info", NEMESIS, "kill", {"status": "installed"}, None),
        (3, "invoke", NEMESIS, "start", None, None),
        (4, "info", NEMESIS, "start", {"status": "installed"}, None),
        *op(5, 6, 0, "fail", "n1"),
    )
    assert availability(healed).stats["unrecovered_count"] == 1
    assert availability(healed[:2]).stats["unrecovered_count"] == 0
    assert availability(healed).stats["mttr_ns"] is None


def test_without_ops_or_faults() -> None:
    assert availability(History([])).evidence == Availability(Served(0, 0, 0))
    assert availability(History([])).stats["ok_share"] is None


def test_sides_of_a_bridge_and_of_no_partition() -> None:
    bridge = {"grudge": {"n1": ["n4", "n5"], "n2": ["n4", "n5"], "n4": ["n1", "n2"], "n5": ["n1", "n2"]}}
    assert sides(bridge, ["n1", "n2", "n3", "n4", "n5"]) == [["n1", "n2", "n3", "n4", "n5"]]
    assert sides(bridge, ["n1", "n2", "n4", "n5"]) == [["n1", "n2"], ["n4", "n5"]]
    assert sides({"grudge": {"n1": ["n2"]}}, ["n1", "n2"]) == [["n1"], ["n2"]]  # One direction is not enough.
    assert sides({"nodes": ["n1"]}, ["n1", "n2"]) == []
