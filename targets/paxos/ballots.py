"""Ballots: the numbers of proposals (PMS §2.2, "different proposers choose their numbers from disjoint sets of numbers").

A ballot is a round and the node that drew it. Ballots are ordered by round, then by node: no two nodes ever draw the same.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from targets.core import NodeId

Natural = Annotated[int, msgspec.Meta(ge=0)]

Ballot = tuple[Natural, NodeId]

NO_BALLOT: Ballot = (0, "")
"""Below every ballot that a node draws."""


def above(ballot: Ballot, node: NodeId) -> Ballot:
    """The least ballot of `node` in a round above that of `ballot`."""
    return ballot[0] + 1, node
