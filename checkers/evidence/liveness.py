"""Evidence of liveness: whether a healed cluster serves and agrees again."""

from __future__ import annotations

from typing import Any

from checkers.evidence.kind import Kind, Part


class NodeState(Part, frozen=True):
    """One node at the end. process: such as "running". status: what it says of itself; None when it does not answer.
    ended: why it ended by itself."""

    node: str
    process: str
    status: dict[str, Any] | None = None
    ended: str | None = None


class LastAnswer(Part, frozen=True):
    """How the last call ended that asked whether the cluster serves."""

    type: str
    node: str
    error: Any = None


class Liveness(Kind, frozen=True, tag="liveness"):
    """healed_ns: when the faults were healed. not_asked: why nothing was asked of the cluster; then `damaged` names the
    nodes whose disks were damaged beyond a crash. away: the nodes that were not healed yet, while the others were to serve."""

    healed_ns: int
    states: tuple[NodeState, ...] = ()
    last_answer: LastAnswer | None = None
    not_asked: str = ""
    damaged: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
