"""What clients ask, what nodes tell each other, and what they keep on disk."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from targets.core import NodeId
from targets.gossip.contexts import EMPTY, Actor, Context, Dot
from targets.gossip.crdts import AnyState
from targets.machines.machine import Element, Key

Natural = Annotated[int, msgspec.Meta(ge=0)]

# --- the client's route -----------------------------------------------------------------------------------------------


LATEST_MAX = 1 << 60
"""Of a client's stamp: what the clock reads in the year 2527. A client that names a later one would leave no room for stamps
behind it."""


TAKE_BACKUP: Literal["take-backup"] = "take-backup"
"""Every interface has it: it answers with the whole state of the node (backup.py)."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """What every request has. context: what the client has seen. via: the node that it has the context from. latest: the greatest
    stamp that it has seen."""

    key: Key = None
    context: Context = EMPTY
    via: NodeId = ""
    latest: Annotated[int, msgspec.Meta(ge=0, le=LATEST_MAX)] = 0


class StoreRequest(Asked, frozen=True, kw_only=True):
    """Interface `kv`: registers by `read`, `write` and `delete`; lists by `read` and `append`. A key is what it was first used
    as."""

    f: Literal["read", "write", "delete", "append", "take-backup"]
    value: Any = None


class CounterRequest(Asked, frozen=True, kw_only=True):
    """Interface `counter`: counters by `read` and `add`."""

    f: Literal["read", "add", "take-backup"]
    value: Annotated[int, msgspec.Meta(ge=-(1 << 40), le=1 << 40)] | None = None

    def __post_init__(self) -> None:
        if self.f == "add" and self.value is None:
            raise ValueError("value: add takes an integer")


class SetRequest(Asked, frozen=True, kw_only=True):
    """Interface `set`: sets by `read`, `contains`, `add` and `remove`."""

    f: Literal["read", "contains", "add", "remove", "take-backup"]
    value: Element | None = None

    def __post_init__(self) -> None:
        if self.f not in ("read", TAKE_BACKUP) and self.value is None:
            raise ValueError(f"value: {self.f} takes an element, a text or an integer")


class IdRequest(Asked, frozen=True, kw_only=True):
    """Interface `ids`: `generate` returns an id that nobody else ever gets."""

    f: Literal["generate", "take-backup"]


Request = StoreRequest | CounterRequest | SetRequest
REQUESTS: dict[str, Any] = {"kv": StoreRequest, "counter": CounterRequest, "set": SetRequest, "ids": IdRequest}
"""Interface -> the type of its requests."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """ok: done. behind: not done, and never will be: the node lacks what the client has seen. refused: not done, for `reason`.
    unavailable: too few nodes answered; an update may still happen.

    context, latest: what the client has now seen. node: who answers. ask_next: the node that the client should ask next.
    backup: the answer to take-backup, a JSON text.
    """

    status: Literal["ok", "behind", "refused", "unavailable"]
    result: Any = None
    reason: str = ""
    context: Context = EMPTY
    latest: Natural = 0
    node: NodeId = ""
    ask_next: NodeId = ""
    backup: str = ""


# --- between nodes ----------------------------------------------------------------------------------------------------


class KeyState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    key: Key
    state: AnyState


class Rumor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A fresh update: rumor mongering. deps: what its node had when it took the update; its causes are among it.

    epoch, here and in every other message: of the cluster that it belongs to (backup.py). Whoever is in another one drops it.
    """

    source: NodeId
    dot: Dot
    key: Key
    delta: AnyState
    deps: Context
    latest: Natural
    epoch: Natural = 0


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Anti-entropy, first step: one digest for each range of keys. beats: the heartbeats that the sender knows of. is_answer:
    the sender was asked before and found differences, so this is the second half of an exchange."""

    source: NodeId
    is_answer: bool
    digests: tuple[Natural, ...]
    has: Context
    beats: dict[NodeId, Natural]
    latest: Natural
    epoch: Natural = 0
    actor: Actor = ""


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Second step: everything in the ranges that differ, at one moment. So who joins it has all that the sender `has`, and
    causes with their effects. owed: see core.py. ranges: those that differ: of a key there that is not among the states, the sender
    has nothing. to: the actor of the summary: one that was restored since lacks what the ranges that did not differ held."""

    source: NodeId
    states: tuple[KeyState, ...]
    has: Context
    owed: Context
    beats: dict[NodeId, Natural]
    latest: Natural
    ranges: tuple[Natural, ...] = ()
    epoch: Natural = 0
    to: Actor = ""


# --- on disk ----------------------------------------------------------------------------------------------------------


class Joined(msgspec.Struct, frozen=True, tag="joined", forbid_unknown_fields=True, gc=False):
    """These states were joined, and from here on the node has these dots."""

    states: tuple[KeyState, ...]
    has: Context
    owed: Context
    latest: int


class Collected(msgspec.Struct, frozen=True, tag="collected", forbid_unknown_fields=True, gc=False):
    """The states of these keys took the place of what was there (None: nothing did): their tombstones are gone."""

    states: tuple[tuple[Key, AnyState | None], ...]


class Checkpoint(
    msgspec.Struct, frozen=True, tag="checkpoint", forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """Supersedes every record before it. actor, epoch, horizon: see backup.py; actor "": the node's own name."""

    states: tuple[KeyState, ...]
    has: Context
    owed: Context
    latest: int
    actor: Actor = ""
    epoch: int = 0
    horizon: Context = EMPTY


GossipRecord = Joined | Collected | Checkpoint
