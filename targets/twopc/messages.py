"""What coordinators and participants tell each other, and what a client is answered.

All go one way: a vote may wait for locks. A coordinator says again what was not answered, so that any of them may be lost.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from targets.core import NodeId
from targets.twopc.transactions import Step, TxnId

Natural = Annotated[int, msgspec.Meta(ge=0)]


class Prepare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Carry out these steps, keep what they write to yourself, and vote.

    timestamp: of the coordinator's logical clock; the snapshot that the transaction reads, where it reads one. low: no
    transaction of this coordinator with a smaller number is unfinished.
    """

    txn: TxnId
    steps: tuple[Step, ...]
    participants: tuple[NodeId, ...]
    timestamp: Natural
    low: Natural


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """yes: the participant will carry out whichever decision it is told. results: what each step saw. reason: of a no."""

    txn: TxnId
    yes: bool
    timestamp: Natural
    results: tuple[Any, ...] = ()
    reason: str = ""


class PreCommit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Three-phase commit: all have voted yes."""

    txn: TxnId
    timestamp: Natural


class PreCommitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The answer to PreCommit: this participant knows that all have voted yes."""

    txn: TxnId


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The decision. timestamp: of the versions that it makes."""

    txn: TxnId
    timestamp: Natural


class Abort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The decision. Nobody acknowledges it: who asks about a transaction that is not known is told that it aborted."""

    txn: TxnId


class Acknowledge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The commit is durable here; the coordinator may forget that this participant has to be told."""

    txn: TxnId
    timestamp: Natural


class Inquire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The sender is in doubt: how did this transaction end?"""

    txn: TxnId


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The answer to Inquire. undecided: the coordinator still waits. uncertain: the asked one is in doubt itself, or has
    forgotten."""

    txn: TxnId
    state: Literal["undecided", "uncertain", "pre-committed", "committed", "aborted"]
    timestamp: Natural = 0


class TxnAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """How a client's transaction ended.

    ok: committed. refused: the state of the store forbids it. aborted: certainly not done, for `reason`: a lock, another writer, or
    a participant that did not vote in time. not-leader: certainly not done here, and never will be; ask the coordinator `leader`,
    where this node knows one. unknown: the node stopped leading its group before it learned how the transaction ended.
    """

    status: Literal["ok", "refused", "aborted", "not-leader", "unknown"]
    result: Any = None
    reason: str | None = None
    leader: str | None = None


MESSAGES = (Prepare, Vote, PreCommit, PreCommitted, Commit, Abort, Acknowledge, Inquire, Standing)
"""What nodes tell each other."""
