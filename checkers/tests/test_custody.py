"""Who held an acknowledged write when, from traces of a few lines."""

from __future__ import annotations

from checkers.custody import Custody, Loss, Span, custody
from histories.tracing import (
    Appended,
    Applied,
    Crashed,
    Recovered,
    Role,
    Served,
    Started,
    TraceEvent,
    TraceRecord,
    Truncated,
)


def of(*events: tuple[int, str, TraceEvent], op: int = 7) -> Custody:
    found = custody([TraceRecord(*event) for event in events], op)
    assert found is not None
    return found


WRITTEN = (
    (0, "n1", Appended(1, 1, ("x",))),
    (1, "n2", Appended(1, 1, ("x",))),
    (2, "n1", Applied(1, 1, 1, "x")),
    (3, "n1", Served(7, 1)),
)


def test_the_entry_is_the_one_that_the_answer_rests_on() -> None:
    found = of(*WRITTEN)
    assert (found.served_by, found.served_ns, found.index, found.term, found.command) == ("n1", 3, 1, 1, "x")
    assert found.nodes["n1"].spans == (Span("in-log", 0, 2), Span("applied", 2))
    assert found.nodes["n2"].spans == (Span("in-log", 1),)
    assert found.holders(1) == ["n1", "n2"]


def test_a_crash_that_keeps_it_is_a_span_on_disk() -> None:
    found = of(*WRITTEN, (5, "n1", Crashed(1)), (8, "n1", Started(2, 1)), (8, "n1", Recovered(1, ((1, 1),), ("x",))))
    assert found.nodes["n1"].spans == (
        Span("in-log", 0, 2),
        Span("applied", 2, 5),
        Span("down", 5, 8),
        Span("in-log", 8),
    )
    assert found.nodes["n1"].losses == ()


def test_a_crash_that_loses_it_ends_it_when_the_process_ended() -> None:
    found = of(*WRITTEN, (5, "n2", Crashed(1)), (8, "n2", Started(2, 0)), (8, "n2", Recovered(0)))
    assert found.nodes["n2"].spans == (Span("in-log", 1, 5),)
    assert found.nodes["n2"].losses == (Loss(5, "crash"),)
    assert [found.holders(time_ns) for time_ns in (4, 5, 6)] == [["n1", "n2"], ["n1"], ["n1"]]


def test_where_nobody_saw_the_crash_the_restart_counts() -> None:
    found = of(*WRITTEN, (8, "n2", Started(2, 0)), (9, "n2", Recovered(0)))
    assert found.nodes["n2"].losses == (Loss(8, "crash"),)


def test_what_a_node_takes_off_its_own_log_says_how() -> None:
    cut = of(*WRITTEN, (6, "n2", Truncated(1)), (7, "n2", Appended(1, 2, ("y",))))
    assert cut.nodes["n2"].losses == (Loss(6, "truncated"),)
    replaced = of(*WRITTEN, (6, "n2", Appended(1, 2, ("y",))))
    assert replaced.nodes["n2"].losses == (Loss(6, "replaced"),)


def test_it_may_come_back() -> None:
    found = of(*WRITTEN, (6, "n2", Truncated(1)), (9, "n2", Appended(1, 1, ("x",))))
    assert found.nodes["n2"].spans == (Span("in-log", 1, 6), Span("in-log", 9))


def test_a_node_that_never_had_it_has_no_part() -> None:
    assert "n3" not in of(*WRITTEN, (4, "n3", Role("follower", 1))).nodes


def test_what_nobody_acknowledged_has_no_custody() -> None:
    records = [TraceRecord(*event) for event in WRITTEN]
    assert custody(records, 8) is None
    assert custody([TraceRecord(0, "n1", Served(7, 1))], 7) is None, "no trace says what stands there"
