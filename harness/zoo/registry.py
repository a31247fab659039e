"""All planted bugs with their scenarios. A new system's file is named here."""

from __future__ import annotations

from harness.zoo import gossip, paxos, raft, twopc
from harness.zoo.scenario import Planted, Scenario

PLANTED: tuple[Planted, ...] = (*raft.PLANTED, *paxos.PLANTED, *gossip.PLANTED, *twopc.PLANTED)
SCENARIOS: tuple[Scenario, ...] = (*raft.SCENARIOS, *paxos.SCENARIOS, *twopc.SCENARIOS)
"""Those that several bugs share."""


def of_target(target: str) -> tuple[Planted, ...]:
    """The bugs of the target, in their order."""
    return tuple(planted for planted in PLANTED if planted.target == target)
