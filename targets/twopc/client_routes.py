"""What a person asks with curl: `POST /2pc/transaction {"steps": [["w", "x", 1], ["r", "y", null]]}`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from targets.machines.kv import MicroOp, Txn
from targets.target import ClientRoute
from targets.twopc.messages import TxnAnswer


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /2pc/transaction. steps: [f, key, value] each, with f of r, w, append."""

    steps: Annotated[tuple[MicroOp, ...], msgspec.Meta(min_length=1)]


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """committed: whether it did; None: nobody knows. steps: with what each r saw. reason: why it did not."""

    committed: bool | None
    steps: Any = None
    reason: str | None = None


def _answer(_request: Txn, reply: TxnAnswer) -> Ending:
    """How the transaction ended."""
    if reply.status == "ok":
        return Ending(True, reply.result)
    if reply.status == "not-leader":
        return Ending(False, reason=f"ask the coordinator, {reply.leader or 'when one is elected'}")
    if reply.status == "unknown":
        return Ending(None, reason="the node stopped leading before it learned how the transaction ended")
    return Ending(False, reason=reply.reason)


TRANSACTION = (ClientRoute("POST", "/2pc/transaction", Asked, lambda body: Txn(value=body.steps), _answer),)
