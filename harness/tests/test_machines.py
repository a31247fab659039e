"""Every machine on Raft, by its workload: sound clusters are VALID, planted bugs are found; and what a new machine takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from checkers.evidence import EndedNodes
from checkers.verdict import Validity, Verdict
from harness.campaign.sweep import sweep
from harness.environments.real import ended_nodes
from harness.environments.real.labelled_processes import Ended
from harness.errors import HarnessError, UsageError
from harness.run.execute import execute, run_into
from harness.run.plan import prepare
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.store.runs import Result, Store
from harness.tests.broken_target import POISONED
from harness.workloads import registry as workloads
from harness.workloads.counter import CounterWorkload
from targets import machine_registry
from targets.node import CRASHED, HALTED, MACHINE_FAILED, REFUSED

FAULTS = ("partition", "kill", "pause", "loss", "clock")

WORKLOADS = ("register", "append", "counter", "set", "queue", "stack", "priority-queue", "lock", "consensus", "bank")
MACHINES = ("append", "counter", "set", "queue", "stack", "priority-queue", "lock", "consensus", "bank")
"""A workload of each machine."""
OF_OTHER_MODELS = ("txn-append", "txn-register", "shared-registers", "shared-counters", "shared-sets")
OF_GOSSIP = ("unique-ids",)
OF_ONE_ANOMALY = ("long-fork", "write-skew", "causal-reverse", "dirty-reads", "monotonic")
"""Workloads of transactions, and of systems that promise less than Raft; they ask for machines that others ask for too.
Those of one anomaly are run in test_isolation_workloads.py, those of gossip alone in test_gossip_runs.py."""

FOUND_BY = {
    ("append", "stale-read"): 1,
    ("counter", "stale-read"): 1,
    ("set", "stale-read"): 1,
    ("stack", "stale-read"): 1,
    ("priority-queue", "stale-read"): 1,
    ("counter", "reply-before-commit"): 1,
    ("queue", "reply-before-commit"): 1,
    ("stack", "reply-before-commit"): 1,
    ("priority-queue", "reply-before-commit"): 1,
    ("lock", "reply-before-commit"): 1,
}
"""(workload, bug) -> a seed whose history shows it. The queue and the lock have no reads that could be stale."""


def spec(workload: str, seed: int, bug: str = "", time_limit_s: float = 15.0) -> RunSpec:
    bugs = (bug,) if bug else ()
    return RunSpec(env="sim", workload=workload, nemesis=FAULTS, seed=seed, bugs=bugs, time_limit_s=time_limit_s)


def run(spec: RunSpec) -> Result:
    return execute(prepare(spec), MemorySink("test"))


def test_each_workload_has_its_machine_and_each_machine_its_workload() -> None:
    assert {workloads.find(name).interface for name in WORKLOADS} == machine_registry.BUILT_IN.keys()
    assert {*WORKLOADS, *OF_OTHER_MODELS, *OF_ONE_ANOMALY, *OF_GOSSIP} == workloads.BUILT_IN.keys()


@pytest.mark.parametrize("workload", [*WORKLOADS, *OF_OTHER_MODELS])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.long
def test_a_sound_cluster_is_valid_under_faults(workload: str, seed: int) -> None:
    result = run(spec(workload, seed))
    assert result.verdict.validity is Validity.VALID, result.verdict
    assert not result.harness


@pytest.mark.parametrize(("workload", "bug"), FOUND_BY)
@pytest.mark.long
def test_a_planted_bug_shows_in_the_history(workload: str, bug: str) -> None:
    result = run(spec(workload, FOUND_BY[workload, bug], bug, time_limit_s=8.0))
    assert result.verdict.parts["linearizable"].validity is Validity.INVALID
    assert not result.harness


WEAKER = [("queue", "exactly-once"), ("priority-queue", "at-least-once")]


@pytest.mark.parametrize(("workload", "claim"), WEAKER)
def test_a_weaker_claim_is_checked_for_and_broken_by_a_planted_bug(workload: str, claim: str) -> None:
    def verdict(bug: str) -> Verdict:
        made = msgspec.structs.replace(spec(workload, 1, bug, time_limit_s=8.0), consistency=claim)
        parts = run(made).verdict.parts
        (name,) = {"unordered-queue", "total-queue"} & parts.keys()
        return parts[name]

    assert verdict("").validity is Validity.VALID
    assert verdict("reply-before-commit").validity is Validity.INVALID


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.parametrize("workload", WORKLOADS)
def test_300_seeds_of_a_sound_cluster_are_valid(workload: str) -> None:
    wrong = [
        (result.seed, result.validity.name, result.reason)
        for result in sweep(spec(workload, 0), range(1, 301), jobs=2)
        if result.validity is not Validity.VALID
    ]
    assert not wrong


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.parametrize(("workload", "bug"), FOUND_BY)
def test_most_seeds_find_a_planted_bug(workload: str, bug: str) -> None:
    results = list(sweep(spec(workload, 0, bug), range(1, 51), jobs=2))
    assert sum(result.validity is Validity.INVALID for result in results) >= 25


_DIGESTS = """
from harness.campaign.sweep import run_seed
from harness.tests.test_machines import MACHINES, spec
for workload in MACHINES:
    result = run_seed(spec(workload, 3, time_limit_s=2.0), with_digests=True)
    print(workload, result.history_digest, result.trace_digest)
