"""Routes for people with curl, beside the one of the machine: changes of the membership, and of the leader."""

from __future__ import annotations

from typing import Any

import msgspec

from targets.core import NodeId
from targets.machines.machine import Answer
from targets.raft.configuration import AddLearner, AddNode, MemberChange, RemoveNode, TransferLeadership
from targets.target import ClientRoute


class Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /raft/members: exactly one of these, with the name of a node."""

    add: NodeId | None = None
    add_learner: NodeId | None = None
    remove: NodeId | None = None

    def __post_init__(self) -> None:
        if sum(node is not None for node in (self.add, self.add_learner, self.remove)) != 1:
            raise ValueError("expected exactly one of add, add_learner, remove, with the name of a node")


class NextLeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /raft/leader: the node that is to lead."""

    node: NodeId


def _request(body: Members) -> MemberChange:
    if body.add is not None:
        return AddNode(value=body.add)
    if body.add_learner is not None:
        return AddLearner(value=body.add_learner)
    assert body.remove is not None
    return RemoveNode(value=body.remove)


def _answer(_request: MemberChange, reply: Answer[Any]) -> Any:
    answer = {"done": reply.status == "ok"}
    return answer | {"why": reply.reason or reply.status} if reply.status != "ok" else answer


ROUTES = (
    ClientRoute("POST", "/raft/members", Members, _request, _answer),
    ClientRoute("POST", "/raft/leader", NextLeader, lambda body: TransferLeadership(value=body.node), _answer),
)
