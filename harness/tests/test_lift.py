"""Lifting: a run of real nodes becomes a simulated one that fails in the same way, or it is said that none was found."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checkers import Verdict
from harness.campaign.case import Case, Failed, as_it_happened, recorded_case, run_case
from harness.campaign.lift import OTHERS_MAX, lift, simulated_case, try_number, varied
from harness.campaign.reproduction import LIFTED, keep, read_case, rerun
from harness.campaign.sweep import run_in
from harness.errors import UsageError
from harness.generators.script import Script
from harness.run import plan
from harness.run.execute import run_into
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory, Store, write_json
from histories.history import History
from histories.op import NEMESIS, Op
from histories.units import NS_PER_S
from nemesis.family import Entry
from nemesis.schedule import Schedule, check

NODES = ("n1", "n2", "n3")
SPEC = RunSpec(
    env="sim", bugs=("stale-read",), nemesis=("partition", "kill"), time_limit_s=4.0, seed=1, nodes=NODES, concurrency=6
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A failing run that says that it was one of real nodes."""
    run, _ = run_into(Store(tmp_path_factory.mktemp("store")), plan.prepare(SPEC))
    write_json(run.spec, replace(run.read_spec(), env="local"))
    return run


def test_a_run_of_real_nodes_is_simulated_and_fails_in_the_same_way(tmp_path: Path, recorded: RunDirectory) -> None:
    case, classes = simulated_case(recorded)
    assert (case.spec.env, classes[0][:12]) == ("sim", "linearizable")
    with ThreadPoolExecutor(1) as executor:
        found = lift(case, classes, executor=executor, jobs=1, budget_s=600)
    assert found.failed is not None
    assert found.other is None
    kept = keep(Store(tmp_path), found.failed, "raft-register", LIFTED)
    assert kept.path.parent.name == "raft-register-lifted"
    again = rerun(kept.path)
    assert again is not None
    assert again.classes == found.failed.classes


def test_an_invariant_that_the_simulation_sees_first_is_left_unwatched() -> None:
    """A vote that is on no disk is seen when it is sent; real nodes show that entries are gone."""
    spec = replace(
        SPEC, bugs=("volatile-log",), nodes=("n1", "n2", "n3", "n4", "n5"), concurrency=10, time_limit_s=10.0
    )
    for seed in range(1, 20):
        sink = MemorySink("seed")
        run_in(sink, replace(spec, seed=seed))
        assert sink.faults is not None
        case = recorded_case(replace(spec, seed=seed), sink.faults, sink.history())
        first = run_case(varied(case, 0))
        assert first is None or first.classes == ("invariants/persistent-state",)
        lifted = try_number(case, 0, frozenset({"invariants/kept-commits"}))
        if lifted is not None and lifted.classes == ("invariants/kept-commits",):
            assert lifted.case.spec.env_options["unwatched"] == ["persistent-state"]
            again = run_case(lifted.case)
            assert again is not None
            assert again.classes == lifted.classes
            return
    pytest.fail("no seed shows what comes of a volatile log")


@pytest.mark.long
def test_what_fails_in_another_way_only_is_said(recorded: RunDirectory) -> None:
    case, _ = simulated_case(recorded)
    with ThreadPoolExecutor(1) as executor:
        found = lift(case, ("liveness",), executor=executor, jobs=1, budget_s=600)
    assert found.failed is None
    assert found.other is not None
    assert found.tried_count >= OTHERS_MAX


class _Scripted(Executor):
    """Does nothing of what is submitted: tries end as they are told, the last one again and again."""

    def __init__(self, *ends: Failed | None) -> None:
        self._ends = list(ends)

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(self._ends.pop(0) if len(self._ends) > 1 else self._ends[0])
        return future


OLD, NONE, RULE = (
    "linearizable/cas-register/old state",
    "linearizable/cas-register/no such state",
    "invariants/one-leader",
)


def failing(*classes: str) -> Failed:
    return Failed(Case(SPEC, Schedule(nodes=SPEC.nodes, entries=()), Script(ops=())), classes, "words")


