"""The data types: states that any two nodes can join, in any order and any number of times, to the same result (Shapiro et al.
2011).

Each state is a frozen Struct in one canonical form, so that equal states are equal as JSON. An update gives a *delta*, a small
state of the same type, to be joined like a whole one (Almeida et al. 2018). `seen` is what the joining node has: what it has
seen and holds no longer was removed, and does not come back with an old message.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec

from targets.core import NodeId
from targets.gossip.contexts import Dot

Stamp = tuple[int, NodeId]
"""A hybrid clock's reading, and the node that read it: never the same twice."""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, tag_field="type"):
    """The base of the types."""


class LastWriter(State, frozen=True, tag="register"):
    """A last-writer-wins register: the value with the latest stamp (Shapiro et al. §3.2.1). is_deleted: the value is a
    tombstone."""

    value: Any
    stamp: Stamp
    dot: Dot
    is_deleted: bool = False


class Siblings(State, frozen=True, tag="multi-value"):
    """A multi-value register: every value that no other one replaces (§3.2.2). gone: dots that were replaced."""

    values: tuple[tuple[Dot, Any], ...] = ()
    gone: tuple[Dot, ...] = ()


class Counter(State, frozen=True, tag="counter"):
    """A PN-counter: what each node added and took away (§3.1.3). Without anything taken away it is a G-counter (§3.1.1)."""

    added: tuple[tuple[NodeId, int], ...] = ()
    taken: tuple[tuple[NodeId, int], ...] = ()


class GrowOnly(State, frozen=True, tag="grow-only-set"):
    """A G-set: elements that were added (§3.3.1), each as JSON sorts it."""

    elements: tuple[Any, ...] = ()


class Tombstone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, order=True):
    """The addition with dot `added` was removed by the update with dot `by`."""

    added: Dot
    by: Dot


class ObservedRemove(State, frozen=True, tag="observed-remove-set"):
    """An OR-set (§3.3.5): each addition has a dot, and a removal removes the additions that it saw. elements: sorted by dot."""

    elements: tuple[tuple[Dot, Any], ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


class Appended(State, frozen=True, tag="list"):
    """A list that only grows: elements in the order of their stamps."""

    items: tuple[tuple[Stamp, Dot, Any], ...] = ()


AnyState = LastWriter | Siblings | Counter | GrowOnly | ObservedRemove | Appended


def joined(mine: AnyState | None, theirs: AnyState, seen: Container[Dot]) -> AnyState | None:
    """The least state that has all of both; None where theirs is what this node has removed and forgotten.

    Of two states of different types, which come about where two nodes first use one key at once, the type whose name is greater
    wins.
    """
    if mine is not None and type(mine) is not type(theirs):
        return max(mine, theirs, key=lambda state: str(type(state).__struct_config__.tag))
    match mine, theirs:
        case (None, LastWriter()):
            return None if theirs.dot in seen else theirs
        case (LastWriter(), LastWriter()):
            return max(mine, theirs, key=lambda state: state.stamp)
        case (None | Siblings(), Siblings()):
            return _joined_siblings(mine or Siblings(), theirs)
        case (None | Counter(), Counter()):
            held = mine or Counter()
            return Counter(_maxima(held.added, theirs.added), _maxima(held.taken, theirs.taken))
        case (None | GrowOnly(), GrowOnly()):
            return grow_only([*(mine.elements if mine else ()), *theirs.elements])
        case (None | ObservedRemove(), ObservedRemove()):
            return _joined_sets(mine or ObservedRemove(), theirs, seen)
        case (None | Appended(), Appended()):
            items = {item[1]: item for item in (*(mine.items if mine else ()), *theirs.items)}
            return Appended(tuple(sorted(items.values(), key=lambda item: item[0])))
    raise TypeError(f"{type(mine).__name__} and {type(theirs).__name__} are states of different types")


def _maxima(
    mine: tuple[tuple[NodeId, int], ...], theirs: tuple[tuple[NodeId, int], ...]
) -> tuple[tuple[NodeId, int], ...]:
    counts = dict(mine)
    for node, count in theirs:
        counts[node] = max(count, counts.get(node, 0))
    return tuple(sorted(counts.items()))


def summed(mine: Counter, theirs: Counter) -> Counter:
    """What must not be: the counts of both added up, so that whatever comes twice counts twice."""

    def sums(a: tuple[tuple[NodeId, int], ...], b: tuple[tuple[NodeId, int], ...]) -> tuple[tuple[NodeId, int], ...]:
        counts = dict(a)
        for node, count in b:
            counts[node] = counts.get(node, 0) + count
        return tuple(sorted(counts.items()))

    return Counter(sums(mine.added, theirs.added), sums(mine.taken, theirs.taken))


def grow_only(elements: list[Any]) -> GrowOnly:
    """The set of these elements in canonical form."""
    by_text = {msgspec.json.encode(element): element for element in elements}
    return GrowOnly(tuple(element for _, element in sorted(by_text.items())))


def _joined_siblings(mine: Siblings, theirs: Siblings) -> Siblings:
    gone = {*mine.gone, *theirs.gone}
    values = {dot: value for dot, value in (*mine.values, *theirs.values) if dot not in gone}
    return Siblings(tuple(sorted(values.items(), key=lambda item: item[0])), tuple(sorted(gone)))


def _joined_sets(mine: ObservedRemove, theirs: ObservedRemove, seen: Container[Dot]) -> ObservedRemove:
    elements = dict(mine.elements)
    for dot, element in theirs.elements:
        if dot not in seen:
            elements.setdefault(dot, element)
    tombstones = {*mine.tombstones, *(stone for stone in theirs.tombstones if stone.by not in seen)}
    for stone in (*tombstones, *theirs.tombstones):
        elements.pop(stone.added, None)
    return ObservedRemove(tuple(sorted(elements.items(), key=lambda item: item[0])), tuple(sorted(tombstones)))


def value_of(state: AnyState | None) -> Any:
    """What a read returns; None where there is nothing."""
    match state:
        case None:
            return None
        case LastWriter():
            return None if state.is_deleted else state.value
        case Siblings():
            return [value for _, value in state.values]
        case Counter():
            return sum(count for _, count in state.added) - sum(count for _, count in state.taken)
        case GrowOnly():
            return list(state.elements)
        case ObservedRemove():
            return list(grow_only([element for _, element in state.elements]).elements)
        case Appended():
            return [value for _, _, value in state.items]


def stamp_of(state: AnyState) -> int:
    """The latest stamp in the state; 0 where its type has none."""
    match state:
        case LastWriter():
            return state.stamp[0]
        case Appended():
            return max((item[0][0] for item in state.items), default=0)
        case _:
            return 0
