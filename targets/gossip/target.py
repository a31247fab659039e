"""The gossip store as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets.command import node_argv
from targets.core import NodeId, Record
from targets.fault_model import CRASHES_AND_NETWORK
from targets.gossip import backup
from targets.gossip.bugs import PLANTED
from targets.gossip.core import Gossip
from targets.gossip.messages import (
    REQUESTS,
    TAKE_BACKUP,
    Answer,
    Difference,
    GossipRecord,
    Rumor,
    StoreRequest,
    Summary,
)
from targets.gossip.options import GossipOptions
from targets.gossip.quorum import QuorumReplica
from targets.gossip.quorum_messages import Get, Held, Put, QuorumRecord, Stored
from targets.gossip.session import GossipSession
from targets.machines.backup import piece_of
from targets.session import Session
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults
from targets.topology import Topology

ROLE = "replica"
SETTLING_ROUNDS = 20
"""An update is on all nodes after about log2(nodes) exchanges; half of these rounds may pass before a node that was suspected
during the faults is chosen as often as others again (`suspect_rounds`)."""
BUGS = {bug.name: bug for bug in PLANTED}


class GossipTarget(SystemDefaults):
    """Implements targets.target.CoreTarget."""

    name = "gossip"
    summary = "an eventually or causally consistent store: every node takes reads and writes, also alone"
    interfaces = frozenset(REQUESTS)
    option_type: type[msgspec.Struct] = GossipOptions
    bugs: Mapping[str, Bug] = BUGS
    modes: Sequence[Mapping[str, Any]] = (
        {"mode": "eventual"},
        {"mode": "session"},
        {"mode": "causal"},
        {"mode": "quorum"},
        {"mode": "quorum", "quorums": "sloppy"},
    )
    fault_model = FaultModel(
        CRASHES_AND_NETWORK.survives | {"restore/cluster", "restore/node"}, CRASHES_AND_NETWORK.down_nodes_max
    )
    """Safe under any crashes, any network and any clocks, as long as what was synced is kept; each node serves alone."""

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """In mode quorum, a home that was given old data back would break the quorums that it was counted for."""
        assert isinstance(options, GossipOptions)
        if options.mode != "quorum":
            return self.fault_model
        return FaultModel(self.fault_model.survives - {"restore/node"}, self.fault_model.down_nodes_max)

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Gossip | QuorumReplica:
        """A fresh core. Raises ValueError for a bug that it does not have, and for what mode quorum cannot do."""
        assert isinstance(options, GossipOptions)
        unknown = sorted(bugs - BUGS.keys())
        if unknown:
            raise ValueError(f"gossip has no bug {unknown[0]!r}; it has {', '.join(BUGS)}")
        if options.mode != "quorum":
            return Gossip(node, members, options, bugs, rng)
        if interface != "kv":
            raise ValueError(f"mode=quorum serves registers and lists (interface kv), not {interface}")
        if options.replicas > len(members):
            raise ValueError(f"replicas={options.replicas}: there are only {len(members)} nodes")
        return QuorumReplica(node, members, options, bugs, rng)

    def formats(self, interface: str) -> Formats:
        """The types, with the requests of this interface."""
        return Formats(
            request=REQUESTS[interface],
            reply=Answer,
            record=GossipRecord | QuorumRecord,
            routes=(
                Route("/gossip/exchange", Summary, Difference, sender="source"),
                Route("/gossip/rumor", Rumor, sender="source"),
                Route("/gossip/put", Put, Stored, sender="source"),
                Route("/gossip/get", Get, Held, sender="source"),
            ),
        )

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """Every node is a replica; sessions learn from it where else they can go."""
        return Topology(dict.fromkeys(sorted(nodes), ROLE))

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A session that begins at the process's own node and goes on from there."""
        nodes = topology.nodes_of_role(ROLE)
        home = process % len(nodes) if nodes else 0
        return GossipSession(interface, (*nodes[home:], *nodes[:home]))

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Registers of mode causal are causally consistent, and those of mode session keep the session guarantees; the other
        types, and multi-value registers, are checked for what all modes promise. Of mode quorum: docs/eventual.md."""
        assert isinstance(options, GossipOptions)
        if interface == "ids":
            return "unique"
        if options.mode == "quorum" and options.quorums_meet:
            return "causal+" if options.read_repair == "before-answer" else "quorum"
        if interface == "kv" and options.register == "multi-value":
            return "convergent"
        if interface != "kv" or options.mode in ("eventual", "quorum"):
            return "eventual"
        return {"causal": "causal+", "session": "session"}[options.mode]

    def settling_s(self, options: msgspec.Struct) -> float:
        """SETTLING_ROUNDS of exchanges."""
        assert isinstance(options, GossipOptions)
        return SETTLING_ROUNDS * options.gossip_ms / 1000

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """Nobody leads."""
        return None

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """All nodes have the same states, and the same updates went into them; in mode quorum, the homes of each range."""
        if any("hints" in status for status in statuses.values()):
            digests: dict[str, set[int]] = {}
            for status in statuses.values():
                for number, digest in status["digests"].items():
                    digests.setdefault(number, set()).add(digest)
            return all(len(each) == 1 for each in digests.values()) and not any(
                each["hints"] for each in statuses.values()
            )
        return len({msgspec.json.encode((status["digests"], status["has"])) for status in statuses.values()}) <= 1

    # --- backups, as targets.target.Restorable says ------------------------------------------------------------------

    def backup_requests(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Mapping[NodeId, msgspec.Struct]:
        """Every node takes its own: what one node alone has, it alone can give."""
        # A request of every interface has these fields, and is the same as JSON.
        return dict.fromkeys(sorted(statuses), StoreRequest(f=TAKE_BACKUP))

    def backup_piece(self, reply: msgspec.Struct) -> str:
        """What the node answered. Raises ValueError where that is no backup."""
        assert isinstance(reply, Answer)
        return piece_of(reply, reply.node or "a node")

    def restored(
        self,
        pieces: Mapping[NodeId, str],
        nodes: Sequence[NodeId],
        number: int,
        *,
        since: int,
        interface: str,
        options: msgspec.Struct,
    ) -> Mapping[NodeId, Sequence[Record]]:
        """Each node gets its own data back. Raises ValueError for a node of which the backup has none, and for some nodes of mode
        quorum: a home that forgot a write would break its quorum."""
        assert isinstance(options, GossipOptions)
        found = backup.restored(
            pieces, nodes, number, since=since, interface=interface, is_quorum=options.mode == "quorum"
        )
        return {node: (record,) for node, record in found}

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


TARGET = GossipTarget()
