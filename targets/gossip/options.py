"""What a user may set on a gossip node."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["eventual", "session", "causal"]


class GossipOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are on the node's monotonic clock.

    mode: `eventual`: updates show in any order, and a client asks any node. `session`: a client carries what it has seen, and a
    node
        that does not have that makes it wait or sends it on. `causal`: also, no update shows on a node before its causes.
    register: how `write` works: `lww`, the last writer wins, or `multi-value`, concurrent values stand side by side. counter: `pn`,
        or `g`, which refuses to count down. sets: `observed-remove`, or `grow-only`, which refuses removals.
    gossip_ms: between two exchanges that a node begins. fanout: to how many nodes it sends a fresh update on.
    suspect_rounds: a node whose heartbeat has stood still for so many rounds is suspected, and rarely chosen.
    wait_ms: how long a request waits for what its client has seen. checkpoint_records: the log is replaced by the state after
    so many.
    """

    mode: Mode = "causal"
    register: Literal["lww", "multi-value"] = "lww"
    counter: Literal["pn", "g"] = "pn"
    sets: Literal["observed-remove", "grow-only"] = "observed-remove"
    gossip_ms: int = 50
    fanout: int = 2
    suspect_rounds: int = 10
    wait_ms: int = 300
    checkpoint_records: int = 500

    def __post_init__(self) -> None:
        for name in ("gossip_ms", "fanout", "suspect_rounds", "wait_ms", "checkpoint_records"):
            if getattr(self, name) < (0 if name in ("fanout", "wait_ms") else 1):
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least {0 if name in ('fanout', 'wait_ms') else 1}"
                )
