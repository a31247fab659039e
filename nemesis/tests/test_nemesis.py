import copy
import threading
import time
from collections.abc import Collection

import pytest

from histories.faults import FaultResult
from histories.op import NEMESIS, Op
from nemesis.capabilities import Grudge, Spans
from nemesis.nemesis import Nemesis
from nemesis.registry import chosen_families, families, parse_nemesis
from nemesis.tests.fake_cluster import FakeCluster

NODES = ["n1", "n2", "n3"]
SPLIT = {"grudge": {"n1": ["n2"]}}


def op(f: str, value: object = None) -> Op:
    return Op(0, 0, "invoke", NEMESIS, f, value=value)


def with_timeout(timeout_s: float | None) -> tuple[FakeCluster, Nemesis]:
    cluster = FakeCluster(NODES)
    return cluster, Nemesis(cluster, chosen_families(parse_nemesis(list(families()))), timeout_s=timeout_s)


def gives_up(nemesis: Nemesis, op: Op) -> FaultResult:
    """The result of an op that is stuck. The others keep the long time-out: they must end in time on a busy machine too."""
    patience_s, nemesis.timeout_s = nemesis.timeout_s, 0.05
    result = nemesis.invoke(op)
    nemesis.timeout_s = patience_s
    return result


def test_an_op_that_no_fault_takes_is_a_mistake_of_the_program() -> None:
    _, nemesis = with_timeout(None)
    with pytest.raises(ValueError, match="no fault takes the op 'kil'"):
        nemesis.invoke(op("kil"))


def test_two_faults_of_one_name_and_a_timeout_of_nothing_are_refused() -> None:
    cluster = FakeCluster(NODES)
    family = families()["kill"]
    other = copy.copy(family)
    other.fs = family.fs | {"slay"}
    with pytest.raises(ValueError, match="has one name twice"):
        Nemesis(cluster, [family, other])
    with pytest.raises(ValueError, match="timeout_s: 0 is not positive"):
        Nemesis(cluster, [family], timeout_s=0)


def test_without_a_timeout_everything_runs_in_the_callers_thread() -> None:
    cluster, nemesis = with_timeout(None)
    before = threading.active_count()
    threads: list[int] = []
    drop = cluster.links.drop

    def spied(grudge: Grudge) -> None:
        threads.append(threading.get_ident())
        drop(grudge)

    cluster.links.drop = spied  # type: ignore[method-assign]
    assert nemesis.invoke(op("start-partition", SPLIT)).status == "installed"
    assert threads == [threading.get_ident()]
    assert threading.active_count() == before


def test_with_a_timeout_an_op_that_ends_in_time_is_as_without() -> None:
    _, nemesis = with_timeout(30.0)
    assert nemesis.invoke(op("start-partition", SPLIT)).status == "installed"
    assert [fault.what for fault in nemesis.book.open("partition")] == ["1 of 6 links cut"]


def test_a_stuck_fault_is_given_up_and_healed_at_the_end() -> None:
    cluster, nemesis = with_timeout(30.0)
    cluster.links.stuck = threading.Event()
    result = gives_up(nemesis, op("start-partition", SPLIT))
    assert (result.status, result.why) == ("indeterminate", "given up after 0.05 s")
    assert [(begun.id, begun.nodes["n1"].in_force_ns) for begun in result.begins] == [("partition-1", None)]
    assert nemesis.invoke(op("kill", ["n1"])).status == "installed"
    nemesis.timeout_s = 1.0
    healed = nemesis.heal_all()
    assert healed["kill"].status == "installed"
    assert healed["partition"].status == "indeterminate"
    assert "still stuck and may yet take effect" in healed["partition"].why
    cluster.links.stuck.set()
    # The late op ends now, and breaks the links after the heal; the next heal waits for it and mends them.
    deadline = time.monotonic() + 10
    while nemesis.heal_all()["partition"].status != "installed":
        assert time.monotonic() < deadline
    assert cluster.healthy()


