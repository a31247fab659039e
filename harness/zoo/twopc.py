"""The bugs of targets/twopc/bugs.py, and the scenarios in which the healthy protocols run."""

from __future__ import annotations

from msgspec.structs import replace

from harness.spec import RunSpec
from harness.zoo.scenario import Planted, Scenario

STANDARD = Scenario(
    "standard",
    "two coordinators and three shards, under partitions, crashes, pauses, loss and wrong clocks",
    RunSpec(
        env="sim",
        target="2pc",
        workload="txn-append",
        nemesis=("partition", "kill", "pause", "loss", "clock"),
        interval_s=1.5,
        rate_hz=100.0,
        time_limit_s=15.0,
    ),
)
REGISTERS = Scenario(
    "registers", "the same with transactions over registers", replace(STANDARD.base, workload="txn-register")
)
BANK = Scenario("bank", "the same with transfers between accounts", replace(STANDARD.base, workload="bank"))
SNAPSHOT = Scenario(
    "snapshot",
    "the standard scenario with snapshot isolation",
    replace(STANDARD.base, target_options={"isolation": "snapshot"}),
)
READ_COMMITTED = Scenario(
    "read-committed",
    "the standard scenario with read committed",
    replace(STANDARD.base, target_options={"isolation": "read-committed"}),
)
SLOW = Scenario(
    "slow",
    "participants that restart while the network is slow, so that decisions come late",
    replace(STANDARD.base, nemesis=("kill", "slow"), interval_s=1.0, rate_hz=300.0, target_options={"resend_ms": 2000}),
)
CRASHES_3PC = Scenario(
    "3pc-crashes",
    "three-phase commit under the faults that it survives",
    replace(STANDARD.base, nemesis=("kill", "clock", "duplicate"), target_options={"protocol": "3pc"}),
)
PARTITIONS_3PC = Scenario(
    "3pc-partitions",
    "three-phase commit under partitions, which it does not survive: both sides decide",
    replace(STANDARD.base, nemesis=("partition",), target_options={"protocol": "3pc"}, beyond_model=True),
)
GROUPS = Scenario(
    "groups",
    "two shards that are Raft groups of three, under the faults of the standard scenario",
    replace(STANDARD.base, nodes=tuple(f"n{number}" for number in range(1, 7)), target_options={"shard_replicas": 3}),
)
GROUPS_LOSSY = Scenario(
    "groups-lossy",
    "groups whose nodes crash all the time, while messages are lost",
    replace(GROUPS.base, nemesis=("kill", "loss"), interval_s=0.7),
)
SCENARIOS = (STANDARD, REGISTERS, BANK, SNAPSHOT, READ_COMMITTED, SLOW, CRASHES_3PC, GROUPS, GROUPS_LOSSY)
"""Those in which a healthy cluster is VALID."""

PLANTED = (
    Planted("commit-without-all-votes", 1, STANDARD, "atomic-commitment"),
    Planted("vote-not-durable", 1, STANDARD, "durable-decisions"),
    Planted("decision-told-before-durable", 7, STANDARD, "durable-decisions"),
    Planted("presumed-commit", 1, STANDARD, "atomic-commitment"),
    Planted("locks-released-at-vote", 1, STANDARD, "list-append"),
    Planted("read-locks-released-at-vote", 1, STANDARD, "list-append"),
    Planted("locks-lost-after-restart", 1, SLOW, "list-append"),
    Planted("locks-kept-after-abort", 1, STANDARD, "liveness"),
    Planted("participant-forgotten", 1, STANDARD, "atomic-commitment"),
    Planted("commit-after-abort", 1, STANDARD, "atomic-commitment"),
    Planted("prepared-read", 1, STANDARD, "list-append"),
    Planted("dirty-read", 1, STANDARD, "list-append"),
    Planted("snapshot-taken-late", 1, SNAPSHOT, "list-append"),
    Planted("first-committer-ignored", 1, SNAPSHOT, "list-append"),
    Planted("commit-applied-twice", 1, STANDARD, "list-append"),
    Planted("numbers-reused-after-restart", 1, STANDARD, "atomic-commitment"),
    Planted("vote-told-before-replicated", 1, GROUPS, "durable-decisions"),
    Planted("decision-told-before-replicated", 1, GROUPS_LOSSY, "durable-decisions"),
)
