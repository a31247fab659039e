"""Raft as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from targets import machine_registry
from targets.command import node_argv
from targets.core import NodeId, Record
from targets.fault_model import CRASHES_AND_NETWORK
from targets.leader_backups import LeaderBackups
from targets.leader_session import LeaderSession
from targets.machines.machine import Answer, Machine, TakeBackup, answer_type
from targets.machines.sessions import SessionMachine, session_commands
from targets.raft import backup, client_routes
from targets.raft.bugs import PLANTED, RETRY_APPLIED_TWICE, SNAPSHOT_DROPS_SESSION
from targets.raft.configuration import AddLearner, AddNode, MemberChange, RemoveNode, TransferLeadership
from targets.raft.core import Raft
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Join,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from targets.raft.options import RaftOptions
from targets.raft.quorum import majority
from targets.raft.records import record_type
from targets.retrying_session import RetryingSession
from targets.session import Session
from targets.target import (
    Bug,
    ChangeOutcome,
    Client,
    FaultModel,
    Formats,
    Membership,
    Place,
    Route,
    SystemDefaults,
    latest_leader,
)
from targets.topology import Topology

SURVIVES = CRASHES_AND_NETWORK.survives | {"membership", "moment", "restore/cluster", "transfer"}

DRIFT_PLANNED = 4.0
"""The fault clock:drift lets clocks run at half to twice their rate (nemesis.faults.clock.RATES)."""

BEHIND_MAX = 200
"""A node that lacks so many committed entries or fewer is in reach, and only a little late."""

BUGS = {bug.name: bug for bug in PLANTED}


def peer_routes(command_type: Any) -> tuple[Route, ...]:
    """What members say to each other, where entries carry commands of this type."""
    append_entries: Any = AppendEntries
    return (
        Route("/raft/request_vote", RequestVote, RequestVoteReply, sender="candidate_id"),
        Route("/raft/pre_vote", PreVote, PreVoteReply, sender="candidate_id"),
        Route("/raft/append_entries", append_entries[command_type], AppendEntriesReply, sender="leader_id"),
        Route("/raft/install_snapshot", InstallSnapshot, InstallSnapshotReply, sender="leader_id"),
        Route("/raft/join", Join, sender="node_id"),
        Route("/raft/timeout_now", TimeoutNow, sender="leader_id"),
    )


class RaftTarget(LeaderBackups, SystemDefaults):
    """Implements targets.target.CoreTarget."""

    name = "raft"
    algorithm = "Raft"
    summary = "Raft: a replicated state machine with one leader at a time"
    option_type: type[msgspec.Struct] = RaftOptions
    bugs: Mapping[str, Bug] = BUGS
    fault_model = FaultModel(survives=SURVIVES, down_nodes_max=1.0)
    """Safe under any crashes and any network as long as what was synced is kept; serves while a majority is up and connected.
    A voter that lost what it had synced may vote twice, which is outside the model."""

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """With reads=lease clocks must not jump, and must run within the stated bound of each other."""
        assert isinstance(options, RaftOptions)
        if options.reads != "lease":
            return self.fault_model
        drift = {"clock/drift"} if options.lease_drift >= DRIFT_PLANNED else set()
        return FaultModel(survives=SURVIVES - {"clock"} | drift, down_nodes_max=1.0)

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Timers from a fast network's to a slow one's; single entries, long batches and pipelines; snapshots never, seldom, all
        the time and in many chunks; leases with and without room for clocks that drift, and so with and without such clocks; and
        Raft with and without what the thesis adds to the paper."""
        heartbeat_ms, election_ms_min, election_ms_max = rng.choice(
            ((20, 40, 80), (50, 150, 300), (50, 150, 300), (100, 300, 600))
        )
        drawn = {
            "heartbeat_ms": heartbeat_ms,
            "election_ms_min": election_ms_min,
            "election_ms_max": election_ms_max,
            "entries_per_message_max": rng.choice((1, 4, 64)),
            "pre_vote": rng.random() < 0.7,
            "check_quorum": rng.random() < 0.7,
            "snapshot_entries": rng.choice((0, 7, 50, 1000)),
            "snapshot_chunk_chars": rng.choice((30, 1000, 65_536)),
            "reads": rng.choice(("read-index", "read-index", "read-index", "log", "lease", "lease")),
            "lease_drift": rng.choice((1.0, 1.0, DRIFT_PLANNED)),
            "pipeline_messages_max": rng.choice((1, 1, 3, 16)),
            **rng.choice(({}, {}, {"sessions": True}, {"sessions": True, "sessions_max": 22})),
        }
        if drawn["entries_per_message_max"] == 1:
            # One entry a round trip is less than a busy cluster writes: who joins would not catch up in time.
            drawn["pipeline_messages_max"] = 16
            drawn["snapshot_entries"] = drawn["snapshot_entries"] or 50
        return drawn

    @property
    def interfaces(self) -> frozenset[str]:
        """Every interface that there is a machine for."""
        return machine_registry.names()

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Raft:
        """A fresh core. Raises ValueError for a bug that Raft does not have, and for an interface that no machine has."""
        assert isinstance(options, RaftOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"raft has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        if options.voters > len(members):
            raise ValueError(f"voters is {options.voters}, and there are {len(members)} nodes")
        return Raft(node, members, options, bugs, rng, _new_machine(machine_registry.find(interface), options, bugs))

    def formats(self, interface: str) -> Formats:
        """The types, in which entries of messages and records carry the commands of the machine with this interface."""
        machine = machine_registry.find(interface)
        commands = session_commands(machine.command_type)
        return Formats(
            request=commands | MemberChange | TakeBackup,
            reply=answer_type(machine, int),  # The number of a new session.
            record=record_type(commands),
            routes=peer_routes(commands),
            clients=client_routes.ROUTES,
        )

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A session that follows redirects to the leader."""
        return LeaderSession(machine_registry.find(interface))

    def session_of(self, interface: str, client: Client) -> Session:
        """The same; with sessions=true, one that asks again until it knows how a command ended."""
        assert isinstance(client.options, RaftOptions)
        if client.options.sessions:
            return RetryingSession(machine_registry.find(interface), client.nodes)
        return self.session(interface, client.process, client.topology)

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Linearizable, but only eventual with reads=local.

        There not even a session reads its own writes: it may write through the leader and read elsewhere, and a
        restarted node has forgotten what it had applied.
        """
        assert interface in self.interfaces
        assert isinstance(options, RaftOptions)
        return "eventual" if options.reads == "local" else "linearizable"

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """The leader of the highest term among those that say they lead; a leader that is cut off may still say so."""
        return latest_leader(statuses)

    invariants: Sequence[str] = (
        "election-safety",
        "log-matching",
        "leader-completeness",
        "state-machine-safety",
        "durability",
        "persistent-state",
        "kept-commits",
        "sent-before-acknowledged",
        "majority-commits",
        "transfer-catches-up",
        "single-changes",
        "installed-membership",
    )
    durable_before_send = frozenset({"role", "voted"})

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """All that belong to the cluster, as the leader sees it, know the same entries to be committed, and nobody is joining."""
        leader = self.primary(statuses)
        if leader is None:
            return len({status["commit_index"] for status in statuses.values()}) <= 1
        members = {*statuses[leader]["voters"], *statuses[leader]["learners"]}
        indexes = {status["commit_index"] for node, status in statuses.items() if node in members}
        return len(indexes) <= 1 and not statuses[leader]["joining"]

    def nodes_to_serve(
        self, nodes: Sequence[NodeId], statuses: Mapping[NodeId, Mapping[str, Any]], options: msgspec.Struct
    ) -> int:
        """A majority. All of them, once some node knows of a change of the membership: who votes then differs among nodes."""
        has_changed = any(
            status["config_index"] or status["identity"] or len(status["voters"]) < len(nodes)
            for status in statuses.values()
        )
        return len(nodes) if has_changed else majority(len(nodes))

    # --- the membership, as targets.target.Reconfigurable says --------------------------------------------------------

    def membership(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Membership | None:
        """As the leader of the highest term sees it; None when nobody leads."""
        leader = self.primary(statuses)
        if leader is None:
            return None
        status = statuses[leader]
        is_settled = not status["joining"] and status["config_index"] <= status["commit_index"]
        behind = [
            node
            for node, identity in status["identities"].items()
            if node not in statuses
            or statuses[node]["identity"] != identity
            or statuses[node]["commit_index"] + BEHIND_MAX < status["commit_index"]
        ]
        return Membership(leader, tuple(status["voters"]), tuple(status["learners"]), is_settled, tuple(sorted(behind)))

    def change(self, name: str, node: NodeId) -> msgspec.Struct:
        """The request for this change. Raises ValueError for one that there is not."""
        for kind in (AddNode, AddLearner, RemoveNode, TransferLeadership):
            if kind.__struct_config__.tag == name:
                return kind(value=node)
        raise ValueError(f"raft has no change {name!r}")

    def outcome(self, reply: msgspec.Struct) -> ChangeOutcome:
        """How a change ended."""
        assert isinstance(reply, Answer)
        return ChangeOutcome(reply.status == "ok", reply.reason or reply.status, reply.leader)

    def checkpoint(self, piece: str, number: int, interface: str, options: msgspec.Struct) -> Record:
        """The machine's state in a term of its own (targets.leader_backups)."""
        assert isinstance(options, RaftOptions)
        return backup.restored(piece, number, _new_machine(machine_registry.find(interface), options, frozenset()))

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


def _new_machine(machine: type[Machine], options: RaftOptions, bugs: frozenset[str]) -> Callable[[], Machine]:
    """Makes the machine that the nodes replicate."""
    if not options.sessions:
        return machine
    return partial(
        _with_sessions,
        machine,
        options.sessions_max,
        checks_numbers=RETRY_APPLIED_TWICE not in bugs,
        snapshots_answers=SNAPSHOT_DROPS_SESSION not in bugs,
    )


def _with_sessions(machine: type[Machine], sessions_max: int, **planted: bool) -> Machine:
    # Its name and its commands are those of the machine inside it, and so not of its class.
    return cast(Machine, SessionMachine(machine(), sessions_max, **planted))


TARGET = RaftTarget()
