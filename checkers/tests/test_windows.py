"""When which fault was in force: what the results of the fault ops say, and nothing else."""

from __future__ import annotations

from checkers.tests.fault_ops import begins, ends, numbered, pair
from checkers.windows import fault_windows
from histories.faults import Begun, Ended, FaultResult, Lift, Onset
from histories.history import History
from histories.op import NEMESIS, Op


def windows(*groups: list[Op]) -> list[tuple[str, int | None, int | None, int | None]]:
    """id, and in force, lifting, lifted."""
    history = History(numbered(*groups))
    return [(w.id, w.in_force_ns, w.lifting_ns, w.lifted_ns) for w in fault_windows(history)]


def test_a_fault_has_the_times_that_its_ops_say() -> None:
    did = {"grudge": {"n1": ["n2"]}}
    history = History(
        numbered(
            begins(10, "partition-1", ["n1", "n2"], took=2, did=did), ends(30, {"partition-1": ["n1", "n2"]}, took=5)
        )
    )
    (window,) = fault_windows(history)
    assert (window.name, window.index, window.status, window.did) == ("partition", 1, "installed", did)
    assert (window.began_ns, window.in_force_ns, window.lifting_ns, window.lifted_ns) == (10, 12, 30, 35)
    assert window.nodes == ("n1", "n2")
    assert list(window.spans()) == [(12, 30), (12, 30)]


def test_the_name_of_an_op_means_nothing() -> None:
    swapped = FaultResult("installed", begins=(Begun("x-1", "x", {"n1": Onset(1, 2)}),))
    healed = FaultResult("installed", ends=(Ended("x-1", {"n1": Lift(5, 6)}),))
    assert windows(pair(1, 2, "stop-partition", swapped), pair(5, 6, "kill", healed)) == [("x-1", 2, 5, 6)]


def test_each_node_has_times_of_its_own() -> None:
    kill = FaultResult("installed", begins=(Begun("kill-1", "kill", {"n1": Onset(10, 11), "n2": Onset(400, 410)}),))
    some = FaultResult("installed", ends=(Ended("kill-1", {"n1": Lift(500, 510)}),))
    rest = FaultResult("installed", ends=(Ended("kill-1", {"n2": Lift(600, 620)}),))
    half = [pair(10, 410, "kill", kill), pair(500, 510, "start", some)]
    assert windows(*half) == [("kill-1", 410, 500, None)], "n2 is dead still"
    assert windows(*half, pair(600, 620, "start", rest)) == [("kill-1", 410, 500, 620)]
    (window,) = fault_windows(History(numbered(*half)))
    assert list(window.spans()) == [(11, 500), (410, None)]


def test_a_fault_that_begins_and_ends_in_one_op_has_a_window() -> None:
    result = FaultResult(
        "installed",
        begins=(Begun("restart-all-1", "restart-all", {"n1": Onset(10, 12)}),),
        ends=(Ended("restart-all-1", {"n1": Lift(13, 19)}),),
    )
    assert windows(pair(10, 20, "restart-all", result)) == [("restart-all-1", 12, 13, 19)]


def test_what_was_not_measured_on_every_node_is_indeterminate() -> None:
    result = FaultResult("indeterminate", begins=(Begun("pause-1", "pause", {"n1": Onset(1, 2), "n2": Onset(1)}),))
    (window,) = fault_windows(History(numbered(pair(1, 2, "pause", result))))
    assert (window.status, window.in_force_ns) == ("indeterminate", None)
    assert list(window.spans()) == [(2, None)], "on n1 it was in force"


def test_a_heal_that_was_not_seen_to_work_ends_the_certain_part_and_a_later_one_the_rest() -> None:
    tried = [begins(10, "loss-1"), ends(20, {"loss-1": ["n1"]}, took=1, status="indeterminate")]
    assert windows(*tried) == [("loss-1", 10, 20, None)]
    assert windows(*tried, ends(30, {"loss-1": ["n1"]}, took=1)) == [("loss-1", 10, 20, 31)]


def test_a_later_result_may_know_better_when_a_fault_began() -> None:
    assert windows(begins(10, "kill-1", status="indeterminate"), begins(20, "kill-1", took=3)) == [
        ("kill-1", 23, None, None)
    ]


def test_skipped_ops_and_ops_that_never_completed_are_no_windows() -> None:
    assert windows(pair(1, 2, "kill", FaultResult("skipped", why="no node leads"))) == []
    assert windows([Op(0, 1, "invoke", NEMESIS, "kill")]) == []


def test_histories_of_other_tools_have_no_windows() -> None:
    jepsen = [
        Op(0, 1, "info", NEMESIS, "start-partition", value="majority"),
        Op(0, 2, "info", NEMESIS, "start-partition", value=["isolated", {"n1": ["n2"]}]),
        Op(0, 5, "info", NEMESIS, "stop-partition"),
        Op(0, 6, "info", NEMESIS, "stop-partition", value="network-healed"),
    ]
    assert windows(jepsen) == []
