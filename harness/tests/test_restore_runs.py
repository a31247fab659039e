"""Restores from a backup under load: nothing but what came after the backup is lost, and a backup that lacks something is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkers.linearizability import linearizable
from checkers.models import registry as models
from checkers.verdict import Validity, Verdict
from harness.campaign import sweep
from harness.cli import run_command
from harness.cluster import backup_file
from harness.errors import UsageError
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.tests.command import themis
from harness.workloads.base import WorkloadContext
from histories import jsonl
from histories.history import History
from targets.machines.kv import KvMachine
from targets.raft import backup as raft_backup


def of(target: str, seed: int = 1, **changes: Any) -> RunSpec:
    fields: dict[str, Any] = {"target": target, "env": "sim", "nemesis": ("restore",), "time_limit_s": 6.0}
    return RunSpec(**{**fields, **changes}, seed=seed)


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("raft", {"nemesis": ("restore", "partition", "kill", "clock")}),
        ("raft", {"target_options": {"sessions": True}}),
        ("paxos", {"nemesis": ("restore", "partition", "kill", "clock")}),
        ("gossip", {"target_options": {"mode": "causal"}, "workload": "shared-registers"}),
        ("gossip", {"target_options": {"mode": "session"}, "workload": "shared-counters"}),
        ("gossip", {"target_options": {"mode": "eventual"}, "workload": "shared-sets"}),
        ("gossip", {"target_options": {"mode": "quorum"}, "workload": "shared-registers"}),
    ],
    ids=["raft", "sessions", "paxos", "causal", "session", "eventual", "quorum"],
)
@pytest.mark.long
def test_a_healthy_target_loses_only_what_came_after_the_backup(target: str, changes: dict[str, Any]) -> None:
    result = sweep.run_seed(of(target, **changes))
    assert result.validity is Validity.VALID, result.reason
    told = result.result.verdict.parts["restore"].stats["restores"]
    assert told
    assert any(each["given_up_count"] for each in told)


@pytest.mark.parametrize("workload", ["shared-registers", "shared-sets"])
def test_a_gossip_node_with_old_data_converges_and_takes_nothing_back(workload: str) -> None:
    spec = of("gossip", 2, workload=workload, nemesis=("restore:node",), target_options={"mode": "eventual"})
    result = sweep.run_seed(spec)
    assert result.validity is Validity.VALID, result.reason
    assert any(not each["is_whole"] for each in result.result.verdict.parts["restore"].stats["restores"])


def test_a_restore_does_take_acknowledged_writes_back() -> None:
    """Without the timelines the same history is not linearizable: the run did put the claim to the test."""
    prepared, sink = plan.prepare(of("raft")), MemorySink("seed-1")
    assert execute(prepared, sink).verdict.validity is Validity.VALID
    (checker,) = prepared.checkers
    assert checker.check(sink.history(), prepared.context).validity is Validity.INVALID


def test_a_later_check_cuts_the_history_as_the_run_did(tmp_path: Path) -> None:
    sink = MemorySink("seed-1")
    assert execute(plan.prepare(of("raft")), sink).verdict.validity is Validity.VALID
    jsonl.write(path := tmp_path / "history.jsonl", sink.history())
    for asked in (
        ("--model", "cas-register"),
        ("--consistency", "sequential"),
        ("--checker", f"{__name__}:as_a_register"),
    ):
        ended = themis("check", path, *asked)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "after the backup at" in ended.stdout


def as_a_register(history: History, context: WorkloadContext) -> Verdict:
    """A checker of a user's own: it knows of no restores."""
    return linearizable(history.clients(), models.find("cas-register"))


def test_a_backup_that_lacks_acknowledged_writes_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take = raft_backup.take
    monkeypatch.setattr(
        raft_backup, "take", lambda term, machine, index, last_term: take(term, KvMachine(), index, last_term)
    )
    sink = MemorySink("seed-1")
    verdict = execute(plan.prepare(of("raft")), sink).verdict
    assert verdict.validity is Validity.INVALID
    assert "after the restore at" in verdict.reason
    jsonl.write(path := tmp_path / "history.jsonl", sink.history())
    ended = themis("check", path, "--model", "cas-register")
    assert (ended.returncode, "after the restore at" in ended.stdout) == (1, True)


@pytest.mark.parametrize(("target", "mode"), [("raft", None), ("gossip", "quorum")])
def test_a_node_that_must_not_forget_is_not_restored_alone(target: str, mode: str | None, tmp_path: Path) -> None:
    options = () if mode is None else ("--target-option", f"mode={mode}", "--workload", "shared-registers")
    arguments = ["test", "--target", target, "--nemesis", "restore:node", "--store", str(tmp_path), *options]
    assert run_command(arguments) == 254


# --- the file of `themis cluster backup` ------------------------------------------------------------------------------


def test_a_backup_file_is_read_as_it_was_written_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    backup_file.write(path, "raft", "kv", "2026-01-01", {"n1": '{"x":"\u00e9"}'})
    found = backup_file.read(path)
    assert (found.target, found.interface, found.pieces) == ("raft", "kv", {"n1": '{"x":"\u00e9"}'})
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.backup"]


def test_no_byte_of_a_backup_file_can_change_or_be_missing_unseen(tmp_path: Path) -> None:
    path, other = tmp_path / "a.backup", tmp_path / "b.backup"
    backup_file.write(path, "raft", "kv", "2026-01-01", {"n1": '{"x":1}'})
    whole = path.read_bytes()
    for at in range(len(whole) - 1):  # The last is a line break.
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            other.write_bytes(damaged)
            with pytest.raises(UsageError) as raised:
                backup_file.read(other)
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "[" * 5000, '{"digest":"","content":{}}', "\xff"])
def test_what_is_no_backup_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"no backup|damaged"):
        backup_file.read(path)
    for missing in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UsageError, match=r"not a file|no such file"):
            backup_file.read(missing)


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("target", ["raft", "gossip"])
def test_nodes_that_are_processes_are_restored(target: str, tmp_path: Path) -> None:
    workload = ("--workload", "shared-registers") if target == "gossip" else ()
    options = ("--nemesis", "restore:cluster", "--time-limit", "10", "--nodes", "3", "--seed", "3")
    store = ("--store", str(tmp_path))
    assert run_command(["test", "--target", target, "--env", "local", *workload, *options, *store]) == 0
