"""A backup of gossip: each node's whole state, with what it has seen.

A node that is restored is another *actor* (contexts.py): the dots of its updates, its part of every counter and its stamps are new,
and nobody takes them for those that the node gave before and forgot. Its clock begins an hour later than the backup's last stamp,
so that no update of its own is older than what others wrote meanwhile.

When the whole cluster is restored, it begins a new *epoch*: messages of an earlier one count no more. Clients still carry dots of
updates that went with the restore, and would wait for them for ever. So each node knows the *horizon*, all that the backup has: a
dot of an actor from before the restore that is not in it is waited for no more.

When one node is restored and the others go on, they bring it what it lacks. It may also have what was removed since, and whose
tombstone is collected: it compares what it holds with what another node has seen and does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from targets.core import NodeId
from targets.gossip.contexts import Context, Dot, Seen, restores_of
from targets.gossip.crdts import AnyState, LastWriter, ObservedRemove
from targets.gossip.hybrid_clock import COUNTER_BITS
from targets.gossip.messages import Checkpoint, Difference, KeyState
from targets.gossip.quorum_messages import Kept
from targets.machines.backup import decoded
from targets.machines.machine import Key

CLOCK_AHEAD = 3_600_000 << COUNTER_BITS
"""An hour, as a stamp counts."""

STATES: Mapping[str, frozenset[str]] = {
    "kv": frozenset({"register", "multi-value", "list"}),
    "counter": frozenset({"counter"}),
    "set": frozenset({"grow-only-set", "observed-remove-set"}),
    "ids": frozenset(),
}
"""Interface -> the types of states that it can hold."""


def take(checkpoint: Checkpoint | Kept) -> str:
    """The node's piece of a backup, as JSON."""
    return msgspec.json.encode(checkpoint).decode()


def restored(
    pieces: Mapping[NodeId, str], nodes: Sequence[NodeId], number: int, *, since: int, interface: str, is_quorum: bool
) -> Iterator[tuple[NodeId, Checkpoint | Kept]]:
    """What each of these nodes' disk holds after the restore of this number (targets.target.Restorable.restored)."""
    found = {node: _piece(node, text, interface) for node, text in sorted(pieces.items())}
    if lacking := sorted(set(nodes) - found.keys()):
        raise ValueError(f"it has nothing of {lacking[0]}; it is of {', '.join(found) or 'no node'}")
    if since == number and (others := sorted(found.keys() - set(nodes))):
        raise ValueError(f"it is of {others[0]} too, which is no node here: what that alone had would be gone")
    horizon = Seen()
    for piece in found.values():
        if isinstance(piece, Checkpoint):
            horizon.join(piece.has)
    for node in nodes:
        piece = found[node]
        if isinstance(piece, Kept) != is_quorum:
            its, ours = (" not", "") if is_quorum else ("", " not")
            raise ValueError(f"its data is{its} of mode quorum, and this cluster is{ours}")
        latest = piece.latest + CLOCK_AHEAD
        if isinstance(piece, Kept):
            if since != number:
                raise ValueError(
                    "mode quorum is restored as a whole: a node that forgot a write would break its quorum"
                )
            yield node, msgspec.structs.replace(piece, latest=latest, epoch=number)
            continue
        is_since = piece.epoch == since  # It was taken after that restore, or there was none.
        yield (
            node,
            msgspec.structs.replace(
                piece,
                latest=latest,
                actor=f"{node}#{number}",
                epoch=since,
                horizon=piece.horizon if is_since else horizon.context(),
            ),
        )


def _piece(node: NodeId, text: str, interface: str) -> Checkpoint | Kept:
    piece: Checkpoint | Kept = decoded(text, Checkpoint | Kept)  # type: ignore[arg-type]
    states = [each.state for each in piece.states]
    if isinstance(piece, Kept):
        states += [hint.state for hint in piece.hints]
    for state in states:
        kind = str(state.__struct_config__.tag)
        if kind not in STATES[interface]:
            raise ValueError(f"the data of {node} is not of the interface {interface}: it has a {kind}")
    return piece


def alive(context: Context, epoch: int, horizon: Context) -> Context:
    """The context without the dots that went with the restore that began this epoch."""
    if not epoch:
        return context
    kept = Seen(horizon)
    vector: dict[str, int] = {}
    dots = {dot for dot in context.dots if restores_of(dot[0]) >= epoch or dot in kept}
    for actor, number in context.vector.items():
        if restores_of(actor) >= epoch:
            vector[actor] = number
        else:
            vector[actor] = min(number, horizon.vector.get(actor, 0))
            dots |= {dot for dot in horizon.dots if dot[0] == actor and dot[1] <= number}
    return Context(vector, tuple(sorted(dots)))


def removed_since(held: Iterable[KeyState], difference: Difference) -> tuple[tuple[Key, AnyState | None], ...]:
    """What takes the place of which of these keys' states: without what the sender of the difference has seen and has no more.

    held: what this node has in the ranges that the difference is about.
    """
    theirs = {_name(given.key): given.state for given in difference.states}
    has = Seen(difference.has)
    found: list[tuple[Key, AnyState | None]] = []
    for given in held:
        mine, other = given.state, theirs.get(_name(given.key))
        match mine:
            case LastWriter(dot=dot) if other is None and dot in has:
                found.append((given.key, None))
            case ObservedRemove() if isinstance(other, ObservedRemove | None):
                present: set[Dot] = {dot for dot, _ in other.elements} if other is not None else set()
                left = tuple(one for one in mine.elements if one[0] in present or one[0] not in has)
                if len(left) < len(mine.elements):
                    found.append((given.key, ObservedRemove(left, mine.tombstones)))
    return tuple(found)


def _name(key: Key) -> tuple[str, Key]:
    return type(key).__name__, key
