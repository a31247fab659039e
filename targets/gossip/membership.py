"""Who is alive: heartbeats that nodes count up and pass on (van Renesse, Minsky and Hayden 1998).

Of each node everybody keeps the highest count that he has heard. So a node that was restarted and counts from 0 would seem to stand
still, to all who do not hear it themselves, until it has counted as far as in its earlier life. It goes on from the count that the
others hold of it, as soon as one of them tells it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from targets.core import NodeId

SUSPECTED_SHARE = 0.2
"""Of the rounds, in which a suspected node is chosen too: so partitions are found to have healed."""


BEATS_MAX = 1 << 60
"""A count that a node goes on from: far above all that rounds can count, and far below what a message can carry."""


class Heartbeats:
    """beats: the highest heartbeat known of each node. suspected: peers whose heartbeat has stood still for too many rounds,
    sorted."""

    def __init__(self, node: NodeId, peers: Sequence[NodeId], suspect_rounds: int) -> None:
        self.beats: dict[NodeId, int] = dict.fromkeys(sorted((node, *peers)), 0)
        self.suspected: tuple[NodeId, ...] = ()
        self._node = node
        self._peers = tuple(peers)
        self._suspect_rounds = suspect_rounds
        self._round = 0
        self._rose: dict[NodeId, int] = dict.fromkeys(peers, 0)

    def beat(self) -> None:
        """One round has passed."""
        self._round += 1
        self.beats[self._node] += 1
        self._judge()

    def hear(self, source: NodeId, beats: Mapping[NodeId, int]) -> None:
        """A message from `source` with these heartbeats arrived."""
        told = beats.get(self._node, 0)
        if self.beats[self._node] < told <= BEATS_MAX:  # Of an earlier life of this node.
            self.beats[self._node] = told
        for node in self._peers:
            beat = beats.get(node, 0)
            if beat > self.beats[node] or node == source:
                # Who hears the node itself knows that it lives, also before it has gone on from its old count.
                self.beats[node] = max(beat, self.beats[node])
                self._rose[node] = self._round
        self._judge()

    def _judge(self) -> None:
        self.suspected = tuple(peer for peer in self._peers if self._round - self._rose[peer] > self._suspect_rounds)

    def choose(self, rng: random.Random) -> NodeId | None:
        """The peer of this round: mostly one that is not suspected. None where there is no peer."""
        alive = [peer for peer in self._peers if peer not in self.suspected]
        pool = self._peers if not alive or rng.random() < SUSPECTED_SHARE else alive
        return rng.choice(pool) if pool else None
