"""Shares served under faults, by side, and how soon all was well again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import availability as module
from checkers.availability import ENDS, availability, sides
from checkers.evidence import Availability, Served
from checkers.tests.fault_ops import begins, ends, numbered
from checkers.verdict import Validity
from checkers.windows import fault_windows
from histories.history import History
from histories.op import Op, OpType

GRUDGE = {"grudge": {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}}


def timed(*ops: Op) -> History:
    return History(numbered(ops))


def op(start: int, end: int | None, process: int, type_: OpType, node: str | None) -> list[Op]:
    ops = [Op(0, start, "invoke", process, "read", node=node)]
    return ops if end is None else [*ops, Op(0, end, type_, process, "read", node=node)]


PARTITIONED = timed(
    *op(0, 5, 0, "ok", "n1"),
    *begins(10, "partition-1", ["n1", "n2", "n3"], took=2, did=GRUDGE),
    *op(15, 20, 1, "ok", "n2"),
    *op(16, 40, 0, "info", "n1"),
    *op(30, 33, 1, "fail", "n3"),
    *op(34, 36, 2, "ok", "n2"),
    *ends(50, {"partition-1": ["n1", "n2", "n3"]}, took=2),
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


def test_what_a_side_answered_only_when_it_was_joined_again_it_did_not_serve_alone() -> None:
    """The node of the minority kept the op, and carried it out behind the heal."""
    second = 1_000_000_000
    history = timed(
        *begins(10, "partition-1", ["n1", "n2", "n3"], took=2, did=GRUDGE),
        *op(20, 30, 1, "ok", "n2"),
        *op(25, 2 * second, 2, "ok", "n1"),
        *op(second - 60_000_000, second + 10, 3, "ok", "n2"),
        *ends(second, {"partition-1": ["n1", "n2", "n3"]}, took=2),
    )
    (window,) = availability(history).evidence_of(Availability).windows
    assert window.served == Served(ok_count=3, fail_count=0, info_count=0)
    assert [side.served for side in window.sides] == [Served(1, 0, 0), Served(0, 0, 1)]


def test_recovery_is_of_ops_invoked_after_the_heal() -> None:
    (window,) = availability(PARTITIONED).evidence_of(Availability).windows
    assert window.recovery_ns == 8  # Healed at 52; the op invoked at 51 does not count.
    assert window.recovery_ns_by_node == {"n1": 40, "n2": 8}
    stats = availability(PARTITIONED).stats
    assert stats["mttr_ns"] == 8
    assert stats["mttr_ns_by_fault"] == {"partition": 8}


def test_a_slow_op_right_after_the_heal_does_not_hide_that_a_later_one_was_served_sooner() -> None:
    healed = timed(
        *begins(10, "kill-1", took=1),
        *ends(20, {"kill-1": ["n1"]}, took=1),
        *op(22, 90, 0, "ok", "n1"),
        *op(30, 35, 1, "ok", "n1"),
        *op(40, 95, 2, "ok", "n1"),
    )
    (window,) = availability(healed).evidence_of(Availability).windows
    assert window.recovery_ns == 35 - 21


def test_the_whole_run() -> None:
    verdict = availability(PARTITIONED)
    assert verdict.evidence_of(Availability).overall == Served(ok_count=6, fail_count=1, info_count=1)
    stats = verdict.stats
    assert stats["window_count"] == 1
    assert stats["unrecovered_count"] == 0


def test_no_recovery_is_told_apart_from_no_heal() -> None:
    healed = timed(
        *begins(1, "kill-1", took=1),
        *ends(3, {"kill-1": ["n1"]}, took=1),
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
    assert sides({**bridge, "shape": "bridge"}, ["n1"]) == [
        ["n1", "n2", "n4", "n5"]
    ]  # The one between them answered nothing.
    assert sides({"grudge": {"n1": ["n2"]}}, ["n1", "n2"]) == [["n1"], ["n2"]]  # One direction is not enough.
    assert sides({"nodes": ["n1"]}, ["n1", "n2"]) == []


def by_brute_force(history: History) -> list[dict[str, Any]]:
    """What the windows of `availability` must say, by looking at every op for every window."""
    pairs = [(a, b) for a, b in history.pairs() if a.is_client]
    end_ns = max(op.time for op in history)
    found = []
    for window in fault_windows(history):
        begin = window.began_ns if window.in_force_ns is None else window.in_force_ns
        end = end_ns if window.lifting_ns is None else window.lifting_ns
        by_node: dict[str, Counter[str]] = {}
        for a, b in pairs:
            if begin <= a.time <= end:
                node = (b and b.node) or a.node or ""
                by_node.setdefault(node, Counter())[b.type if b else "info"] += 1
        oks = sorted(b.time for _, b in pairs if b and b.type == "ok" and begin <= b.time <= end)
        recovered = [
            b.time - window.lifted_ns
            for a, b in pairs
            if window.lifted_ns is not None and b and b.type == "ok" and a.time >= window.lifted_ns
        ]
        found.append(
            {
                "served": [sum(counts[e] for counts in by_node.values()) for e in ENDS],
                "by_node": {n: [by_node[n][e] for e in ENDS] for n in sorted(by_node) if n},
                "longest_gap_ns": max((b - a for a, b in pairwise([begin, *oks, end])), default=0)
                if end > begin
                else 0,
                "recovery_ns": min(recovered, default=None),
            }
        )
    return found


NODES = ["n1", "n2", None]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Clients' ops of any length and end, and faults that overlap, are never lifted, or never certain."""
    groups: list[list[Op]] = []
    for process in range(draw(st.integers(0, 4))):
        time = 0
        for _ in range(draw(st.integers(0, 6))):
            start = time + draw(st.integers(0, 20))
            time = start + draw(st.integers(0, 30))
            groups.append(op(start, time, process, draw(st.sampled_from(ENDS)), draw(st.sampled_from(NODES))))
        if draw(st.booleans()):
            groups.append(op(time, None, process, "ok", draw(st.sampled_from(NODES))))
    for number in range(draw(st.integers(1, 4))):
        start, took = draw(st.integers(0, 100)), draw(st.integers(0, 10))
        status = draw(st.sampled_from(["installed", "indeterminate"]))
        groups.append(begins(start, f"kill-{number}", took=took, status=status))
        if draw(st.booleans()):
            heal = start + took + draw(st.integers(0, 60))
            groups.append(ends(heal, {f"kill-{number}": ["n1"]}, took=draw(st.integers(0, 9))))
    return History(numbered(*groups))


@settings(deadline=None)
@given(histories(), st.integers(1, 4))
def test_the_windows_are_those_of_brute_force(history: History, block: int) -> None:
    usual, module.BLOCK = module.BLOCK, block
    try:
        found = availability(history).evidence_of(Availability).windows
    finally:
        module.BLOCK = usual
    assert [
        {
            "served": [getattr(window.served, f"{end}_count") for end in ENDS],
            "by_node": {node: [getattr(row, f"{end}_count") for end in ENDS] for node, row in window.by_node.items()},
            "longest_gap_ns": window.longest_gap_ns,
            "recovery_ns": window.recovery_ns,
        }
        for window in found
    ] == by_brute_force(history)
