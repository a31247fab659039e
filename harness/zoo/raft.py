"""The bugs of targets/raft/bugs.py."""

from __future__ import annotations

from msgspec.structs import replace

from harness.spec import RunSpec
from harness.zoo.scenario import Planted, Scenario

STANDARD = RunSpec(
    env="sim",
    target="raft",
    target_options={"heartbeat_ms": 50, "election_ms_min": 150, "election_ms_max": 300},
    nemesis=("partition", "kill", "pause", "loss", "clock"),
    interval_s=4.0,
    fault_share=0.5,
    concurrency=10,
    rate_hz=100.0,
    time_limit_s=60.0,
)
"""Five Raft nodes for a virtual minute; history, trace, invariants, liveness and linearizability check included. The speed of the
simulation is measured on it too (harness.bench.simulation)."""

THREE = ("n1", "n2", "n3")

PLAIN = Scenario(
    "standard", "five nodes for a virtual minute, under partitions, crashes, pauses, loss and wrong clocks", STANDARD
)
WITH_LATE = Scenario(
    "late",
    "the standard scenario, and packets that arrive seconds late",
    replace(STANDARD, nemesis=("partition", "kill", "pause", "loss", "clock", "late")),
)
FIGURE_8 = Scenario(
    "figure-8",
    "leaders go when nobody else has their last entry, and what an old one sent arrives under a later one",
    replace(STANDARD, nodes=THREE, nemesis=("moment:appended", "late", "pause"), time_limit_s=30.0, interval_s=0.7),
)
SNAPSHOTS = Scenario(
    "snapshots",
    "snapshots all the time, in many chunks, some of them late or twice",
    replace(
        STANDARD,
        nodes=THREE,
        nemesis=("partition", "kill", "late", "duplicate", "disk:lose-unsynced"),
        target_options={"snapshot_entries": 7, "snapshot_chunk_chars": 30},
        time_limit_s=20.0,
        rate_hz=150.0,
        interval_s=2.0,
        fault_share=None,
    ),
)
LEASES = Scenario(
    "leases",
    "reads under the lease of a leader that is cut off, on clocks that run up to four times as fast as others",
    replace(
        STANDARD,
        nodes=THREE,
        nemesis=("partition:primary", "clock:drift"),
        target_options={"reads": "lease"},
        workload_options={"read": 10, "write": 4, "cas": 1},
        time_limit_s=30.0,
    ),
)
MEMBERSHIP = Scenario(
    "membership",
    "members leave, come back, and are replaced by nodes with an empty disk, while the cluster falls apart again and again",
    replace(STANDARD, nemesis=("membership", "partition:halves"), interval_s=0.6, fault_share=0.5, time_limit_s=30.0),
)
SESSIONS = Scenario(
    "sessions",
    "clients that ask again until they know, and nodes that come back from snapshots taken all the time",
    replace(
        STANDARD,
        nodes=THREE,
        workload="counter",
        nemesis=("partition", "kill", "loss"),
        target_options={"sessions": True, "snapshot_entries": 7, "snapshot_chunk_chars": 300},
        interval_s=1.5,
        time_limit_s=20.0,
    ),
)
TRANSFERS = Scenario(
    "transfers",
    "leadership is handed over all the time, also to nodes that were cut off a moment ago",
    replace(STANDARD, nemesis=("transfer", "partition", "loss"), interval_s=1.0, time_limit_s=20.0),
)
READS = Scenario(
    "reads",
    "reads that wait for answers which are long under way to one node, while the others elect another leader",
    replace(
        STANDARD,
        nodes=THREE,
        nemesis=("partition:bridge", "partition:primary"),
        target_options={"heartbeat_ms": 100, "election_ms_min": 300, "election_ms_max": 600, "pre_vote": False},
        env_options={"link_delay_ms": {"n2>n1": 100, "n3>n1": 100}},
        workload_options={"read": 10, "write": 4, "cas": 0},
        interval_s=1.5,
        rate_hz=200.0,
        time_limit_s=20.0,
    ),
)
SURE_LEASES = Scenario(
    "sure-leases",
    "leases as long as voters keep their oath, on clocks that agree, and few writes: a node that hears no leader stays up-to-date",
    replace(
        STANDARD,
        nodes=THREE,
        nemesis=("partition:bridge", "restart-all:rolling"),
        target_options={
            "reads": "lease",
            "lease_drift": 1.0,
            "pre_vote": False,
            "heartbeat_ms": 100,
            "election_ms_min": 300,
            "election_ms_max": 600,
        },
        workload_options={"read": 40, "write": 1, "cas": 0},
        interval_s=6.0,
        time_limit_s=30.0,
    ),
)
PAUSED_LEASES = Scenario(
    "paused-leases",
    "leaders that stand still while others are elected, and find answers to what they sent before beside reads that came since",
    replace(
        SURE_LEASES.base,
        nemesis=("moment:appended", "pause:primary"),
        workload_options={"read": 10, "write": 4, "cas": 0},
        rate_hz=200.0,
    ),
)
SLOW_FOLLOWERS = Scenario(
    "slow-followers",
    "leaders that go while a follower lags, and whole snapshots that arrive late or twice",
    replace(
        STANDARD,
        nodes=THREE,
        nemesis=("moment:lagging", "pause", "late", "duplicate"),
        target_options={"snapshot_entries": 7},
        interval_s=1.0,
        rate_hz=150.0,
        time_limit_s=20.0,
    ),
)
GROWTH = Scenario(
    "growth",
    "members come and go close together, and learn of it by snapshots",
    replace(
        STANDARD,
        nemesis=("membership", "partition", "slow", "disk:slow"),
        target_options={"snapshot_entries": 7},
        interval_s=0.6,
        time_limit_s=20.0,
    ),
)
SCENARIOS = (
    PLAIN,
    WITH_LATE,
    FIGURE_8,
    SNAPSHOTS,
    LEASES,
    MEMBERSHIP,
    SESSIONS,
    TRANSFERS,
    READS,
    SURE_LEASES,
    PAUSED_LEASES,
    SLOW_FOLLOWERS,
    GROWTH,
)

PLANTED = (
    Planted("stale-read", 1, PLAIN),
    Planted("reply-before-commit", 1, PLAIN),
    Planted("volatile-log", 2, PLAIN),
    Planted("vote-twice", 7, PLAIN),
    Planted("commit-by-count", 1054, FIGURE_8),
    Planted("stale-append-reply-counted", 1, WITH_LATE),
    Planted("snapshot-loses-suffix", 3, SNAPSHOTS),
    Planted("vote-for-stale-log", 1, PLAIN),
    Planted("persist-after-send", 1, PLAIN),
    Planted("no-fsync", 1, PLAIN),
    Planted("truncate-committed", 1, WITH_LATE),
    Planted("ignore-term-in-append", 1, PLAIN),
    Planted("apply-before-commit", 1, PLAIN),
    Planted("heartbeat-commits-unmatched", 1, PLAIN),
    Planted("read-index-without-quorum", 8, PLAIN),
    Planted("read-before-own-term-commit", 4, WITH_LATE),
    Planted("reuse-index-after-restart", 1, PLAIN),
    Planted("lease-without-drift-bound", 46, LEASES),
    Planted("membership-two-at-once", 2, MEMBERSHIP),
    Planted("wiped-voter-votes", 1, MEMBERSHIP),
    Planted("retry-applied-twice", 1, SESSIONS, "linearizable"),
    Planted("snapshot-drops-session", 1, SESSIONS),
    Planted("transfer-without-catch-up", 1, TRANSFERS),
)
