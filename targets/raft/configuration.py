"""Who belongs to the cluster: one value, which entries of the log carry from one to the next (thesis §4.1).

A node counts under a number, its *identity*: 0 for one that never lost its data. A node whose disk was wiped draws a new one. To
Raft it is another server: what the old one had voted and acknowledged counts no more, and it must be taken in anew.

Only one server changes its vote from one configuration to the next, so that a majority of either shares a member with a majority of
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from targets.core import NodeId
from targets.machines.machine import Command
from targets.raft.quorum import majority


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """voters, learners: node -> identity. A learner gets the log and has no vote. joining: the learners that are to vote as soon as
    they have caught up."""

    voters: dict[NodeId, int]
    learners: dict[NodeId, int] = {}
    joining: tuple[NodeId, ...] = ()

    def identity_of(self, node: NodeId) -> int | None:
        """Under which identity the node belongs to the cluster; None when it does not."""
        return self.voters.get(node, self.learners.get(node))

    def with_learner(self, node: NodeId, identity: int, *, joins: bool) -> Configuration:
        """The node learns under this identity, and has no vote."""
        joining = {*self.joining, node} if joins else {*self.joining} - {node}
        return Configuration(_without(self.voters, node), {**self.learners, node: identity}, tuple(sorted(joining)))

    def with_voter(self, node: NodeId) -> Configuration:
        """The learner votes."""
        voters = {**self.voters, node: self.learners[node]}
        return Configuration(voters, _without(self.learners, node), tuple(n for n in self.joining if n != node))

    def without(self, node: NodeId) -> Configuration:
        """The node does not belong to the cluster."""
        joining = tuple(other for other in self.joining if other != node)
        return Configuration(_without(self.voters, node), _without(self.learners, node), joining)


def _without(seats: Mapping[NodeId, int], node: NodeId) -> dict[NodeId, int]:
    return {other: identity for other, identity in seats.items() if other != node}


def initial(nodes: Sequence[NodeId], voters_count: int) -> Configuration:
    """The configuration that every log begins with: the first so many nodes vote, n9 before n10; 0: all. The others wait to be
    added."""
    ordered = sorted(nodes, key=_name_and_number)
    return Configuration(dict.fromkeys(ordered[: voters_count or None], 0))


def _name_and_number(node: NodeId) -> tuple[str, int, str]:
    name = node.rstrip("0123456789")
    return name, int(node[len(name) :] or -1), node


def lost_quorum(after: Configuration, answering: Iterable[NodeId]) -> str | None:
    """Why this configuration could not commit anything, when only these nodes answer; None when it could."""
    if not after.voters:
        return "the cluster would have no voter left"
    present = sorted(set(answering) & after.voters.keys())
    needed = majority(len(after.voters))
    if len(present) >= needed:
        return None
    return (
        f"the cluster would lose its quorum: of the voters {', '.join(sorted(after.voters))} only "
        f"{', '.join(present) or 'none'} answer, and {needed} are needed"
    )


# --- what clients may ask -----------------------------------------------------------------------------------------------


class Change(Command, frozen=True):
    """One change of the membership. value: the node that it is about."""


class AddNode(Change, frozen=True, kw_only=True, tag="add-node"):
    """The node learns, and votes once it has caught up."""

    value: NodeId


class AddLearner(Change, frozen=True, kw_only=True, tag="add-learner"):
    """The node learns and gets no vote; a voter gives up its own."""

    value: NodeId


class RemoveNode(Change, frozen=True, kw_only=True, tag="remove-node"):
    """The node does not belong to the cluster any more."""

    value: NodeId


class TransferLeadership(Change, frozen=True, kw_only=True, tag="transfer-leadership"):
    """The node leads, if it is a voter: the leader lets it catch up, and asks it to stand (thesis §3.10). Nothing in the log
    changes."""

    value: NodeId


MemberChange = AddNode | AddLearner | RemoveNode | TransferLeadership