"""


@pytest.mark.long
def test_the_same_seed_writes_the_same_bytes_whatever_the_hash_seed() -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (process.communicate()[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert first == second
    assert len(first.splitlines()) == len(MACHINES)


# --- a machine that is wrong ------------------------------------------------------------------------------------------


class OfNoMachine(CounterWorkload):
    """It asks for a machine that cannot be loaded."""

    interface = "mangled"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no.such.module:Machine", "No module named 'no'"),
        ("targets.machines.kv:NoMachine", "no attribute 'NoMachine'"),
        ("targets.machines.kv:Read", "targets.machines.kv:Read is no machine .*: it lacks name, command_type,"),
    ],
)
def test_a_machine_that_cannot_be_loaded_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.setitem(machine_registry.BUILT_IN, "mangled", path)
    with pytest.raises(UsageError, match=f"the target raft cannot serve the interface 'mangled': .*{words}"):
        prepare(RunSpec(env="sim", workload=f"{__name__}:OfNoMachine"))


def test_a_machine_that_raises_is_a_failure_of_the_harness_and_keeps_the_history() -> None:
    sink = MemorySink("poisoned")
    result = execute(prepare(RunSpec(target=POISONED, env="sim", time_limit_s=5.0)), sink)
    assert [failure.phase for failure in result.harness] == ["run"]
    assert "machine 'kv' raised on Write(" in result.harness[0].error
    assert "ZeroDivisionError: poison" in result.harness[0].error
    assert result.verdict.validity is not Validity.INVALID
    assert len(sink.history()) > 0


@pytest.mark.real
def test_a_machine_that_raises_in_a_process_is_a_failure_of_the_harness(tmp_path: Path) -> None:
    plan = prepare(
        RunSpec(target=POISONED, env="local", nodes=("n1",), time_limit_s=1.0, workload_options={"final_keys": 0})
    )
    directory, result = run_into(Store(tmp_path), plan)
    told = [failure for failure in result.harness if failure.phase == "findings"]
    assert len(told) == 1
    assert "n1" in told[0].error
    assert "machine 'kv' raised on Write(" in told[0].error
    assert "ZeroDivisionError: poison" in told[0].error
    assert result.verdict.validity is not Validity.INVALID
    assert directory.history.read_text().count("\n") > 3


def test_a_node_that_ended_because_its_machine_raised_says_nothing_about_the_cluster() -> None:
    ended = [Ended("n2", 12, CRASHED), Ended("n1", 11, MACHINE_FAILED)]
    with pytest.raises(HarnessError, match="n1: the last line"):
        ended_nodes.verdict(ended, lambda node: "a line\nthe last line", has_cores=True)


@pytest.mark.parametrize(
    ("statuses", "harmed", "validity"),
    [
        ((REFUSED, REFUSED), (), Validity.INVALID),
        ((REFUSED, REFUSED), ("n2",), Validity.INVALID),
        ((REFUSED, REFUSED), ("n1",), Validity.VALID),
        ((REFUSED, HALTED), (), Validity.INVALID),
        ((HALTED, HALTED), (), Validity.VALID),
    ],
)
def test_a_node_whose_disk_only_crashes_befell_reads_it(
    statuses: tuple[int, int], harmed: tuple[str, ...], validity: Validity
) -> None:
    """A checkpoint that was not synced before it took the log's name is gone after a loss of power: the node never runs again."""
    ended = [Ended("n1", 11, statuses[0]), Ended("n1", 12, statuses[1])]
    found = ended_nodes.verdict(ended, lambda node: "a line\nthe last line", has_cores=True, harmed=harmed)
    assert found.validity is validity
    assert len(found.evidence_of(EndedNodes).ended) == 2
