"""The faults of a run, node by node."""

from __future__ import annotations

import itertools

from histories.faults import Begun, Ended, Lift, Onset
from nemesis.book import FaultBook
from nemesis.capabilities import Span


def book(step_ns: int = 10) -> FaultBook:
    """Its clock goes on by step_ns at each look."""
    ticks = itertools.count(step_ns, step_ns)
    return FaultBook(lambda: next(ticks))


def test_a_fault_that_was_only_begun_may_be_in_force() -> None:
    ours = book()
    ours.begin("kill", ["n2", "n1"], holds="dead")
    assert ours.taken() == ((Begun("kill-1", "kill", {"n1": Onset(10), "n2": Onset(10)}),), ())
    assert ours.taken() == ((), ()), "it was told once"
    assert [fault.id for fault in ours.open("kill")] == ["kill-1"]


def test_the_times_are_those_that_the_environment_measured() -> None:
    ours = book()
    fault = ours.begin("kill:primary", ["n1", "n2", "n3"], holds="dead")
    fault.in_force(["n1", "n2"], {"n1": Span(12, 15), "n2": Span(400, 410)})
    fault.in_force(["n3"])
    (begun,), _ = ours.taken()
    assert begun.nodes == {"n1": Onset(12, 15), "n2": Onset(400, 410), "n3": Onset(10, 30)}
    fault.lifting(["n1"])
    fault.lifted(["n1"], {"n1": Span(500, 520)})
    assert ours.taken()[1] == (Ended("kill-1", {"n1": Lift(500, 520)}),)
    assert fault.nodes == {"n2", "n3"}
    fault.lifted(at_ns=600)
    assert ours.open("kill") == []
    assert ours.taken()[1] == (Ended("kill-1", {"n2": Lift(600, 600), "n3": Lift(600, 600)}),)


def test_a_fault_was_never_in_force_before_it_began() -> None:
    """Two clocks are read here: the environment's own, which may lag, and the run's."""
    fault = book().begin("kill", ["n1"])
    fault.in_force(spans={"n1": Span(3, 5)})
    assert fault.onsets == {"n1": Onset(10, 10)}


def test_a_lift_that_was_not_seen_leaves_the_fault_open() -> None:
    ours = book()
    fault = ours.begin("loss", ["n1"])
    ours.taken()
    fault.lifting()
    assert ours.taken() == ((), (Ended("loss-1", {"n1": Lift(20)}),))
    assert ours.open("loss") == [fault]
    fault.lifted()
    assert ours.taken()[1] == (Ended("loss-1", {"n1": Lift(20, 30)}),)


def test_whoever_holds_a_node_in_a_state_is_found() -> None:
    ours = book()
    disk = ours.begin("disk:wipe", ["n1"], holds="dead", damages=True)
    kill = ours.begin("kill", ["n1", "n2"], holds="dead")
    ours.begin("pause", ["n1"], holds="paused")
    assert ours.holding("dead", ["n1"]) == [disk, kill]
    assert ours.holding("dead", ["n2", "n3"]) == [kill]
    kill.lifted(["n2"])
    assert ours.holding("dead", ["n2"]) == []
    assert [fault.name for fault in ours.open("disk")] == ["disk:wipe"]
    assert ours.open("disk:full") == []


def test_a_fault_of_no_node_is_none() -> None:
    ours = book()
    ours.begin("kill", [])
    assert ours.taken() == ((), ())
    assert ours.open("kill") == []
