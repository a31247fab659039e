"""When a tombstone may be forgotten.

A tombstone is needed until every node has it: who lacks it would bring the removed value back. That alone is not enough for a
register, whose tombstone also beats concurrent writes with earlier stamps that may still be under way. So its node must have,
too, every update that each node had made when it was known to have the tombstone; what that node makes later has a later stamp.
An old message that arrives afterwards brings nothing back, because its dot is among those that were seen (crdts.joined).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from targets.core import NodeId
from targets.gossip.contexts import Context, Dot, Seen, node_of
from targets.gossip.crdts import AnyState, LastWriter, ObservedRemove
from targets.machines.machine import Key


def collectable(
    states: Iterable[tuple[Key, AnyState]],
    seen: Seen,
    known: Mapping[NodeId, Context],
    peers: Sequence[NodeId],
    *,
    is_early: bool = False,
) -> tuple[tuple[Key, AnyState | None], ...]:
    """What may take the place of which keys' states: None where nothing is left.

    known: what each node was last heard to have. is_early: whether or not anybody else has them (a planted bug).
    """
    everyones = [Seen(known.get(peer, Context())) for peer in peers]

    def is_everywhere(dot: Dot) -> bool:
        return is_early or all(dot in has for has in everyones)

    has_all = is_early or all(
        seen.vector.get(actor, 0) >= number
        for peer, has in zip(peers, everyones, strict=True)
        for actor, number in has.vector.items()
        if node_of(actor) == peer
    )
    found: list[tuple[Key, AnyState | None]] = []
    for key, state in states:
        match state:
            case LastWriter(is_deleted=True, dot=dot) if has_all and is_everywhere(dot):
                found.append((key, None))
            case ObservedRemove(tombstones=stones) if stones:
                left = tuple(stone for stone in stones if not is_everywhere(stone.by))
                if len(left) < len(stones):
                    found.append((key, ObservedRemove(state.elements, left)))
    return tuple(found)
