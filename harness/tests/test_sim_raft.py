"""Raft in the simulation, by the interpreter, workload, nemesis and checkers of every other run: the standard scenario."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from checkers.evidence import Invariants
from checkers.verdict import Validity
from harness.campaign import sweep
from harness.environments.sim.environment import SimEnvironment
from harness.environments.sim.guard import deterministic
from harness.errors import UsageError
from harness.report.message_files import stored_entries
from harness.run import plan
from harness.run.execute import execute, perform, run_into
from harness.run.failures import Failures
from harness.run.interruption import Interruption
from harness.run.sinks import MemorySink
from harness.run.stage import prepare_stage
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.store.traces import read_traces
from harness.tests.simulated import TraceSink
from harness.zoo.raft import LEASES, PLANTED, SESSIONS, SNAPSHOTS, TRANSFERS
from harness.zoo.scenario import Planted
from nemesis.registry import families
from targets.raft.target import BUGS, RaftTarget

ROOT = Path(__file__).resolve().parents[2]
STANDARD = RunSpec(
    env="sim",
    nemesis=("partition", "kill", "pause", "loss", "clock"),
    time_limit_s=60.0,
    rate_hz=100.0,
    concurrency=10,
    interval_s=4.0,
    fault_share=0.5,
)
"""The standard scenario of the simulation: five Raft nodes, heartbeat 50 ms, election 150 to 300 ms."""

EVERYTHING: dict[str, Any] = {
    "env": "sim",
    "nemesis": tuple(sorted(families())),
    "beyond_model": True,
    "time_limit_s": 6.0,
    "interval_s": 1.5,
}


def of(seed: int, base: RunSpec = STANDARD, **changes: Any) -> RunSpec:
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return RunSpec(**{**fields, "seed": seed, **changes})


def test_the_standard_scenario_is_valid_and_not_vacuous() -> None:
    result = sweep.run_seed(of(1))
    assert result.validity is Validity.VALID, result.reason
    assert result.result.counts["ok"] > 1000
    assert result.virtual_s > 60


def test_the_standard_scenario_runs_under_the_guard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "themis")  # A line of the log takes the time of day.
    prepared = plan.prepare(of(2, time_limit_s=10.0))
    unguarded, guarded = MemorySink("unguarded"), MemorySink("guarded")
    execute(prepared, unguarded)
    prepared = plan.prepare(of(2, time_limit_s=10.0))
    with deterministic():
        perform(prepare_stage(prepared, guarded), guarded, Failures(), Interruption())
    assert guarded.history() == unguarded.history()


@pytest.mark.parametrize("transport", ["datagram", "stream"])
def test_both_transports_and_all_faults_of_the_model_are_survived(transport: str) -> None:
    survived = sorted(set(families()) - {"disk", "rate"} - ({"duplicate"} if transport == "stream" else set()))
    spec = of(
        3,
        nemesis=(*survived, "disk:lose-unsynced", "disk:torn-write", "disk:slow"),
        time_limit_s=30.0,
        env_options={"transport": transport},
    )
    result = sweep.run_seed(spec)
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.parametrize("seed", [13, 22, 29])
def test_clocks_that_jump_stop_no_election(seed: int) -> None:
    """Election timers ran on a clock that had been set back by up to a minute, and no node stood for election."""
    spec = RunSpec(
        env="sim", nemesis=("partition", "clock"), nodes=("n1", "n2", "n3"), rate_hz=10.0, time_limit_s=20.0, seed=seed
    )
    result = sweep.run_seed(spec)
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.parametrize("interface", ["register", "counter", "set", "queue", "lock"])
@pytest.mark.long
def test_every_machine_survives_snapshots_in_the_worst_places(interface: str) -> None:
    result = sweep.run_seed(replace(SNAPSHOTS.spec(1), workload=interface))
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.parametrize("seed", [1, 15])
def test_leases_bear_clocks_that_drift_within_the_bound(seed: int) -> None:
    result = sweep.run_seed(LEASES.spec(seed))
    assert result.validity is Validity.VALID, result.reason


def test_leases_and_clocks_that_jump_are_refused_together() -> None:
    spec = of(1, nemesis=("clock:jump",), target_options={"reads": "lease"})
    with pytest.raises(UsageError, match="clock"):
        sweep.run_seed(spec)


@pytest.mark.parametrize("sessions_max", [3, 10_000])
def test_with_sessions_no_op_is_indeterminate_unless_its_session_ended(sessions_max: int) -> None:
    """Killed leaders, partitions and loss: a client asks again until it knows, also a node that came back from a snapshot."""
    spec = SESSIONS.spec(1)
    options = {**spec.target_options, "sessions_max": sessions_max}
    result = sweep.run_seed(replace(spec, target_options=options, client_timeout_s=10.0))
    assert result.validity is Validity.VALID, result.reason
    assert (result.result.counts["info"] > 0) == (sessions_max == 3)


@pytest.mark.parametrize("seed", [1, 2])
def test_leadership_is_handed_over_all_the_time(seed: int) -> None:
    sink = MemorySink("handed-over")
    verdict = execute(plan.prepare(TRANSFERS.spec(seed)), sink).verdict
    assert verdict.validity is Validity.VALID, verdict.reason
    ops = [op for op in sink.history().ops if op.f == "transfer-leadership" and op.type == "info"]
    done = [op.value["evidence"] for op in ops if op.value["status"] == "installed"]
    assert len(done) > 3
    assert any(evidence["leader"] not in (None, evidence["leader_before"]) for evidence in done)


def test_every_bug_has_a_seed() -> None:
    assert {planted.bug for planted in PLANTED} == BUGS.keys()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.bug)
@pytest.mark.long
def test_the_track_record(planted: Planted) -> None:
    result = sweep.run_seed(planted.spec())
    assert result.validity is Validity.INVALID
    assert result.reason


def test_a_violated_invariant_ends_the_run_at_that_step() -> None:
    sink = TraceSink("violated")
    verdict = execute(plan.prepare(of(7, bugs=("vote-twice",))), sink).verdict
    world = cast(SimEnvironment, sink.environment).world
    invariants = verdict.parts["invariants"]
    assert invariants.validity is Validity.INVALID
    violation = invariants.evidence_of(Invariants).violation
    assert violation is not None
    assert violation.rule in ("persistent-state", "election-safety")
    assert violation.time == world.now_ns
    assert set(violation.nodes) <= set(STANDARD.nodes)
    assert violation.nodes
    assert sink.records[-1].time == world.now_ns
    assert sink.history()[-1].time <= world.now_ns
    assert verdict.parts["nodes"].validity is Validity.VALID


def test_the_files_of_a_run_are_written_while_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node's trace and log, and the message log when it is on: as they are, however long the blocks are."""
    from harness.environments.sim import message_log, world

    spec = of(4, time_limit_s=3.0, env_options={"messages": True})
    traced = TraceSink("traced")
    execute(plan.prepare(spec), traced)
    short, long = Store(tmp_path / "short"), Store(tmp_path / "long")
    run, _ = run_into(long, plan.prepare(spec))
    monkeypatch.setattr(world, "TRACE_ROWS_MAX", 7)
    monkeypatch.setattr(message_log, "ENTRIES_MAX", 3)
    other, _ = run_into(short, plan.prepare(spec))
    files = [f"nodes/{node}/{file}" for node in spec.nodes for file in ("trace.jsonl", "node.log")]
    for file in [*files, "messages.jsonl"]:
        assert (run.path / file).read_bytes() == (other.path / file).read_bytes(), file
    for node in spec.nodes:
        lines = (run.nodes / node / "trace.jsonl").read_bytes().splitlines()
        assert lines == [msgspec.json.encode(record) for record in traced.records if record.node == node]
        assert "started" in (run.nodes / node / "node.log").read_text()
    merged = sorted(traced.records, key=lambda record: (record.time, record.node))
    assert [msgspec.json.encode(record) for record in read_traces(run.nodes)] == list(map(msgspec.json.encode, merged))
    entries = list(stored_entries(run))
    kinds = {entry.kind for entry in entries}
    assert {"send", "deliver", "timer", "persist", "sync", "start", "request", "reply"} <= kinds
    sent = {entry.number for entry in entries if entry.kind == "send"}
    assert {entry.number for entry in entries if entry.kind in ("deliver", "drop")} <= sent


