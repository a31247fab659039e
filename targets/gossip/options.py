"""What a user may set on a gossip node."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["eventual", "session", "causal", "quorum"]


class GossipOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are on the node's monotonic clock.

    mode: `eventual`: updates show in any order, and a client asks any node. `session`: a client carries what it has seen, and a
        node that does not have that makes it wait or sends it on. `causal`: also, no update shows on a node before its causes.
        `quorum`: each key has `replicas` homes; a read needs `read_quorum` answers and a write `write_quorum` (quorum.py).
    quorums: `strict`: of the homes. `sloppy`: other nodes stand in for homes that do not answer. read_repair: whether a read
        writes what it returns to nodes that held less behind its answer or before it. These belong to mode quorum.
    register: how `write` works: `lww`, the last writer wins, or `multi-value`, concurrent values stand side by side. counter: `pn`,
        or `g`, which refuses to count down. sets: `observed-remove`, or `grow-only`, which refuses removals.
    gossip_ms: between two exchanges that a node begins. fanout: to how many nodes it sends a fresh update on.
    suspect_rounds: a node whose heartbeat has stood still for so many rounds is suspected, and rarely chosen.
    wait_ms: how long a request waits for what its client has seen, or for its quorum. None: 300, and 1,000 in mode quorum. There a
        request crosses the network twice and waits for a sync on each of its homes, which takes longer than 300 on a slow machine,
        and whoever waits in vain is told `unavailable`. In the other modes a client that is sent on waits at each node in turn.
    checkpoint_records: the log is replaced by the state after so many.
    """

    mode: Mode = "causal"
    register: Literal["lww", "multi-value"] = "lww"
    counter: Literal["pn", "g"] = "pn"
    sets: Literal["observed-remove", "grow-only"] = "observed-remove"
    replicas: int = 3
    read_quorum: int = 2
    write_quorum: int = 2
    quorums: Literal["strict", "sloppy"] = "strict"
    read_repair: Literal["after-answer", "before-answer"] = "after-answer"
    gossip_ms: int = 50
    fanout: int = 2
    suspect_rounds: int = 10
    wait_ms: int | None = None
    checkpoint_records: int = 500

    def __post_init__(self) -> None:
        for name in ("gossip_ms", "fanout", "suspect_rounds", "wait_ms", "checkpoint_records"):
            value, least = getattr(self, name), 0 if name in ("fanout", "wait_ms") else 1
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        for name in ("read_quorum", "write_quorum"):
            if not 1 <= getattr(self, name) <= self.replicas:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 1 and at most replicas, which is {self.replicas}"
                )
        if self.mode == "quorum" and self.register != "lww":
            raise ValueError("mode quorum has last-writer-wins registers; leave out register=multi-value")

    @property
    def wait_rounds(self) -> int:
        """How many rounds a request waits at most."""
        default_ms = 1_000 if self.mode == "quorum" else 300
        return -(-(default_ms if self.wait_ms is None else self.wait_ms) // self.gossip_ms)

    @property
    def quorums_meet(self) -> bool:
        """Whether every read asks a node that has acknowledged the last write: strict quorums, and R + W > N."""
        return self.quorums == "strict" and self.read_quorum + self.write_quorum > self.replicas
