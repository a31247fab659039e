"""Gossip in the simulation: healthy in every mode, and the track record of its planted bugs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.cli import run_command
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.soak import gossip
from harness.spec import RunSpec
from harness.workloads import claims
from harness.zoo.gossip import PLANTED
from harness.zoo.scenario import Planted
from targets.gossip.options import GossipOptions
from targets.gossip.target import BUGS

FAULTS = ("partition", "kill", "loss", "clock")
MODES = ("eventual", "session", "causal")
KINDS = ("shared-registers", "shared-counters", "shared-sets")


def of(seed: int, mode: str = "causal", **changes: Any) -> RunSpec:
    fields: dict[str, Any] = {
        "target": "gossip",
        "env": "sim",
        "nemesis": FAULTS,
        "workload": "shared-registers",
        "target_options": {"mode": mode, **changes.pop("options", {})},
        "time_limit_s": 5.0,
        "rate_hz": 100.0,
    }
    return RunSpec(**{**fields, **changes}, seed=seed)


@pytest.mark.parametrize("workload", KINDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.long
def test_every_mode_keeps_what_it_promises(mode: str, workload: str) -> None:
    result = sweep.run_seed(of(1, mode, workload=workload))
    assert result.validity is Validity.VALID, result.reason


QUORUMS: tuple[dict[str, Any], ...] = (
    {},
    {"read_repair": "before-answer"},
    {"quorums": "sloppy"},
    {"quorums": "sloppy", "read_quorum": 1, "write_quorum": 1},
    {"read_quorum": 1, "write_quorum": 3},
)


@pytest.mark.parametrize("options", QUORUMS)
def test_every_kind_of_quorum_keeps_what_it_promises(options: dict[str, Any]) -> None:
    result = sweep.run_seed(of(1, "quorum", options=options))
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.parametrize(
    ("claim", "options"),
    [
        ("read-your-writes", {"quorums": "sloppy"}),
        ("read-your-writes", {"read_quorum": 1, "write_quorum": 1}),
        ("linearizable", {"read_repair": "before-answer"}),
    ],
)
@pytest.mark.long
def test_quorums_break_what_they_do_not_promise(claim: str, options: dict[str, Any]) -> None:
    """Sloppy quorums need not meet; and stamps of clocks that are wrong do not follow real time."""
    runs = (
        sweep.run_seed(of(seed, "quorum", options=options, consistency=claim, rate_hz=300.0)) for seed in range(1, 9)
    )
    assert any(result.validity is Validity.INVALID for result in runs)


@pytest.mark.parametrize(
    "options", [{"register": "multi-value"}, {"counter": "g", "mode": "eventual"}, {"sets": "grow-only"}]
)
def test_the_other_types_converge(options: dict[str, Any]) -> None:
    workload, weights = {
        "register": ("shared-registers", {}),
        "counter": ("shared-counters", {"subtract": 0}),
        "sets": ("shared-sets", {"remove": 0}),
    }[next(iter(options))]
    spec = of(2, options=options, workload=workload, workload_options=weights)
    result = sweep.run_seed(spec)
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.parametrize("claim", ["causal", "monotonic-reads", "read-your-writes"])
@pytest.mark.long
def test_mode_eventual_breaks_what_it_does_not_promise(claim: str) -> None:
    runs = (sweep.run_seed(of(seed, "eventual", consistency=claim, rate_hz=300.0)) for seed in range(1, 9))
    assert any(result.validity is Validity.INVALID for result in runs)


WEAKER = (
    "linearizable",
    "sequential",
    "causal+",
    "causal-memory",
    "session",
    "quorum",
    "eventual",
    "bounded-staleness",
)
"""Claims that every linearizable store keeps; between them they have all the checkers of registers."""


@pytest.mark.parametrize(
    "seeds", [range(1, 6), pytest.param(range(6, 40), marks=pytest.mark.soak)], ids=["few", "many"]
)
@pytest.mark.parametrize(
    ("target", "reads"),
    [
        ("raft", "log"),
        ("raft", "read-index"),
        ("raft", "lease"),
        ("paxos", "log"),
        ("paxos", "round"),
        ("paxos", "lease"),
    ],
)
@pytest.mark.long
def test_consensus_keeps_every_weaker_model(target: str, reads: str, seeds: range) -> None:
    for seed in seeds:
        spec = of(
            seed, target=target, options={"reads": reads}, nemesis=("partition", "kill", "loss"), time_limit_s=3.0
        )
        fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
        prepared = plan.prepare(RunSpec(**{**fields, "target_options": {"reads": reads}}))
        sink = MemorySink(f"seed-{seed}")
        result = execute(prepared, sink)
        assert result.verdict.validity is Validity.VALID, (seed, result.verdict.reason)
        history = sink.history()
        for row in claims.rows_for(prepared.workload):
            if row.claim in WEAKER:
                verdict = row.check(history, prepared.context)
                assert verdict.validity is Validity.VALID, (seed, row.claim, row.name, verdict.reason)


@pytest.mark.parametrize("mode", MODES)
def test_no_id_is_given_out_twice(mode: str) -> None:
    result = sweep.run_seed(of(1, mode, workload="unique-ids"))
    assert result.validity is Validity.VALID, result.reason


@pytest.mark.long
def test_ids_that_were_not_durable_are_given_out_again() -> None:
    runs = (
        sweep.run_seed(
            of(
                seed,
                workload="unique-ids",
                nemesis=("kill", "disk:slow"),
                rate_hz=400.0,
                bugs=("acknowledged-before-durable",),
            )
        )
        for seed in range(1, 9)
    )
    found = [result.reason for result in runs if result.validity is Validity.INVALID]
    assert found
    assert all("unique-ids: " in reason for reason in found)


def test_a_quorum_is_waited_for_longer_than_what_a_client_saw() -> None:
    assert [GossipOptions(mode=mode).wait_rounds for mode in ("causal", "quorum")] == [6, 20]
    assert GossipOptions(mode="quorum", wait_ms=120).wait_rounds == 3


def test_every_bug_has_a_seed() -> None:
    assert {planted.bug for planted in PLANTED} == BUGS.keys()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.bug)
@pytest.mark.long
def test_the_track_record(planted: Planted) -> None:
    result = sweep.run_seed(planted.spec())
    assert result.validity is Validity.INVALID
    assert f"{planted.by}: " in result.reason


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("workload", KINDS)
def test_nodes_that_are_processes_converge(workload: str, tmp_path: Path) -> None:
    """The first such run found digests that no message could carry: each exchange was refused, and no node said so."""
    options = ("--nemesis", "partition,kill,clock", "--time-limit", "8", "--seed", "3", "--store", str(tmp_path))
    assert run_command(["test", "--target", "gossip", "--env", "local", "--workload", workload, *options]) == 0


@pytest.mark.long
@pytest.mark.parametrize("mode", gossip.MODES)
def test_healthy_gossip_over_fifty_seeds(mode: str) -> None:
    for seed in range(1, 51):
        result = sweep.run_seed(gossip.spec_of(mode, seed))
        assert result.validity is Validity.VALID, (seed, result.reason)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mode", gossip.MODES)
def test_healthy_gossip_over_many_seeds(mode: str) -> None:
    """`python -m harness.soak.gossip STATE` runs the same, and goes on where it ended."""
    for seed in range(51, 2_001):
        result = sweep.run_seed(gossip.spec_of(mode, seed))
        assert result.validity is Validity.VALID, (seed, result.reason)