def test_the_message_log_changes_nothing() -> None:
    with_log = sweep.run_seed(of(5, time_limit_s=10.0, env_options={"messages": True}), with_digests=True)
    without = sweep.run_seed(of(5, time_limit_s=10.0), with_digests=True)
    assert (with_log.history_digest, with_log.trace_digest) == (without.history_digest, without.trace_digest)


def test_the_target_says_when_its_nodes_have_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RaftTarget, "converged", lambda _self, _statuses: False)
    prepared = plan.prepare(of(6, time_limit_s=1.0, nemesis=(), env_options={"liveness_s": 1.0}))
    liveness = execute(prepared, MemorySink("unconverged")).verdict.parts["liveness"]
    assert liveness.validity is Validity.INVALID
    assert "did not converge within 1 s" in liveness.reason


def test_only_what_the_target_names_is_an_invariant_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    short: dict[str, Any] = {"time_limit_s": 2.0, "nemesis": ()}
    monkeypatch.setattr(RaftTarget, "invariants", ("election-safety",))
    verdict = execute(plan.prepare(of(6, **short)), MemorySink("one")).verdict
    assert isinstance(verdict.parts["invariants"].validity, Validity)
    assert verdict.parts["invariants"].stats["rules"] == 1
    monkeypatch.setattr(RaftTarget, "invariants", ())
    assert "invariants" not in execute(plan.prepare(of(6, **short)), MemorySink("none")).verdict.parts


