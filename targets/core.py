"""The contract between a core (the sans-IO part of a replica) and whatever drives it.

A core is a pure state machine: `step(now_ns, event)` takes one frozen event and returns effects, in order. It has no
clock, socket, file, thread or log; its randomness is the `random.Random` that it was given.

The driver promises, and the simulator attacks:

1. Effects are performed in list order, and the lists of successive steps in step order. 2. Nothing after a `Persist` is visible to
anyone (no Send, no Reply) before that record is durable. Effects that stand before it may be visible earlier. 3. A crash may cut
the list anywhere. After it, a new core object gets `Started` with the records that are durable: every
   record that was synced, in order, and perhaps a prefix of those that were not.
4. A record that was persisted with a `token` is announced by `SyncDone(token)` once it is durable; one step may therefore put
   Sends before its Persist and count its own copy only when `SyncDone` comes.
   A record that was persisted as a *checkpoint* supersedes all records before it. Once it is durable, `Started` brings it first,
   and behind it the records that were persisted after it; after a crash before that, it brings the old records. Never both, never
   neither.
5. Timers are named. A core moves a timer by setting it again. A timer that was cancelled or moved never fires for its old time.
   Time is the node's own clock, which may be wrong, jump or drift. Delays run on the node's monotonic clock, as timers of real
   machines do: it may drift, and it never jumps.
6. Messages may be lost, delayed, duplicated and reordered. A reply may be lost. Nothing is forged.

Two drivers exist: targets/node.py (a real process) and the simulated world (harness/environments/sim). A core cannot tell
which one runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from histories.tracing import TraceEvent

NodeId = str
Message = msgspec.Struct
"""A peer message: a frozen Struct of the core's own, listed in its target's `routes`."""

Record = msgspec.Struct
"""A durable record: a frozen, tagged Struct of the core's own, one member of its target's `record_type` union."""


# --- events -----------------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    """The node begins, or begins again after a crash: always the first event, exactly once for each core object.

    records: what the disk holds, in the order it was persisted.
    is_rejoining: the cluster has existed before, and this node's data was lost: it must not pass for a member that remembers what
    it
        promised. True for every start after a wipe; it says something only where `records` is empty.
    damage: in words, what the driver saw to be wrong with the disk beyond a torn last record (a checksum that does not match
        in the middle, a file that is gone); None when the disk is sound. The records before the damage are in `records`.
    """

    records: tuple[Record, ...] = ()
    damage: str | None = None
    is_rejoining: bool = False


class Received(msgspec.Struct, frozen=True, gc=False):
    """A peer's message arrived."""

    source: NodeId
    message: Message


class Request(msgspec.Struct, frozen=True, gc=False):
    """A client asks. `request_id` is unique within this core object's life and names the Reply."""

    request_id: int
    body: msgspec.Struct


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """The timer `name` is due."""

    name: str


class SyncDone(msgspec.Struct, frozen=True, gc=False):
    """The record persisted with this token is durable, and so is every record before it."""

    token: int


class DiskFailed(msgspec.Struct, frozen=True, gc=False):
    """The disk refused a record (full, I/O error): it and all later effects of the step were not performed.

    The core must not carry on as if it had been written; most answer with `Halt`.
    """

    reason: str


Event = Started | Received | Request | TimerFired | SyncDone | DiskFailed


# --- effects ----------------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send `message` to the peer `to`. At most once; may be lost."""

    to: NodeId
    message: Message


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Answer the client's request `request_id`.

    index: the position in the log on which the answer rests, where there is one (histories.tracing.Served).
    """

    request_id: int
    body: msgspec.Struct
    index: int | None = None


class Persist(msgspec.Struct, frozen=True, gc=False):
    """Append `record` to the durable log of records. See rules 2 to 4 above.

    is_checkpoint: the record says all that those before it say, which may be forgotten once it is durable.
    """

    record: Record
    token: int | None = None
    is_checkpoint: bool = False


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Fire `name` once, `delay_ns` from now on the node's monotonic clock; an earlier setting of the same name is forgotten."""

    name: str
    delay_ns: int


class CancelTimer(msgspec.Struct, frozen=True, gc=False):
    """Forget the timer `name`; it need not be set."""

    name: str


class Trace(msgspec.Struct, frozen=True, gc=False):
    """Something an invariant or a person wants to know happened inside: one of histories.tracing.CORE_EVENTS.

    Correctness does not depend on it: a driver may drop it.
    """

    event: TraceEvent


class Halt(msgspec.Struct, frozen=True, gc=False):
    """The node must stop at once, as after a failed disk; nothing after it in the list is performed."""

    reason: str


Effect = Send | Reply | Persist | SetTimer | CancelTimer | Trace | Halt


class Core(Protocol):
    """A replica. Built by its target's `core(...)`; driven only through `step`."""

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        """Take one event at `now_ns` of the node's own clock; return the effects in order."""
        ...

    def status(self) -> dict[str, Any]:
        """JSON-like: at least role, term (or ballot), leader (or None), commit_index, log_length, bugs. Reads only."""
        ...
