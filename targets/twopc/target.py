"""Two- and three-phase commit as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets import machine_registry
from targets.command import node_argv
from targets.core import NodeId
from targets.fault_model import CRASHES_AND_NETWORK
from targets.machines.machine import Key
from targets.session import Session
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults
from targets.topology import Topology
from targets.twopc import messages as told
from targets.twopc.bugs import BUGS
from targets.twopc.client_routes import TRANSACTION
from targets.twopc.core import CommitNode
from targets.twopc.options import CommitOptions
from targets.twopc.records import CommitRecord
from targets.twopc.session import CommitSession

COORDINATOR = "coordinator"
PARTICIPANT = "participant"

_CLAIMS = {"serializable": "linearizable", "snapshot": "snapshot-isolation", "read-committed": "read-committed"}

_OF_3PC = FaultModel(
    frozenset({"kill", "clock/offset", "clock/jump", "duplicate", "disk/lose-unsynced", "disk/torn-write"}),
    down_nodes_max=1.0,
)


class CommitTarget(SystemDefaults):
    """Implements targets.target.CoreTarget."""

    name = "2pc"
    summary = "a sharded store whose transactions commit by two-phase or three-phase commit"
    interfaces = frozenset({"kv", "bank"})
    option_type: type[msgspec.Struct] = CommitOptions
    bugs: Mapping[str, Bug] = BUGS
    fault_model = CRASHES_AND_NETWORK
    invariants: Sequence[str] = ("atomic-commitment", "durable-decisions", "blocking")
    durable_before_send = frozenset({"voted", "decided"})

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """Two-phase commit is safe under any crashes and any network, as long as what was synced is kept. Three-phase commit takes
        whoever is silent to have crashed: it survives crashes, and no fault that makes a living node silent or late."""
        assert isinstance(options, CommitOptions)
        return self.fault_model if options.protocol == "2pc" else _OF_3PC

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Both ways of locking and of asking, logs that are replaced all the time or never, and each level."""
        return {
            "isolation": rng.choice(("serializable", "serializable", "snapshot", "read-committed")),
            "locks": rng.choice(("wait-die", "timeout")),
            "termination": rng.choice(("cooperative", "cooperative", "coordinator")),
            "checkpoint_records": rng.choice((10, 100, 1000)),
            "doubt_ms": rng.choice((100, 300)),
        }

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """The first nodes coordinate, and each of the others holds a shard; a node alone does both. Snapshots are in the order of
        real time where one coordinator numbers them all."""
        assert isinstance(options, CommitOptions)
        ordered = sorted(nodes)
        count = options.coordinators or (1 if options.isolation == "snapshot" else max(1, (len(ordered) + 1) // 3))
        coordinators = ordered[:count]
        participants = ordered[count:] if len(ordered) > 1 else ordered
        roles = {**dict.fromkeys(participants, PARTICIPANT), **dict.fromkeys(coordinators, COORDINATOR)}
        return Topology(roles, {node: f"s{number}" for number, node in enumerate(participants, 1)})

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> CommitNode:
        """A fresh core. Raises ValueError for a bug that it does not have, and for coordinators that leave no node a shard."""
        assert isinstance(options, CommitOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"2pc has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        if options.coordinators >= len(members) > 1:
            raise ValueError(
                f"coordinators is {options.coordinators}, which leaves none of {len(members)} nodes to hold a shard"
            )
        topology = self.topology(members, options)
        shards = {shard: name for name, shard in topology.shard_by_node.items()}

        def node_of(key: Key) -> NodeId:
            shard = topology.shard_of(key)
            assert shard is not None, "every cluster has a shard"
            return shards[shard]

        return CommitNode(
            node, options, bugs, topology.nodes_of_role(COORDINATOR), tuple(sorted(shards.values())), node_of
        )

    def formats(self, interface: str) -> Formats:
        """The types, and the routes of the design's sources."""
        return Formats(
            request=machine_registry.find(interface).command_type,
            reply=told.TxnAnswer,
            record=CommitRecord,
            routes=(
                Route("/2pc/prepare", told.Prepare),
                Route("/2pc/vote", told.Vote),
                Route("/2pc/pre_commit", told.PreCommit),
                Route("/2pc/pre_committed", told.PreCommitted),
                Route("/2pc/commit", told.Commit),
                Route("/2pc/abort", told.Abort),
                Route("/2pc/acknowledge", told.Acknowledge),
                Route("/2pc/status", told.Inquire, told.Standing),
            ),
            clients=TRANSACTION if interface == "kv" else (),
        )

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A session that begins at the process's own coordinator and goes on to the others."""
        nodes = topology.nodes_of_role(COORDINATOR)
        home = process % len(nodes) if nodes else 0
        return CommitSession(machine_registry.find(interface), (*nodes[home:], *nodes[:home]))

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Serializable is strict two-phase locking, and keeps the order of real time."""
        assert isinstance(options, CommitOptions)
        return _CLAIMS[options.isolation]

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """The first coordinator that answers."""
        return min((node for node, status in statuses.items() if status["role"] == COORDINATOR), default=None)

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """Nothing is undecided, and no lock is held."""
        counts = ("unfinished", "in_doubt", "holding_locks", "waiting_for_locks")
        return not any(status[name] for status in statuses.values() for name in counts)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


TARGET = CommitTarget()
