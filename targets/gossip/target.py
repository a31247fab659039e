"""The gossip store as a target: what the harness has to know of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets.command import node_argv
from targets.core import NodeId
from targets.fault_model import CRASHES_AND_NETWORK
from targets.gossip.bugs import PLANTED
from targets.gossip.core import Gossip
from targets.gossip.messages import REQUESTS, Answer, Difference, GossipRecord, Rumor, Summary
from targets.gossip.options import GossipOptions
from targets.gossip.quorum import QuorumReplica
from targets.gossip.quorum_messages import Get, Held, Put, QuorumRecord, Stored
from targets.gossip.session import GossipSession
from targets.session import Session
from targets.target import Bug, Formats, Place, Route, SystemDefaults
from targets.topology import Topology

ROLE = "replica"
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
    fault_model = CRASHES_AND_NETWORK
    """Safe under any crashes, any network and any clocks, as long as what was synced is kept; each node serves alone."""

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

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line of targets.node for this place."""
        return node_argv(self.name, place, options, bugs, interface)


TARGET = GossipTarget()