@pytest.mark.parametrize(
    ("rule", "words"),
    [("election-safty", "election-safety"), ("no.such:Rule", "no.such:Rule"), ("json:__name__", "is no rule")],
)
def test_an_invariant_that_cannot_be_found_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, rule: str, words: str
) -> None:
    monkeypatch.setattr(RaftTarget, "invariants", (rule,))
    with pytest.raises(UsageError, match=words):
        plan.prepare(of(6))


def test_a_run_without_a_majority_at_its_end_is_healed_and_serves() -> None:
    """Liveness heals by itself: here the schedule never brings three of five nodes back."""
    from nemesis.schedule import Schedule

    entries = ({"time_ns": 2_000_000_000, "f": "kill", "value": ["n1", "n2", "n3"]},)
    saved = Schedule(
        nodes=STANDARD.nodes,
        entries=tuple(_entry(entry) for entry in entries),
        seed=0,
        choices=("kill",),
        time_limit_ns=5_000_000_000,
        beyond_model=False,
    )
    prepared = plan.prepare(of(6, time_limit_s=5.0, nemesis=("kill",)), saved=saved)
    liveness = execute(prepared, MemorySink("healed")).verdict.parts["liveness"]
    assert liveness.validity is Validity.VALID, liveness.reason
    assert liveness.stats["converged_after_ns"] > 0


def _entry(fields: dict[str, Any]) -> Any:
    from nemesis.family import Entry

    return Entry(**fields)


# --- determinism -------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from harness.campaign import sweep
from harness.tests.test_sim_raft import EVERYTHING
from harness.spec import RunSpec
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    result = sweep.run_seed(RunSpec(seed=seed, **EVERYTHING), with_digests=True)
    print(seed, result.history_digest, result.trace_digest, result.validity.name, result.reason)
"""


def digests(first: int, last: int, hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, str(first), str(last + 1)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def compare(first: int, last: int) -> None:
    one, other = digests(first, last, "1"), digests(first, last, "4242")
    assert len(one) == last - first + 1
    assert one == other
    assert len({line.split()[1] for line in one}) == len(one), "different seeds give different histories"


@pytest.mark.real
@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes_in_another_process_with_another_hash_seed() -> None:
    compare(1, 4)


@pytest.mark.long
@pytest.mark.parametrize("seeds", [50, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(14400)])])
def test_many_seeds_give_the_same_bytes(seeds: int) -> None:
    compare(1, seeds)


@pytest.mark.long
@pytest.mark.parametrize(
    ("seeds", "jobs"),
    [
        *((range(first, first + 20), 1) for first in range(1, 41, 20)),
        pytest.param(range(1, 2_001), os.cpu_count() or 1, marks=pytest.mark.soak),
    ],
)
def test_healthy_raft_over_many_seeds(seeds: range, jobs: int) -> None:
    broken = [
        f"seed {result.seed}: {result.validity.name}: {result.reason}"
        for result in sweep.sweep(STANDARD, seeds, jobs)
        if result.validity is not Validity.VALID
    ]
    assert not broken, "\n".join(broken)
