"""Which checkers decide a claim: the table, plugins, a workload's own; and what nothing can check is refused."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from checkers.evidence import Finding, Findings, OpNote
from checkers.models import registry as models
from checkers.verdict import Validity, Verdict
from harness.errors import UsageError
from harness.run.execute import execute
from harness.run.plan import prepare
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.tests.command import SIM, assert_refused, themis
from harness.workloads import claims
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import ClaimChecker, choose_checkers, find_checker
from harness.workloads.register import RegisterWorkload
from histories.builder import h
from histories.history import History

HERE = "harness.tests.test_claims"


def check_eventual(history: History, context: WorkloadContext) -> Verdict:
    """The last read of a key is of the last value written; enough for a test."""
    return Verdict.valid("eventual")


def first_op_is_wrong(history: History, context: WorkloadContext) -> Verdict:
    finding = Finding("the first op should not be", key=0, ops=(OpNote(0, "this one"),))
    return Verdict.invalid("the first op is wrong", evidence=Findings((finding,)))


def raises(history: History, context: WorkloadContext) -> Verdict:
    raise ZeroDivisionError(f"after {len(history)} ops")


def no_verdict(history: History, context: WorkloadContext) -> Any:
    return True


EVENTUAL = ClaimChecker("converges", "eventual", "register", check_eventual)
NOT_A_CHECKER = 3


def plug(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Entry points of the group, as an installed distribution would bring them."""
    points = [metadata.EntryPoint(name, value, claims.GROUP) for name, value in values.items()]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == claims.GROUP else [])


def test_a_run_begins_with_an_empty_store() -> None:
    """So that no value that nobody wrote can be what a register held at first."""
    wrote = '[["w",0,1]]'
    history = h(f'p0 invoke txn {wrote} | p0 ok txn {wrote} | p0 invoke txn [["r",0,null]] | p0 ok txn [["r",0,5]]')
    run = WorkloadContext(None, ("n1",), 1, claim="")
    for row in claims.BUILT_IN:
        if row.data_type == "txn-register" and row.claim in ("serializable", "linearizable", "read-committed"):
            assert row.check(history, run).validity is Validity.INVALID


@pytest.mark.parametrize("data_type", claims.SEQUENTIAL_MODELS)
def test_linearizability_can_be_checked_for_every_data_type(data_type: str) -> None:
    workload = RegisterWorkload()
    workload.data_type = data_type
    (checker,) = choose_checkers("linearizable", workload, claimed_by="x claims")
    assert checker.name == "linearizable"
    assert claims.SEQUENTIAL_MODELS[data_type] in models.names()
    run = WorkloadContext(None, ("n1",), 1)
    assert checker.check(h("p0 invoke read | p0 fail read"), run).validity is Validity.VALID


def test_a_stale_read_is_invalid_for_the_claim() -> None:
    (checker,) = choose_checkers("linearizable", RegisterWorkload(), claimed_by="x claims")
    stale = h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read")
    assert checker.check(stale, WorkloadContext(None, ("n1",), 2)).validity is Validity.INVALID


def test_a_claim_that_nothing_can_check_is_refused_before_the_run() -> None:
    with pytest.raises(
        UsageError, match=r"raft claims 'eventual', which nothing can check.*--consistency linearizable"
    ):
        prepare(RunSpec(target_options={"reads": "local"}, workload="queue"))
    asked = prepare(RunSpec(target_options={"reads": "local"}, workload="queue", consistency="linearizable"))
    assert (asked.claim, asked.claimed_model) == ("linearizable", "eventual")
    assert asked.context.claim == "linearizable"


def test_a_claim_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown consistency model 'linearisable'; did you mean 'linearizable'"):
        prepare(RunSpec(consistency="linearisable"))


def test_a_plugin_adds_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, gossip=f"{HERE}:EVENTUAL", one_more=f"{HERE}:first_op_is_wrong")
    plan = prepare(RunSpec(target_options={"reads": "local"}, checkers=("one_more",)))
    assert [checker.name for checker in plan.checkers] == ["convergence", "durability", "converges", "one_more"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no.such.module:CHECKER", "cannot be loaded: ModuleNotFoundError"),
        (f"{HERE}:NOWHERE", "cannot be loaded: AttributeError"),
        ("./mine.py:never_back", "name the module, not its file: mine:never_back"),
        ("here", "write it as package.module:function"),
    ],
)
def test_a_plugin_that_does_not_load_is_one_message(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    plug(monkeypatch, broken=value)
    with pytest.raises(UsageError, match=f"the checker broken .*{message}"):
        prepare(RunSpec())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convergs", "unknown checker 'convergs'; did you mean 'converges'"),
        (f"{HERE}:NOT_A_CHECKER", "neither a function nor a ClaimChecker"),
        (f"{HERE}:ClaimChecker", "neither a function nor a ClaimChecker"),
    ],
)
def test_what_is_no_checker_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    plug(monkeypatch, converges=f"{HERE}:EVENTUAL")
    with pytest.raises(UsageError, match=message):
        find_checker(name)


