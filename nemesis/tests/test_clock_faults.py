"""Clock faults: what was read before and after says whether one was installed, and whether it is over."""

from __future__ import annotations

from nemesis.tests.bench import SECOND_NS, Bench


def test_clocks_are_judged_on_top_of_their_natural_offsets() -> None:
    bench = Bench()
    result = bench.do("start-clock", {"kind": "jump", "offset_ns": {"n1": -SECOND_NS, "n2": 0}})
    assert result.status == "installed"
    assert result.evidence["offsets_ns"]["n1"] == bench.cluster.clocks.natural_ns - SECOND_NS
    stopped = bench.do("stop-clock")
    assert stopped.status == "installed"
    assert stopped.evidence["before_offsets_ns"]["n1"] == bench.cluster.clocks.natural_ns - SECOND_NS


def test_a_clock_change_too_small_to_be_told_from_none_is_indeterminate() -> None:
    bench = Bench()
    assert "too little" in bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": 1_000_000}}).why
    assert "too near 1" in bench.do("start-clock", {"kind": "drift", "rate": {"n1": 1.001}}).why


def test_the_natural_offset_of_a_node_that_was_down_at_its_first_fault_is_learnt_later() -> None:
    bench = Bench()
    bench.do("pause", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("resume")
    assert bench.do("stop-clock").status == "installed"
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    bench.cluster.lies.add("clocks.heal")
    assert bench.do("stop-clock").status == "indeterminate"


def test_clocks_of_dead_nodes_cannot_be_read() -> None:
    bench = Bench()
    bench.do("kill", ["n1"])
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS}}
    assert bench.do("start-clock", value).why == "no clock was read: n1 dead or paused"
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}}
    assert bench.do("start-clock", value).status == "installed"
    assert bench.do("stop-clock").status == "installed"


def test_a_clock_that_nobody_read_at_the_stop_is_not_seen_to_be_right() -> None:
    bench = Bench()
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("kill", ["n1", "n2"])
    stopped = bench.do("stop-clock")
    assert (stopped.status, stopped.why) == ("indeterminate", "no clock was read: n1, n2 dead or paused")
    assert "clock:offset n1 n2" in bench.in_force()
    bench.do("start", ["n1"])
    assert bench.do("stop-clock").status == "installed"
    assert "clock:offset n2" in bench.in_force(), "n1 was read and n2 was not"
    bench.do("start", ["n2"])
    assert bench.do("stop-clock").status == "installed"
    assert bench.in_force() == []


def test_the_clock_of_a_node_that_never_comes_back_is_no_heal_that_failed() -> None:
    bench = Bench()
    bench.do("start-clock", {"kind": "drift", "rate": {"n1": 2.0}})
    bench.do("kill", ["n1"])
    bench.cluster.lies.add("processes.start")
    assert bench.nemesis.heal_all()["clock"].status == "skipped"


def test_a_stopped_clock_is_known_once_its_node_runs_again() -> None:
    """What it shows then is its natural offset: the stop has undone what was asked of it while it was down."""
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}})
    bench.do("stop-clock")
    bench.do("start", ["n1"])
    bench.do("stop-clock")
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    bench.cluster.lies.add("clocks.heal")
    assert bench.do("stop-clock").status == "indeterminate", "it is a second off"


def test_a_clock_that_nobody_ever_read_before_its_stop_is_seen_to_be_right_later() -> None:
    """No other node runs, so that the stop is not seen at all; what was asked for is undone for all that."""
    bench = Bench()
    bench.do("kill", ["n1"])
    bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}})
    assert bench.do("stop-clock").status == "indeterminate"
    bench.do("start", ["n1"])
    assert bench.do("stop-clock").status == "installed"
    assert bench.in_force() == []
    assert bench.do("start-clock", {"kind": "offset", "offset_ns": {"n1": SECOND_NS}}).status == "installed"
    assert bench.do("stop-clock").status == "installed"


def test_a_running_node_whose_clock_cannot_be_read_proves_nothing() -> None:
    bench = Bench()
    bench.cluster.clocks.unreadable.add("n2")
    value = {"kind": "offset", "offset_ns": {"n1": SECOND_NS, "n2": SECOND_NS}}
    result = bench.do("start-clock", value)
    assert (result.status, result.why) == ("indeterminate", "no clock reading from n2")
    assert bench.do("stop-clock").status == "indeterminate"
    assert bench.in_force() == ["clock:offset n1 n2"]


def test_the_leaps_of_a_strobe_are_one_fault() -> None:
    bench = Bench()
    there, back = {"n1": SECOND_NS}, {"n1": 0}
    begun = [
        begun.name
        for i in range(6)
        for begun in bench.do("start-clock", {"kind": "strobe", "offset_ns": back if i % 2 else there}).begins
    ]
    drift = bench.do("start-clock", {"kind": "drift", "rate": {"n1": 2.0}})
    assert [fault.name for fault in drift.begins] == ["clock:drift"]
    assert drift.ends == (), "the offset stays while the clock drifts"
    stopped = bench.do("stop-clock")
    assert {ended.id for ended in stopped.ends} == {"clock-1", "clock-2"}
    assert set(begun) == {"clock:strobe"}
    assert bench.in_force() == []