def test_only_a_run_with_an_anomaly_of_the_same_class_is_lifted() -> None:
    """A value that nobody wrote is not what a stale read shows, though one checker refutes both."""
    tries = _Scripted(failing(RULE), failing(NONE), None, failing(RULE, OLD))
    found = lift(failing().case, (OLD,), executor=tries, jobs=1, budget_s=600)
    assert (found.failed, found.other, found.tried_count) == (failing(RULE, OLD), None, 4)


def test_of_other_classes_the_nearest_is_what_is_said() -> None:
    found = lift(
        failing().case, (OLD,), executor=_Scripted(failing(RULE), failing(NONE), failing(RULE)), jobs=1, budget_s=600
    )
    assert (found.failed, found.other) == (None, failing(NONE))


def test_without_time_nothing_is_tried(recorded: RunDirectory) -> None:
    case, classes = simulated_case(recorded)
    with ThreadPoolExecutor(1) as executor:
        assert lift(case, classes, executor=executor, jobs=1, budget_s=0).tried_count == 0


def test_the_first_try_is_the_run_itself_and_each_is_a_schedule() -> None:
    entries = tuple(
        Entry(at * NS_PER_S, f, value)
        for at, (f, value) in enumerate(
            (("kill", ["n1"]), ("start-partition", {"shape": "primary"}), ("start", ["n1"]))
        )
    )
    case = Case(SPEC, Schedule(nodes=SPEC.nodes, entries=entries), Script(ops=()))
    assert varied(case, 0).faults.entries == entries
    for number in range(1, 50):
        tried = varied(case, number)
        check(tried.faults)
        assert tried == varied(case, number)
        assert sorted(entry.f for entry in tried.faults.entries) == ["kill", "start", "start-partition"]
        planned_ns = {entry.f: entry.time_ns for entry in entries}
        assert all(abs(entry.time_ns - planned_ns[entry.f]) < NS_PER_S for entry in tried.faults.entries)


def test_faults_happen_when_they_really_began() -> None:
    planned = Schedule(
        nodes=SPEC.nodes, entries=(Entry(1, "kill", ["n1"]), Entry(2, "start", ["n1"]), Entry(3, "kill", ["n2"]))
    )
    ops = [
        Op(2 * number + after, at + after, "info" if after else "invoke", NEMESIS, f, value=value)
        for number, (at, f, value) in enumerate(((5, "kill", ["n1"]), (9, "start", ["n1"]), (20, "start", None)))
        for after in (0, 1)
    ]
    happened = as_it_happened(History(ops), planned, 12)
    assert [(entry.time_ns, entry.f) for entry in happened.entries] == [(5, "kill"), (9, "start")]


@pytest.mark.parametrize(
    ("env", "verdict", "target", "said"),
    [
        ("local", Verdict.valid(), "raft", "the run is not INVALID"),
        ("sim", Verdict.invalid("so"), "raft", "a simulated run already fails again exactly"),
        ("local", Verdict.invalid("so"), "harness.tests.outside:TARGET", "has no simulation"),
    ],
)
def test_what_cannot_be_lifted_is_refused_in_words(
    tmp_path: Path, env: str, verdict: Verdict, target: str, said: str
) -> None:
    run = Store(tmp_path).create(replace(SPEC, env=env, target=target, bugs=()), "some")
    write_json(run.verdict, Result(verdict))
    with pytest.raises(UsageError, match=said):
        simulated_case(run)


@pytest.mark.parametrize(
    ("target", "said"),
    [("raft", "`themis lift "), ("harness.tests.outside:TARGET", "has no simulation: `themis replay ")],
)
def test_what_cannot_be_shrunk_is_told_what_else_can_be_done(tmp_path: Path, target: str, said: str) -> None:
    run = Store(tmp_path).create(replace(SPEC, env="local", target=target, bugs=()), "some")
    with pytest.raises(UsageError, match=said):
        read_case(run)
