"""What a system survives that keeps all it has to keep on disk, and trusts no clock: any crashes and any network."""

from __future__ import annotations

from targets.target import FaultModel

CRASHES_AND_NETWORK = FaultModel(
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
"""Safe however many nodes are down, as long as what was synced is kept. When it serves is another matter."""
