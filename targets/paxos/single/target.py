"""The single decree as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets.command import node_argv
from targets.core import NodeId
from targets.fault_model import CRASHES_AND_NETWORK
from targets.leader_session import LeaderSession
from targets.machines.consensus import ConsensusMachine
from targets.machines.machine import answer_type
from targets.paxos.bugs import SINGLE_BUGS
from targets.paxos.client_routes import PROPOSE_AND_LEARN
from targets.paxos.quorums import chosen_sizes
from targets.paxos.single.core import SingleDecree
from targets.paxos.single.messages import Accept, AcceptReply, Chosen, Prepare, Promise
from targets.paxos.single.options import SingleOptions
from targets.paxos.single.records import SingleRecord
from targets.session import Session
from targets.target import Bug, Formats, Place, Route, SystemDefaults
from targets.topology import Topology

BUGS = SINGLE_BUGS


class SingleDecreeTarget(SystemDefaults):
    """Implements targets.target.CoreTarget."""

    name = "paxos-single"
    summary = "Paxos, the single decree: one decision for each key, without a leader"
    option_type: type[msgspec.Struct] = SingleOptions
    bugs: Mapping[str, Bug] = BUGS
    fault_model = CRASHES_AND_NETWORK
    interfaces = frozenset({ConsensusMachine.name})
    invariants: Sequence[str] = (
        "one-value-per-slot",
        "one-value-per-ballot",
        "chosen-stays-chosen",
        "learned-was-chosen",
        "promises-kept",
    )
    durable_before_send = frozenset({"promised", "accepted"})

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Rounds and pauses from short to long, proposers that give up soon, and quorums of two for either phase, which every
        cluster of two and more has."""
        return {
            "round_ms": rng.choice((100, 100, 200, 400)),
            "backoff_ms_min": rng.choice((2, 10, 10, 50)),
            "backoff_ms_max": rng.choice((80, 320, 320)),
            "tries_max": rng.choice((3, 20, 20)),
            **rng.choice(({}, {}, {}, {}, {"phase_1_quorum": 2}, {"phase_2_quorum": 2})),
        }

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> SingleDecree:
        """A fresh core. Raises ValueError for a bug that it does not have, and for quorums that do not fit the cluster."""
        assert isinstance(options, SingleOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"paxos-single has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        return SingleDecree(node, members, options, bugs, rng)

    def formats(self, interface: str) -> Formats:
        """The types of all that a node sends, receives and stores."""
        return Formats(
            request=ConsensusMachine.command_type,
            reply=answer_type(ConsensusMachine),
            record=SingleRecord,
            routes=(
                Route("/paxos/prepare", Prepare, Promise, sender="proposer_id"),
                Route("/paxos/accept", Accept, AcceptReply, sender="proposer_id"),
                Route("/paxos/learn", Chosen, None, sender="proposer_id"),
            ),
            clients=PROPOSE_AND_LEARN,
        )

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """Every node serves, so that nobody is ever redirected."""
        return LeaderSession(ConsensusMachine)

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Each decision is linearizable: agreement, validity, and nobody learns "nothing" of what is decided."""
        return "linearizable"

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """Nobody leads."""
        return None

    def nodes_to_serve(
        self, nodes: Sequence[NodeId], statuses: Mapping[NodeId, Mapping[str, Any]], options: msgspec.Struct
    ) -> int:
        """A quorum of either phase."""
        assert isinstance(options, SingleOptions)
        quorums = chosen_sizes(len(nodes), options.phase_1_quorum, options.phase_2_quorum)
        return max(quorums.phase_1, quorums.phase_2)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


TARGET = SingleDecreeTarget()
