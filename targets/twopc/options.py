"""What a user may set on a node of the commit protocols."""

from __future__ import annotations

from typing import Literal

import msgspec

Isolation = Literal["serializable", "snapshot", "read-committed"]


class CommitOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are on the node's monotonic clock.

    protocol: `2pc`, two-phase commit with presumed abort, which blocks where the coordinator is out of reach; `3pc`, three-phase
        commit, which does not block and breaks under partitions.
    isolation: `serializable`: strict two-phase locking. `snapshot`: reads see one snapshot, and the first of two writers wins.
        `read-committed`: reads take no locks and see what was committed last.
    locks: whoever meets a lock waits if it is older and gives up if it is younger (`wait-die`), or waits for lock_wait_ms
        (`timeout`).
    termination: whom a participant in doubt asks: the coordinator and the other participants (`cooperative`), or the coordinator
        alone.
    coordinators: so many nodes coordinate, and the others hold a shard each; 0: a third of the nodes, at least one; with
        isolation=snapshot one, so that a snapshot has all that was committed before its transaction began. With groups, so many
        of these coordinate, and all hold a shard; 0: all of them coordinate, or with isolation=snapshot one.
    shard_replicas: 1: each shard is on one node, and so is each coordinator. More: each shard is a Raft group of so many nodes, or
        a few more where the nodes do not divide evenly, whose leader coordinates and takes part for all of it.
    vote_ms: how long a coordinator waits for votes. lock_wait_ms: how long a transaction waits for locks at one shard.
    doubt_ms: after so long without the decision a participant that has voted asks for it, again and again.
    resend_ms: after so long a coordinator says again what was not answered.
    checkpoint_records: the log is replaced by the state after so many records.
    """

    protocol: Literal["2pc", "3pc"] = "2pc"
    isolation: Isolation = "serializable"
    locks: Literal["wait-die", "timeout"] = "wait-die"
    termination: Literal["cooperative", "coordinator"] = "cooperative"
    coordinators: int = 0
    shard_replicas: int = 1
    vote_ms: int = 500
    lock_wait_ms: int = 300
    doubt_ms: int = 300
    resend_ms: int = 100
    checkpoint_records: int = 1000

    def __post_init__(self) -> None:
        for name in ("vote_ms", "lock_wait_ms", "doubt_ms", "resend_ms", "checkpoint_records"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.shard_replicas < 1:
            raise ValueError(f"shard_replicas is {self.shard_replicas}; it must be at least 1")
        if self.shard_replicas > 1 and self.protocol == "3pc":
            raise ValueError(
                "protocol=3pc has no groups: it is there for what commits without them; shard_replicas must be 1"
            )
        if self.coordinators < 0:
            raise ValueError(
                f"coordinators is {self.coordinators}; it must be at least 0, which means a third of the nodes"
            )
