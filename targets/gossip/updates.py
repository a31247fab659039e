"""What a request does to a key: the delta of an update, the result of a read."""

from __future__ import annotations

from typing import Any

import msgspec

from targets.gossip.contexts import Dot, Seen
from targets.gossip.crdts import (
    AnyState,
    Appended,
    Counter,
    GrowOnly,
    LastWriter,
    ObservedRemove,
    Siblings,
    Stamp,
    Tombstone,
    grow_only,
    value_of,
)
from targets.gossip.messages import CounterRequest, Request, SetRequest, StoreRequest
from targets.gossip.options import GossipOptions


class Refusal(msgspec.Struct, frozen=True):
    """The update certainly changes nothing."""

    reason: str


def delta_of(
    request: Request, state: AnyState | None, stamp: Stamp, dot: Dot, options: GossipOptions
) -> AnyState | Refusal:
    """What to join to the key's state, here and everywhere. dot, stamp: of this update, new."""
    match request:
        case StoreRequest(f="append", value=value):
            if not isinstance(state, Appended | None):
                return Refusal("the key holds a register")
            return Appended(((stamp, dot, value),))
        case StoreRequest():
            if isinstance(state, Appended):
                return Refusal("the key holds a list")
            if options.register == "multi-value":
                return _siblings(request, state, dot)
            is_deleted = request.f == "delete"
            return LastWriter(None if is_deleted else request.value, stamp, dot, is_deleted)
        case CounterRequest(value=amount):
            assert amount is not None, "its type says so"
            if amount < 0 and options.counter == "g":
                return Refusal("a grow-only counter counts up")
            return _counted(state if isinstance(state, Counter) else Counter(), dot[0], amount)
        case SetRequest(f="add", value=element) if options.sets == "grow-only":
            return grow_only([element])
        case SetRequest(f="remove") if options.sets == "grow-only":
            return Refusal("a grow-only set forgets nothing")
        case SetRequest(f="add", value=element):
            return ObservedRemove(((dot, element),))
        case SetRequest(value=element):
            held = state.elements if isinstance(state, ObservedRemove) else ()
            stones = tuple(Tombstone(added, dot) for added, each in held if each == element)
            return ObservedRemove((), stones)
    raise AssertionError(f"{request!r} is no update")


def _siblings(request: StoreRequest, state: AnyState | None, dot: Dot) -> Siblings:
    """The write replaces what its client has seen; where nobody says what that is, all that is here."""
    values = state.values if isinstance(state, Siblings) else ()
    context = Seen(request.context)
    seen = [held for held, _ in values if not request.via or held in context]
    gone = tuple(sorted(seen))
    return Siblings(() if request.f == "delete" else ((dot, request.value),), gone)


def _counted(held: Counter, node: str, amount: int) -> Counter:
    """This node's count with the amount, alone."""
    if amount >= 0:
        return Counter(added=((node, dict(held.added).get(node, 0) + amount),))
    return Counter(taken=((node, dict(held.taken).get(node, 0) - amount),))


def result_of(request: Request, state: AnyState | None) -> Any:
    """The answer to a read or a look for an element."""
    value = value_of(state)
    match request:
        case SetRequest(f="contains", value=element):
            return element in (value or ())
        case SetRequest():
            return value or []
        case CounterRequest():
            return value or 0
        case _:
            return value


__all__ = ["GrowOnly", "Refusal", "delta_of", "result_of"]