def test_a_stuck_heal_is_given_up_too() -> None:
    cluster, nemesis = with_timeout(30.0)
    nemesis.invoke(op("start-partition", SPLIT))
    cluster.links.stuck = threading.Event()
    assert gives_up(nemesis, op("stop-partition")).why == "given up after 0.05 s"
    nemesis.timeout_s = 1.0
    assert "may yet take effect" in nemesis.heal_all()["partition"].why
    cluster.links.stuck.set()


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_operating_errors_are_values_and_mistakes_are_raised(timeout_s: float | None) -> None:
    cluster, nemesis = with_timeout(timeout_s)

    def refuse(nodes: object) -> None:
        raise OSError(13, "Permission denied")

    cluster.processes.kill = refuse  # type: ignore[method-assign,assignment]
    result = nemesis.invoke(op("kill", ["n1"]))
    assert (result.status, result.did) == ("indeterminate", ["n1"])
    assert result.why == "PermissionError: [Errno 13] Permission denied"
    assert [(begun.name, list(begun.nodes)) for begun in result.begins] == [("kill", ["n1"])], "it may be in force"

    def mistaken(nodes: object) -> None:
        raise KeyError("n1")

    cluster.processes.kill = mistaken  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyError):
        nemesis.invoke(op("kill", ["n1"]))
    cluster.processes.start = mistaken  # type: ignore[method-assign,assignment]
    nemesis.invoke(op("start-partition", SPLIT))
    healed = nemesis.heal_all()
    assert "the heal crashed" in healed["kill"].why
    assert "KeyError" in healed["kill"].why
    assert healed["partition"].status == "installed"
    assert not cluster.links.cut


def test_an_op_that_is_stuck_does_not_refuse_the_ops_that_would_unblock_it() -> None:
    cluster, nemesis = with_timeout(30.0)
    is_up = threading.Event()
    start = cluster.processes.start

    def waits_for_the_others(nodes: Collection[str]) -> Spans:
        if "n3" in nodes:
            is_up.wait()
        spans = start(nodes)
        if {"n1", "n2"} & set(nodes):
            is_up.set()
        return spans

    cluster.processes.start = waits_for_the_others  # type: ignore[method-assign]
    assert nemesis.invoke(op("kill", ["n1", "n2"])).status == "installed"
    assert gives_up(nemesis, op("restart", ["n3"])).why == "given up after 0.05 s"
    killed = nemesis.invoke(op("kill", ["n3"]))
    assert killed.status in ("skipped", "indeterminate")
    assert "an earlier op (restart n3) is still stuck" in killed.why, "it may start n3 at any time"
    started = nemesis.invoke(op("start", ["n1", "n2"]))
    assert (started.status, started.why) == ("installed", "")
    # The restart is free now: it may end before this op is told of, or after it.
    assert [ended.id for ended in started.ends if ended.id != "restart-all-2"] == ["kill-1"]
    assert nemesis.heal_all()["kill"].status == "installed"
    assert cluster.healthy()
    assert nemesis.book.open("kill") == nemesis.book.open("restart-all") == []


def test_a_node_that_runs_and_does_not_answer_is_evidence_and_no_failure() -> None:
    cluster, nemesis = with_timeout(None)
    cluster.processes.silent = {"n1"}
    nemesis.invoke(op("kill", ["n1", "n2"]))
    started = nemesis.invoke(op("start"))
    assert started.status == "installed"
    assert started.evidence["silent"] == ["n1"]
    restarted = nemesis.invoke(op("restart-all"))
    assert (restarted.status, restarted.evidence["silent"]) == ("installed", ["n1"])


def test_a_heal_waits_for_an_op_that_is_being_done() -> None:
    """The driver of a run that fails leaves the op that it had begun to its thread."""
    cluster, nemesis = with_timeout(30.0)
    cluster.links.stuck = threading.Event()
    has_begun = threading.Event()
    drop = cluster.links.drop

    def noted(grudge: Grudge) -> None:
        has_begun.set()
        drop(grudge)

    cluster.links.drop = noted  # type: ignore[method-assign]
    driver = threading.Thread(target=nemesis.invoke, args=(op("start-partition", SPLIT),))
    driver.start()
    has_begun.wait()
    healed: list[FaultResult] = []
    healer = threading.Thread(target=lambda: healed.append(nemesis.heal_all()["partition"]))
    healer.start()
    healer.join(0.2)
    assert not healed, "what is healed now would be broken by the op"
    cluster.links.stuck.set()
    healer.join()
    driver.join()
    assert healed[0].status == "installed"
    assert cluster.healthy()
