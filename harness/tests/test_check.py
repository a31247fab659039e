"""What is checked and counted of a recorded run, and what `analyze` keeps of the first verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers import Validity, Verdict
from harness.run.check import ENVIRONMENT_FINDINGS, analyze, check, count_faults_not_begun
from harness.run.execute import run_into
from harness.run.failures import Failures
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.store.runs import HarnessFailure, Result, RunDirectory, Store, write_json
from histories.builder import h
from histories.faults import Begun, FaultResult, Onset
from histories.history import History
from histories.op import NEMESIS, Op
from histories.tracing import Role, Started, TraceRecord
from histories.wellformed import MalformedHistory, Problem

DUE: list[tuple[int, str, Any]] = [
    (5, "start-partition", {"grudge": {"n1": ("n2", "n3")}}),
    (7, "kill", ["n1"]),
    (9, "kill", ["n2"]),
]
HEALS: list[tuple[int, str, Any]] = [(20, "stop-partition", None), (21, "start", None)]


def history(*begun: tuple[int, str, Any]) -> History:
    ops: list[Op] = []
    for time_ns, f, value in begun:
        ops.append(Op(len(ops), time_ns, "invoke", NEMESIS, f, value=as_recorded(value)))
        ops.append(Op(len(ops), time_ns, "info", NEMESIS, f, value={"status": "installed"}))
    return History(ops)


def as_recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_recorded(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("done", range(4))
def test_planned_faults_that_were_never_begun_are_counted_and_heals_are_none_of_them(done: int) -> None:
    late = [(time_ns + 10, f, value) for time_ns, f, value in DUE[:done]]
    assert count_faults_not_begun(history(*late, *HEALS), DUE) == 3 - done


def test_a_run_without_faults_missed_none() -> None:
    assert count_faults_not_begun(history(), []) == 0


# --- the checks of a run ------------------------------------------------------------------------------------------------


class Recorded:
    """A record of this history, or one that cannot be read; traces: of the nodes."""

    def __init__(self, history: History | Exception, traces: Sequence[TraceRecord] | None = None) -> None:
        self._history = history
        self._traces = traces

    def history(self) -> History:
        if isinstance(self._history, Exception):
            raise self._history
        return self._history

    def traces(self) -> Sequence[TraceRecord] | None:
        return self._traces


def checked(record: Recorded, findings: Mapping[str, Verdict] | None = None, **fields: Any) -> Result:
    plan = prepare(RunSpec(env="sim", nodes=("n1", "n2", "n3"), **fields))
    return check(plan, record, "run", findings or {}, Failures())


BUSY = " | ".join(["p0 invoke write 0= 1 | p1 invoke read 0= | p0 ok write 0= 1 | p1 ok read 0= 1"] * 6)
TWO_LEADERS = [
    TraceRecord(0, "n3", Started(1, 0)),
    TraceRecord(1, "n1", Role("leader", 1)),
    TraceRecord(2, "n2", Role("leader", 1)),
]


def test_each_run_is_checked_for_its_claim_for_vacuity_for_recovery_and_for_the_rules_of_its_target() -> None:
    result = checked(Recorded(h(BUSY), TWO_LEADERS))
    parts = {name: part.validity.value for name, part in result.verdict.parts.items()}
    assert parts == {
        "linearizable": "valid",
        "vacuity": "valid",
        "recovery": "valid",
        "availability": "valid",
        "invariants": "invalid",
    }
    assert result.verdict.validity is Validity.INVALID


def test_a_run_without_ops_is_vacuous_unless_the_user_asks_for_nothing() -> None:
    assert checked(Recorded(h(""))).verdict.parts["vacuity"].validity is Validity.UNKNOWN
    nothing = {"ok_min": 0, "concurrent_min": 0}
    assert checked(Recorded(h("")), vacuity=nothing).verdict.parts["vacuity"].validity is Validity.VALID
    assert checked(Recorded(h(BUSY)), vacuity={"ok_min": 13}).verdict.validity is Validity.UNKNOWN


def test_a_fault_that_was_never_lifted_is_no_recovery() -> None:
    began = FaultResult("installed", begins=(Begun("kill-1", "kill", {"n1": Onset(1, 2)}),))
    ops = [Op(0, 0, "invoke", NEMESIS, "kill"), Op(1, 0, "info", NEMESIS, "kill", None, began)]
    later = [msgspec.structs.replace(op, index=op.index + 2) for op in h(BUSY)]
    parts = checked(Recorded(History([*ops, *later]))).verdict.parts
    assert (parts["vacuity"].validity, parts["recovery"].validity) == (Validity.VALID, Validity.UNKNOWN)


def test_what_the_environment_found_counts_and_its_own_word_on_the_rules_is_the_last() -> None:
    kept = Verdict.valid("invariants")
    crashed = Verdict.invalid("the core of n1 raised", "nodes")
    result = checked(Recorded(h(BUSY), TWO_LEADERS), {"nodes": crashed, "invariants": kept})
    assert result.verdict.reason == "nodes: the core of n1 raised"
    assert result.verdict.parts["invariants"] == kept


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MalformedHistory([Problem(3, "time", "backwards")])]
)
def test_a_history_that_cannot_be_read_is_a_failure_of_the_harness(error: Exception) -> None:
    result = checked(Recorded(error))
    assert result.verdict.validity is Validity.UNKNOWN
    assert [failure.phase for failure in result.harness] == ["check"]


# --- checked again ------------------------------------------------------------------------------------------------------

SPEC = RunSpec(env="sim", nodes=("n1", "n2", "n3"), concurrency=4, time_limit_s=1.0, quiet_s=0.1, seed=1)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Store, RunDirectory, Result]:
    """A store with one VALID run in it."""
    store = Store(tmp_path)
    run, result = run_into(store, prepare(SPEC))
    assert (result.verdict.validity, result.interrupted, result.harness) == (Validity.VALID, False, ())
    return store, run, result


@pytest.mark.parametrize("name", ENVIRONMENT_FINDINGS)
def test_analyze_keeps_what_the_environment_found(name: str, stored: tuple[Store, RunDirectory, Result]) -> None:
    store, run, result = stored
    found = Verdict.invalid("seen while it ran", name)
    write_json(run.verdict, msgspec.structs.replace(result, verdict=Verdict(Validity.INVALID, parts={name: found})))
    again = analyze(store, run, SPEC)
    assert again.verdict.validity is Validity.INVALID
    assert again.verdict.parts[name] == found
    assert {"linearizable", "vacuity", "recovery", "availability", "invariants"} <= set(again.verdict.parts)
    assert run.read_result() == again


@pytest.mark.parametrize("phase", ["run", "findings", "heal", "collect", "tear down"])
def test_analyze_keeps_what_failed_while_the_run_went_on(
    phase: str, stored: tuple[Store, RunDirectory, Result]
) -> None:
    store, run, result = stored
    failed = HarnessFailure(phase, "RuntimeError: no luck")
    write_json(run.verdict, msgspec.structs.replace(result, harness=(failed, HarnessFailure("check", "no memory"))))
    assert analyze(store, run, SPEC).harness == (failed,), "what failed in the check is decided anew"


def test_analyze_says_that_a_run_was_cut_short(stored: tuple[Store, RunDirectory, Result]) -> None:
    store, run, result = stored
    assert not analyze(store, run, SPEC).interrupted
    write_json(run.verdict, msgspec.structs.replace(result, interrupted=True))
    assert analyze(store, run, SPEC).interrupted
    run.verdict.unlink()
    assert analyze(store, run, SPEC).interrupted, "without a verdict it was killed"
