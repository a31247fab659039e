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
SURE_LEASES = Scenario(
    "multi-sure-leases",
    "leases as long as acceptors wait, on clocks that agree; one that lasts too long by a moment shows",
    replace(
        MULTI.base,
        nodes=("n1", "n2", "n3"),
        nemesis=("partition:bridge", "partition:primary", "kill:majority", "loss"),
        interval_s=2.0,
        fault_share=0.5,
        rate_hz=200.0,
        target_options={"reads": "lease", "lease_ms": 1000, "clock_drift_max": 0.0},
        workload_options={"read": 10, "write": 4, "cas": 0},
    ),
)
SLOW_LEARNERS = Scenario(
    "multi-slow-learners",
    "leaders that go while another node lags, and snapshots that stand for what it lacks",
    replace(
        MULTI.base,
        nodes=("n1", "n2", "n3"),
        nemesis=("moment:lagging", "partition:primary", "late", "pause"),
        target_options={"snapshot_entries": 7},
        rate_hz=150.0,
    ),
)
DUELS = Scenario(
    "multi-duels",
    "impatient proposers, and answers to their earlier ballots that arrive under later ones",
    replace(
        MULTI.base,
        nemesis=("partition:primary", "late", "loss", "slow", "duplicate"),
        target_options={"heartbeat_ms": 20, "silence_ms_min": 30, "silence_ms_max": 60},
        interval_s=0.7,
    ),
)
SINGLE_DUELS = Scenario(
    "single-duels",
    "proposers whose rounds end before all have answered, and answers that arrive under a later ballot",
    replace(
        SINGLE.base,
        nemesis=("slow", "late", "duplicate", "loss"),
        target_options={"round_ms": 200},
        rate_hz=100.0,
    ),
)
SCENARIOS = (SINGLE, SINGLE_DUELS, MULTI, SNAPSHOTS, LEASES, SURE_LEASES, SLOW_LEARNERS, DUELS)

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