def test_names_that_could_not_be_told_apart_are_refused() -> None:
    run = prepare(RunSpec(env="sim", time_limit_s=1.0, vacuity={"attempts_min": 0}))
    sink = MemorySink("names")
    parts = execute(run, sink).verdict.parts
    beside = parts.keys() - {checker.name for checker in run.checkers} | {"availability", "clocks", "logs", "restore"}
    assert beside == claims.RESERVED, "a name that every run has is reserved"
    for name in beside:
        with pytest.raises(ValueError, match=f"'{name}' is taken"):
            ClaimChecker(name, "linearizable", "register", check_eventual)
    again = ClaimChecker("linearizable", "", "", check_eventual)
    with pytest.raises(UsageError, match="two checkers are called 'linearizable'"):
        claims.with_extra(claims.BUILT_IN[:1], [again])


class Bank(RegisterWorkload):
    """A workload whose data type nobody else knows."""

    name = "ledger"
    data_type = "ledger"


class BankWithChecker(Bank):
    checkers = (ClaimChecker("total", "linearizable", "ledger", first_op_is_wrong),)


def test_a_workload_can_bring_its_own_checkers() -> None:
    with pytest.raises(UsageError, match="no checker is known for ops on 'ledger'"):
        choose_checkers("linearizable", Bank(), claimed_by="x claims")
    (checker,) = choose_checkers("linearizable", BankWithChecker(), claimed_by="x claims")
    assert checker.name == "total"


def test_local_reads_are_refused_and_checked_when_asked_for(tmp_path: Path) -> None:
    local = (*SIM, "-o", "reads=local", "--nemesis", "partition", "--store", tmp_path)
    assert_refused(themis(*local, "--workload", "queue"), "raft claims 'eventual'", "--consistency linearizable")
    assert not (tmp_path / "raft-queue").exists()
    ended = themis(*local, "--consistency", "linearizable")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "checked for linearizable (--consistency); raft claims eventual" in ended.stdout
    assert "INVALID  linearizable" in ended.stdout
    assert themis("analyze", "latest", "--store", tmp_path).returncode == 1
    assert_refused(themis(*SIM, "--consistency", "linear"), "unknown consistency model")


def test_a_sweep_checks_for_what_was_asked(tmp_path: Path) -> None:
    asked = ("--consistency", "linearizable", "--checker", f"{HERE}:check_eventual")
    ended = themis(
        *SIM[:-2], "-o", "reads=local", "--nemesis", "partition", *asked, "--seeds", "3..3", "--store", tmp_path
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"--consistency linearizable --checker {HERE}:check_eventual" in ended.stdout


def test_checkers_of_ones_own_run_beside_the_claims(tmp_path: Path) -> None:
    own = [word for name in ("first_op_is_wrong", "raises", "no_verdict") for word in ("--checker", f"{HERE}:{name}")]
    ended = themis(*SIM, *own, "--store", tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    parts = json.loads((tmp_path / "latest" / "verdict.json").read_bytes())["verdict"]["parts"]
    assert parts["first_op_is_wrong"]["evidence"]["kind"] == "findings"
    assert parts["raises"]["validity"] == "unknown"
    assert "test_claims.py" in parts["raises"]["evidence"]["traceback"]
    assert "it returned bool, not a Verdict" in parts["no_verdict"]["reason"]
    assert parts["linearizable"]["validity"] == "valid"
    told = themis("inspect", "latest", "--store", tmp_path).stdout
    assert "the first op should not be" in told
    assert "this one" in told
    assert "ZeroDivisionError: after" in told


def test_the_budgets_of_a_run_are_those_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def noting(_history: History, _model: object, **named: Any) -> Verdict:
        given.append(named)
        return Verdict.valid("linearizable")

    monkeypatch.setattr(claims, "linearizable", noting)
    context = WorkloadContext(None, ("n1",), 1, "linearizable", states_max=7, check_time_limit_s=1.5)
    claims.check_linearizable("cas-register", History([]), context)
    assert [(named["states_max"], named["time_limit_s"]) for named in given] == [(7, 1.5)]
