"""When which fault was in force."""

from __future__ import annotations

from typing import Any

from checkers.windows import Window, fault_windows
from histories.history import History
from histories.op import NEMESIS, Op, OpType

Event = tuple[int, OpType, str, Any]


def nemesis(*events: Event) -> History:
    """Fault ops: time, type, f, value."""
    return History(Op(i, time, type, NEMESIS, f, None, value) for i, (time, type, f, value) in enumerate(events))


def ended(status: str, did: Any = None) -> dict[str, Any]:
    return {"status": status, "did": did}


def spans(history: History) -> list[tuple[str, int, int | None]]:
    """f, and from when to when it was certainly in force."""
    return [(window.f, window.installed_ns, window.lifting_ns) for window in fault_windows(history)]


def test_a_pair_opens_and_closes() -> None:
    grudge = {"grudge": {"n1": ["n2"], "n2": ["n1"]}}
    history = nemesis(
        (10, "invoke", "start-partition", "one"),
        (12, "info", "start-partition", ended("installed", grudge)),
        (30, "invoke", "stop-partition", None),
        (35, "info", "stop-partition", ended("installed")),
    )
    assert fault_windows(history) == [Window("start-partition", 1, "installed", grudge, 10, 12, 30, 35)]


def test_what_was_skipped_opens_nothing_and_what_is_uncertain_does() -> None:
    history = nemesis(
        (10, "invoke", "kill", "primary"),
        (11, "info", "kill", ended("skipped")),
        (20, "invoke", "pause", ["n1"]),
        (21, "info", "pause", ended("indeterminate", {"nodes": ["n1"]})),
    )
    assert [(window.f, window.status, window.lifted_ns) for window in fault_windows(history)] == [
        ("pause", "indeterminate", None)
    ]


def test_a_heal_that_did_not_hold_closes_nothing() -> None:
    history = nemesis(
        (10, "invoke", "start-partition", None),
        (11, "info", "start-partition", ended("installed")),
        (20, "invoke", "stop-partition", None),
        (21, "info", "stop-partition", ended("indeterminate")),
        (30, "invoke", "stop-partition", None),
        (31, "info", "stop-partition", ended("installed")),
    )
    assert spans(history) == [("start-partition", 11, 30)]


def test_nodes_are_started_one_by_one() -> None:
    history = nemesis(
        (1, "invoke", "kill", ["n1"]),
        (2, "info", "kill", ended("installed", {"nodes": ["n1"]})),
        (3, "invoke", "kill", ["n2"]),
        (4, "info", "kill", ended("installed", {"nodes": ["n2"]})),
        (5, "invoke", "start", ["n2"]),
        (6, "info", "start", ended("installed", {"nodes": ["n2"]})),
        (7, "invoke", "resume", None),
        (8, "info", "resume", ended("installed", {"nodes": ["n1", "n2"]})),
        (9, "invoke", "start", None),
        (10, "info", "start", ended("installed", {"nodes": ["n1", "n2"]})),
    )
    assert spans(history) == [("kill", 2, 9), ("kill", 4, 5)]


def test_a_new_partition_replaces_the_old_one() -> None:
    history = nemesis(
        (1, "invoke", "start-partition", None),
        (2, "info", "start-partition", ended("installed", {"grudge": {}})),
        (5, "invoke", "start-partition", None),
        (6, "info", "start-partition", ended("installed", {"grudge": {}})),
    )
    assert spans(history) == [("start-partition", 2, 5), ("start-partition", 6, None)]


def test_a_heal_closes_all() -> None:
    history = nemesis(
        (1, "invoke", "start-clock", None),
        (2, "info", "start-clock", ended("installed", {"nodes": ["n1"]})),
        (3, "invoke", "kill", None),
        (4, "info", "kill", ended("installed", {"nodes": ["n2"]})),
        (5, "invoke", "heal", None),
        (6, "info", "heal", ended("installed")),
    )
    assert spans(history) == [("start-clock", 2, 5), ("kill", 4, 5)]


def test_a_momentary_fault_is_in_force_while_it_is_done() -> None:
    history = nemesis((10, "invoke", "restart-all", None), (19, "info", "restart-all", ended("installed")))
    assert spans(history) == [("restart-all", 10, 19)]


def test_jepsens_nemesis_invokes_with_info() -> None:
    history = nemesis(
        (1, "info", "start-partition", "majority"),
        (2, "info", "start-partition", ["isolated", {"n1": ["n2"]}]),
        (5, "info", "stop-partition", None),
        (6, "info", "stop-partition", "network-healed"),
    )
    assert spans(history) == [("start-partition", 2, 5)]
    assert fault_windows(history)[0].status == "unmeasured"


def test_what_never_completed_is_no_window() -> None:
    assert fault_windows(nemesis((1, "invoke", "kill", None))) == []
