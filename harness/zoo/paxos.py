"""The bugs of targets/paxos/bugs.py, in the single decree and in Multi-Paxos."""

from __future__ import annotations

from msgspec.structs import replace

from harness.spec import RunSpec
from harness.zoo.scenario import Planted, Scenario

ALL_FAULTS = ("partition", "kill", "restart-all", "pause", "loss", "clock", "late")

SINGLE = Scenario(
    "single",
    "decisions that are still open when nodes restart",
    RunSpec(
        env="sim",
        target="paxos-single",
        workload="consensus",
        nemesis=ALL_FAULTS,
        interval_s=1.0,
        time_limit_s=20.0,
        rate_hz=50.0,
    ),
)
MULTI = Scenario(
    "multi",
    "five nodes under every fault of the model",
    RunSpec(env="sim", target="paxos", nemesis=ALL_FAULTS, interval_s=1.0, time_limit_s=20.0),
)
SNAPSHOTS = Scenario(
    "multi-snapshots",
    "snapshots all the time, in many parts, some of them late or twice",
    replace(
        MULTI.base,
        nodes=("n1", "n2", "n3"),
        nemesis=("partition", "kill", "late", "duplicate", "reorder", "disk:lose-unsynced", "disk:torn-write", "slow"),
        target_options={"snapshot_entries": 7, "snapshot_chunk_chars": 30},
        vacuity={"attempts_min": 50},  # Where so little gets through, every one of 27 cas may fail.
    ),
)
LEASES = Scenario(
    "multi-leases",
    "leaders that are cut off while clocks run at half and double speed, and clients that read",
    replace(
        MULTI.base,
        nodes=("n1", "n2", "n3"),
        nemesis=("partition:primary", "clock:drift", "late", "pause"),
        interval_s=2.0,
        fault_share=0.6,
        time_limit_s=30.0,
        target_options={"reads": "lease", "heartbeat_ms": 20},
        workload_options={"read": 10, "write": 3, "cas": 0},
    ),
)
SCENARIOS = (SINGLE, MULTI, SNAPSHOTS, LEASES)

PLANTED = (
    Planted("forget-promise", 1, SINGLE),
    Planted("forget-accepted", 2, SINGLE),
    Planted("own-value-wins", 1, SINGLE),
    Planted("highest-by-arrival", 25, SINGLE),
    Planted("ballot-reused-after-restart", 16, SINGLE),
    Planted("minority-quorum", 1, SINGLE),
    Planted("learn-from-one", 1, SINGLE),
    Planted("accept-below-promise", 1, SINGLE),
    Planted("quorums-that-miss", 1, SINGLE),
    Planted("forget-promise", 1, MULTI),
    Planted("forget-accepted", 1, MULTI),
    Planted("own-value-wins", 1, MULTI),
    Planted("highest-by-arrival", 1, MULTI),
    Planted("ballot-reused-after-restart", 12, MULTI),
    Planted("minority-quorum", 1, MULTI),
    Planted("learn-from-one", 1, MULTI),
    Planted("accept-below-promise", 1, MULTI),
    Planted("quorums-that-miss", 2, MULTI),
    Planted("gap-skipped", 1, MULTI),
    Planted("no-op-overwrites", 1, MULTI),
    Planted("lease-overlap", 9, LEASES),
)
