"""Multi-Paxos as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets import machine_registry
from targets.command import node_argv
from targets.core import NodeId, Record
from targets.fault_model import CRASHES_AND_NETWORK
from targets.leader_backups import LeaderBackups
from targets.leader_session import LeaderSession
from targets.machines.consensus import ConsensusMachine
from targets.machines.machine import TakeBackup, answer_type
from targets.paxos.bugs import MULTI_BUGS
from targets.paxos.client_routes import PROPOSE_AND_LEARN
from targets.paxos.multi import backup
from targets.paxos.multi.core import MultiPaxos
from targets.paxos.multi.messages import Accept, AcceptReply, Learn, Learned, Poll, PollReply, Prepare, Promise
from targets.paxos.multi.options import MultiOptions
from targets.paxos.multi.records import record_type
from targets.paxos.quorums import chosen_sizes
from targets.session import Session
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults, latest_leader
from targets.topology import Topology

BUGS = MULTI_BUGS

DRIFT_PLANNED = 1.0
"""The fault clock:drift lets clocks run at half to twice their rate (nemesis.faults.clock.RATES)."""


class MultiPaxosTarget(LeaderBackups, SystemDefaults):
    """Implements targets.target.CoreTarget."""

    name = "paxos"
    algorithm = "Multi-Paxos"
    summary = "Multi-Paxos: a replicated state machine, each slot of its log decided by Paxos"
    option_type: type[msgspec.Struct] = MultiOptions
    bugs: Mapping[str, Bug] = BUGS
    fault_model = FaultModel(
        CRASHES_AND_NETWORK.survives | {"moment/elected", "moment/lagging", "moment/snapshot", "restore/cluster"},
        CRASHES_AND_NETWORK.down_nodes_max,
    )
    """With reads=lease, clocks may drift within clock_drift_max; how far they jump does not matter."""
    invariants: Sequence[str] = (
        "one-value-per-slot",
        "one-value-per-ballot",
        "chosen-stays-chosen",
        "learned-was-chosen",
        "promises-kept",
        "elected-ballots",
        "sent-before-acknowledged",
        "state-machine-safety",
    )
    durable_before_send = frozenset({"promised", "accepted"})

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """With reads=lease clocks must run within the stated bound."""
        assert isinstance(options, MultiOptions)
        if options.reads != "lease" or options.clock_drift_max >= DRIFT_PLANNED:
            return self.fault_model
        jumps = {"clock/offset", "clock/jump", "clock/strobe"}
        return FaultModel(self.fault_model.survives - {"clock"} | jumps, self.fault_model.down_nodes_max)

    @property
    def interfaces(self) -> frozenset[str]:
        """Every interface that there is a machine for."""
        return machine_registry.names()

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Timers from a fast network's to a slow one's, and leases that fit them; every kind of reads; single commands, long
        batches and many messages under way; snapshots never, seldom, all the time and in many chunks; and quorums of two for
        either phase, which every cluster of two and more has."""
        heartbeat_ms, silence_ms_min, silence_ms_max = rng.choice(
            ((20, 80, 160), (50, 150, 300), (50, 150, 300), (100, 300, 600))
        )
        drawn = {
            "heartbeat_ms": heartbeat_ms,
            "silence_ms_min": silence_ms_min,
            "silence_ms_max": silence_ms_max,
            "reads": rng.choice(("round", "round", "lease", "log")),
            "lease_ms": heartbeat_ms * rng.choice((2, 5, 10)),
            "clock_drift_max": rng.choice((0.0, DRIFT_PLANNED)),
            "commands_per_message_max": rng.choice((1, 4, 64)),
            "messages_in_flight_max": rng.choice((1, 4, 16)),
            "snapshot_entries": rng.choice((0, 7, 50, 1000)),
            "snapshot_chunk_chars": rng.choice((30, 1000, 65_536)),
            **rng.choice(({}, {}, {}, {}, {"phase_1_quorum": 2}, {"phase_2_quorum": 2})),
        }
        if drawn["commands_per_message_max"] == 1:
            # One command a round trip is less than a busy cluster writes: its clients would wait in vain.
            drawn["messages_in_flight_max"] = max(4, drawn["messages_in_flight_max"])
        return drawn

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> MultiPaxos:
        """A fresh core. Raises ValueError for a bug that it does not have, an interface that no machine has, and quorums that do
        not fit the cluster."""
        assert isinstance(options, MultiOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"paxos has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        return MultiPaxos(node, members, options, bugs, rng, machine_registry.find(interface))

    def formats(self, interface: str) -> Formats:
        """The types, in which entries of messages and records carry the commands of the machine with this interface."""
        machine = machine_registry.find(interface)
        command: Any = machine.command_type
        accept: Any = Accept
        promise: Any = Promise
        learned: Any = Learned
        return Formats(
            request=command | TakeBackup,
            reply=answer_type(machine),
            record=record_type(command),
            routes=(
                Route("/paxos/poll", Poll, PollReply, sender="node_id"),
                Route("/paxos/prepare", Prepare, promise[command], sender="proposer_id"),
                Route("/paxos/accept", accept[command], AcceptReply, sender="leader_id"),
                Route("/paxos/learn", Learn, learned[command], sender="learner_id"),
            ),
            clients=PROPOSE_AND_LEARN if interface == ConsensusMachine.name else (),
        )

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A session that follows redirects to the leader."""
        return LeaderSession(machine_registry.find(interface))

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Linearizable, with every kind of reads."""
        return "linearizable"

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """The leader of the highest ballot among those that say they lead; one that is cut off may still say so."""
        return latest_leader(statuses, term="ballot")

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """All nodes know the same slots to be decided."""
        return len({status["commit_index"] for status in statuses.values()}) <= 1

    def checkpoint(self, piece: str, number: int, interface: str, options: msgspec.Struct) -> Record:
        """The machine's state at a ballot of its own (targets.leader_backups)."""
        return backup.restored(piece, number, machine_registry.find(interface))

    def nodes_to_serve(
        self, nodes: Sequence[NodeId], statuses: Mapping[NodeId, Mapping[str, Any]], options: msgspec.Struct
    ) -> int:
        """A quorum of either phase."""
        assert isinstance(options, MultiOptions)
        quorums = chosen_sizes(len(nodes), options.phase_1_quorum, options.phase_2_quorum)
        return max(quorums.phase_1, quorums.phase_2)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


TARGET = MultiPaxosTarget()
