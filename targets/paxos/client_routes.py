"""What a person asks of Paxos with curl: `POST /paxos/propose {"value": ...}` and `GET /paxos/learn`.

Both are about the decision that has no key; `POST /consensus` asks for any.
"""

from __future__ import annotations

from typing import Any

import msgspec

from targets.machines.consensus import Learn, Propose
from targets.machines.machine import Answer, Key
from targets.target import ClientRoute


class Proposing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /paxos/propose. key: which decision; usually the one that has none."""

    value: Any
    key: Key = None

    def __post_init__(self) -> None:
        Propose(key=self.key, value=self.value)  # Refuses what cannot be proposed.


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """chosen: whether the proposed value was chosen, or, of a question, whether any was; None: nobody knows. value: which was."""

    chosen: bool | None
    value: Any = None
    error: str | None = None


def _proposed(request: Propose, reply: Answer[Any]) -> Decision:
    """Whether the value was chosen, and which was."""
    if reply.status != "ok":
        return _unanswered(reply)
    same = msgspec.json.encode(reply.result, order="sorted") == msgspec.json.encode(request.value, order="sorted")
    return Decision(same, reply.result)


def _learned(_request: Learn, reply: Answer[Any]) -> Decision:
    """What is chosen."""
    return Decision(reply.result is not None, reply.result) if reply.status == "ok" else _unanswered(reply)


def _unanswered(reply: Answer[Any]) -> Decision:
    if reply.status == "not-leader":
        where = f"ask the leader, {reply.leader}" if reply.leader else "no leader is known; ask again"
        return Decision(None, error=f"not proposed: {where}")
    if reply.status == "superseded":
        return Decision(None, error="not proposed: another leader took over; ask again")
    return Decision(None, error="no quorum answered in time; the value may still be chosen: ask again")


PROPOSE_AND_LEARN = (
    ClientRoute("POST", "/paxos/propose", Proposing, lambda body: Propose(key=body.key, value=body.value), _proposed),
    ClientRoute("GET", "/paxos/learn", None, lambda _body: Learn(), _learned),
)
