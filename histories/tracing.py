"""What a node said happened inside it: the records that protocol invariants read beside the client history."""

from __future__ import annotations

from typing import Any

import msgspec


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """One trace effect of one node.

    time: ns since the run began, on the controller's clock (virtual in a simulation; for a real node, its true clock
    minus the run's start). kind and fields: as the core wrote them, such as ("role", {"role": "leader", "term": 3}).
    """

    time: int
    node: str
    kind: str
    fields: dict[str, Any]
