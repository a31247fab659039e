"""The bugs of targets/gossip/bugs.py."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from harness.spec import RunSpec
from harness.zoo.scenario import Planted, Scenario

FAULTS = ("partition", "kill", "loss", "clock")
CAUSAL = RunSpec(
    env="sim",
    target="gossip",
    target_options={"mode": "causal"},
    workload="shared-registers",
    nemesis=FAULTS,
    rate_hz=100.0,
    time_limit_s=5.0,
)
"""Five nodes that keep causes before effects."""

MANY_KEYS = {"keys": 100, "final_rounds": 1}
"""Keys that are rarely written, so that nothing newer covers what was lost."""


def _planted(bug: str, seed: int, by: str, why: str, **changes: Any) -> Planted:
    """A bug with a scenario of its own, called after it."""
    return Planted(bug, seed, Scenario(bug, why, replace(CAUSAL, **changes)), by)


PLANTED = (
    _planted(
        "lww-without-tie-break",
        1,
        "convergence",
        "both sides of a partition write at once",
        target_options={"mode": "eventual"},
        nemesis=("partition",),
    ),
    _planted("lww-by-wall-clock", 1, "durability", "clocks go wrong", nemesis=("clock",)),
    _planted(
        "lost-tombstone", 1, "set-full", "one side removes elements", workload="shared-sets", nemesis=("partition",)
    ),
    _planted(
        "tombstone-collected-early",
        2,
        "set-full",
        "nodes hear of removals late",
        workload="shared-sets",
        nemesis=("partition", "loss"),
    ),
    _planted(
        "counter-merged-by-sum",
        1,
        "durability",
        "both sides count, and meet",
        workload="shared-counters",
        nemesis=("partition",),
    ),
    _planted(
        "digest-skips-ranges",
        6,
        "convergence",
        "fresh updates are lost on the way, so that anti-entropy is asked",
        nemesis=("partition", "loss"),
        time_limit_s=10.0,
    ),
    _planted(
        "delivered-before-causes",
        2,
        "causal",
        "effects overtake their causes, and no exchange hurries after",
        nemesis=("slow", "loss"),
        rate_hz=400.0,
        target_options={"mode": "causal", "gossip_ms": 1000},
        workload_options={"keys": 3},
    ),
    _planted(
        "context-dropped-on-failover",
        5,
        "read-your-writes",
        "clients lose their node",
        target_options={"mode": "session"},
        nemesis=("kill", "partition"),
    ),
    _planted(
        "own-write-hidden",
        1,
        "durability",
        "a node counts alone, and nothing newer covers what it counted",
        workload="shared-counters",
        nemesis=("partition",),
        time_limit_s=10.0,
    ),
    _planted(
        "acknowledged-before-durable",
        10,
        "causal",
        "a slow disk: a node that is killed in the usual time has synced already",
        nemesis=("kill", "disk:slow"),
        workload_options=MANY_KEYS,
        time_limit_s=10.0,
        rate_hz=400.0,
    ),
    _planted(
        "hint-to-wrong-node",
        1,
        "durability",
        "the only home of a key is away, so that only its hint has the write",
        target_options={"mode": "quorum", "quorums": "sloppy", "replicas": 1, "read_quorum": 1, "write_quorum": 1},
        nemesis=("partition", "kill"),
        workload_options=MANY_KEYS,
        time_limit_s=10.0,
    ),
    _planted(
        "read-repair-older",
        1,
        "read-your-writes",
        "homes miss writes, and reads find them",
        target_options={"mode": "quorum"},
        nemesis=("partition", "kill"),
        time_limit_s=10.0,
    ),
    _planted(
        "sloppy-counted-as-strict",
        1,
        "read-your-writes",
        "homes are away, and come back without what their stand-ins have",
        target_options={"mode": "quorum"},
        nemesis=("partition", "kill"),
        time_limit_s=10.0,
    ),
    _planted("node-never-reached", 1, "convergence", "one side writes", nemesis=("partition",)),
)
