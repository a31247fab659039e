"""What Paxos claims to survive, of one decree or many: any crashes and any network, as long as what was synced is kept.

It serves while a quorum of each phase is up and connected. An acceptor that lost what it had synced may break a promise, which is
outside the model.
"""

from __future__ import annotations

from targets.target import FaultModel

FAULT_MODEL = FaultModel(
    survives=frozenset(
        {
            "partition",
            "kill",
            "pause",
            "restart-all",
            "clock",
            "slow",
            "loss",
            "duplicate",
            "reorder",
            "late",
            "corrupt",
            "rate",
            "disk/lose-unsynced",
            "disk/torn-write",
            "disk/full",
            "disk/slow",
        }
    ),
    down_nodes_max=1.0,
)
