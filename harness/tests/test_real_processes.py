"""What the nemesis does to real processes and disks, on a control that only notes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Any, cast

import pytest

from harness.environments.real.capabilities import Control, NodeDisks, NodeProcesses
from harness.environments.real.labelled_processes import Ended
from nemesis.capabilities import FaultError, Span
from targets.node import HALTED

NODES = ("n1", "n2", "n3")


class Noted:
    """A Control whose processes have these states, and that notes what it is asked."""

    def __init__(self, **states: str) -> None:
        self.now = states
        self.asked: list[tuple[str, list[str]]] = []
        self.answers: dict[str, Any] = {}
        self.end: list[Ended] = []

    def ended(self) -> list[Ended]:
        return list(self.end)

    def states(self) -> Mapping[str, str]:
        return self.now

    def signal(self, nodes: Collection[str], name: str) -> Mapping[str, tuple[int, int]]:
        self.asked.append((name, list(nodes)))
        return dict.fromkeys(nodes, (100, 200))

    def ask(self, name: str, arguments: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        self.asked.append((name, list(arguments)))
        return {node: self.answers.get(node, {"done": name}) for node in arguments}


def processes(control: Noted, resumed: list[str] | None = None) -> NodeProcesses:
    def start(nodes: Collection[str]) -> Mapping[str, tuple[int, int]]:
        control.asked.append(("start", list(nodes)))
        return dict.fromkeys(nodes, (100, 300))

    return NodeProcesses(
        lambda: cast(Control, control),
        NODES,
        start,
        lambda nodes, _timeout_s: frozenset(nodes),
        (resumed if resumed is not None else []).extend,
        lambda monotonic_ns: monotonic_ns - 90,
        lambda ended: f"refused as {ended.pid}" if ended.status == HALTED else None,
    )


def disks(control: Noted, *, is_bounded: bool = True) -> NodeDisks:
    directories = {node: f"/data/{node}" for node in NODES}
    return NodeDisks(
        lambda: cast(Control, control),
        lambda: directories,
        processes(control),
        Random(1),
        lost_by_wipe=["wal*"],
        is_bounded=is_bounded,
    )


def test_a_process_that_nobody_knows_is_dead() -> None:
    assert processes(Noted(n1="running", n2="paused")).states() == {"n1": "running", "n2": "paused", "n3": "dead"}
    assert processes(Noted(n1="zombie")).states()["n1"] == "dead"


def test_a_node_refused_when_its_last_process_did() -> None:
    control = Noted(n1="dead", n2="dead", n3="dead")
    subject = processes(control)
    control.end = [Ended("n1", 1, HALTED), Ended("n2", 2, HALTED), Ended("n2", 3, -9)]
    assert subject.refused(NODES) == {"n1": "refused as 1"}
    subject.start(["n1", "n2"])
    assert subject.refused(NODES) == {}, "what ended before it was started says nothing of the process that runs now"
    control.end.append(Ended("n2", 5, HALTED))
    assert subject.refused(["n1"]) == {}
    assert subject.refused(NODES) == {"n2": "refused as 5"}


def test_only_the_dead_are_started_and_only_the_paused_resumed() -> None:
    control, resumed = Noted(n1="running", n2="paused"), list[str]()
    assert processes(control).start(NODES) == {"n3": Span(10, 210)}
    assert processes(control, resumed).resume(NODES) == {"n2": Span(10, 110)}
    assert control.asked == [("start", ["n3"]), ("SIGCONT", ["n2"])]
    assert resumed == ["n2"], "its clock is told what it missed"


def test_kills_and_pauses_are_those_signals_on_the_clock_of_the_run() -> None:
    control = Noted()
    assert processes(control).kill(["n2", "n1"]) == {"n1": Span(10, 110), "n2": Span(10, 110)}
    processes(control).pause(["n3"])
    assert control.asked == [("SIGKILL", ["n1", "n2"]), ("SIGSTOP", ["n3"])]


@pytest.mark.parametrize("kind", ["truncate", "bitflip", "wipe"])
def test_no_disk_is_damaged_under_a_process_that_is_not_dead(kind: str) -> None:
    control = Noted(n1="dead", n2="paused", n3="running")
    for node, state in (("n2", "paused"), ("n3", "running")):
        with pytest.raises(FaultError, match=f"{node} is {state}: only the disk of a dead node is damaged"):
            disks(control).damage(kind, ["n1", node], {})
    assert control.asked == []


def test_a_disk_without_anything_to_damage_is_not_among_the_damaged() -> None:
    control = Noted()
    control.answers["n2"] = None
    assert disks(control).damage("truncate", ["n1", "n2"], {"bytes": 1}) == {"n1": {"done": "damage"}}


def test_what_the_disk_cannot_do_is_refused() -> None:
    for kind in ("lose-unsynced", "slow", "full"):
        with pytest.raises(FaultError, match=f"cannot {kind}"):
            disks(Noted(), is_bounded=False).damage(kind, ["n1"], {})


def test_what_was_not_synced_is_lost_where_the_disks_can() -> None:
    control = Noted(n1="dead", n2="dead", n3="dead")
    subject = disks(control)
    subject.can_lose()
    assert subject.damage("lose-unsynced", ["n2", "n1"], {}) == {"n1": {"done": "lose"}, "n2": {"done": "lose"}}
    assert control.asked == [("lose", ["n1", "n2"])]


def test_a_disk_is_full_when_it_takes_not_one_byte_more() -> None:
    control = Noted()
    control.answers = {"n1": 0, "n2": 1, "n3": 4096}
    assert disks(control).measure() == {"in_force": {"full": ["n1"]}, "bytes_free": {"n1": 0, "n2": 1, "n3": 4096}}
