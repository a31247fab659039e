"""Two- and three-phase commit as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets import machine_registry
from targets.command import node_argv
from targets.core import Core, NodeId
from targets.fault_model import CRASHES_AND_NETWORK
from targets.machines.machine import Key
from targets.raft.core import Raft
from targets.raft.options import RaftOptions
from targets.raft.records import record_type
from targets.raft.target import TARGET as RAFT
from targets.raft.target import peer_routes
from targets.session import Session
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults
from targets.topology import Topology
from targets.twopc import messages as told
from targets.twopc.bugs import BUGS, OF_GROUPS
from targets.twopc.client_routes import TRANSACTION
from targets.twopc.core import CommitNode
from targets.twopc.options import CommitOptions
from targets.twopc.records import CommitRecord
from targets.twopc.replica import Replica
from targets.twopc.replicated_log import GroupCommand, RecordsMachine
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
    durable_before_send = frozenset({"voted", "decided", "role"})

    def invariants_under(self, options: msgspec.Struct) -> Sequence[str]:
        """With groups, also those of Raft, for each group."""
        assert isinstance(options, CommitOptions)
        return (*self.invariants, *RAFT.invariants) if options.shard_replicas > 1 else self.invariants

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
        """The first nodes coordinate, and each of the others holds a shard; a node alone does both. With groups, each group holds a
        shard, and the first ones coordinate. Snapshots are in the order of real time where one coordinator numbers them all."""
        assert isinstance(options, CommitOptions)
        ordered = sorted(nodes)
        if options.shard_replicas > 1:
            groups = _groups(ordered, options)
            coordinating = _coordinating(groups, options)
            roles = {
                node: COORDINATOR if group in coordinating else PARTICIPANT
                for group, of in groups.items()
                for node in of
            }
            return Topology(roles, {node: group for group, of in groups.items() for node in of})
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
    ) -> Core:
        """A fresh core. Raises ValueError for a bug that it does not have, and where there are too few nodes for the coordinators
        or the groups."""
        assert isinstance(options, CommitOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"2pc has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        if options.shard_replicas > 1:
            return self._replica(node, members, options, bugs, rng)
        if of_groups := sorted(bugs & OF_GROUPS):
            raise ValueError(f"the bug {of_groups[0]} is one of groups: set shard_replicas to 2 or more")
        if options.coordinators >= len(members) > 1:
            raise ValueError(
                f"coordinators is {options.coordinators}, which leaves none of {len(members)} nodes to hold a shard"
            )
        topology = self.topology(members, options)
        shards = {shard: name for name, shard in topology.shard_by_node.items()}
        coordinators, participants = topology.nodes_of_role(COORDINATOR), tuple(sorted(shards.values()))
        return CommitNode(node, options, bugs, coordinators, participants, lambda key: shards[_shard_of(topology, key)])

    def _replica(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: CommitOptions,
        bugs: frozenset[str],
        rng: random.Random,
    ) -> Replica:
        """A node of a group, which stands for one node of the protocol."""
        topology = self.topology(members, options)
        groups = {group: topology.nodes_of_shard(group) for group in topology.shards}
        coordinators = tuple(sorted(_coordinating(groups, options)))

        def new_leader(group: str) -> CommitNode:
            return CommitNode(group, options, bugs, coordinators, topology.shards, lambda key: _shard_of(topology, key))

        own = groups[topology.shard_by_node[node]]
        raft = Raft(
            node, own, RaftOptions(snapshot_entries=options.checkpoint_records), frozenset(), rng, RecordsMachine
        )
        return Replica(node, raft, bugs, new_leader, groups)

    def formats(self, interface: str) -> Formats:
        """The types, and the routes of the design's sources."""
        return Formats(
            request=machine_registry.find(interface).command_type,
            reply=told.TxnAnswer,
            record=CommitRecord | record_type(GroupCommand),
            routes=(
                Route("/2pc/prepare", told.Prepare),
                Route("/2pc/vote", told.Vote),
                Route("/2pc/pre_commit", told.PreCommit),
                Route("/2pc/pre_committed", told.PreCommitted),
                Route("/2pc/commit", told.Commit),
                Route("/2pc/abort", told.Abort),
                Route("/2pc/acknowledge", told.Acknowledge),
                Route("/2pc/status", told.Inquire, told.Standing),
                Route("/2pc/standing", told.Standing),
                *peer_routes(GroupCommand),
            ),
            clients=TRANSACTION if interface == "kv" else (),
        )

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A session that begins at the process's own coordinator and goes on to the others."""
        nodes = topology.nodes_of_role(COORDINATOR)
        groups = [[node for node in of if node in nodes] for of in map(topology.nodes_of_shard, topology.shards)]
        if not any(groups):  # The coordinators are nodes of their own.
            groups = [[node] for node in nodes]
        groups = [of for of in groups if of]
        home = process % len(groups) if groups else 0
        ordered = [node for of in (*groups[home:], *groups[:home]) for node in of]
        return CommitSession(machine_registry.find(interface), ordered)

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Serializable is strict two-phase locking, and keeps the order of real time."""
        assert isinstance(options, CommitOptions)
        return _CLAIMS[options.isolation]

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """The first coordinator that answers; with groups the leader of the first one that has one."""
        leading = [
            (status["shard"], -status["term"], node)
            for node, status in statuses.items()
            if "shard" in status and status["role"] == "leader"
        ]
        if leading:
            return min(leading)[-1]
        return min((node for node, status in statuses.items() if status["role"] == COORDINATOR), default=None)

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """Nothing is undecided, and no lock is held; each group has a leader, and all of it knows the same to be committed."""
        counts = ("unfinished", "in_doubt", "holding_locks", "waiting_for_locks")
        if any(status[name] for status in statuses.values() for name in counts):
            return False
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for status in statuses.values():
            if "shard" in status:
                groups.setdefault(status["shard"], []).append(status)
        return all(
            sum(status["is_serving"] for status in of) == 1 and len({status["commit_index"] for status in of}) == 1
            for of in groups.values()
        )

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


def _shard_of(topology: Topology, key: Key) -> str:
    shard = topology.shard_of(key)
    assert shard is not None, "every cluster has a shard"
    return shard


def _groups(nodes: Sequence[NodeId], options: CommitOptions) -> Mapping[str, Sequence[NodeId]]:
    """The nodes of each group, by its name; those that are left over are spread over the groups.

    Raises ValueError where there are not two groups, or not so many as are to coordinate.
    """
    replicas = options.shard_replicas
    count = len(nodes) // replicas
    if count < 2:
        raise ValueError(
            f"shard_replicas is {replicas}, and {len(nodes)} nodes do not make two groups: that takes {2 * replicas}"
        )
    if options.coordinators > count:
        raise ValueError(f"coordinators is {options.coordinators}, and there are {count} groups to coordinate")
    groups = {f"s{number + 1}": [*nodes[number * replicas : (number + 1) * replicas]] for number in range(count)}
    for number, node in enumerate(nodes[count * replicas :]):
        groups[f"s{number % count + 1}"].append(node)
    return groups


def _coordinating(groups: Mapping[str, Sequence[NodeId]], options: CommitOptions) -> Sequence[str]:
    """The groups that coordinate. Snapshots are in the order of real time where one of them numbers them all."""
    return [*groups][: options.coordinators or (1 if options.isolation == "snapshot" else len(groups))]


TARGET = CommitTarget()
