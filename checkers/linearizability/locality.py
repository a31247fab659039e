"""An object made of independent parts, such as a map of keys: a history of it becomes one history for each part.

A history is linearizable exactly when the history of each part is (locality: Herlihy and Wing 1990, §3.1). Parts that
some operation touches together stay together. A history that cannot be split, because an operation may touch everything
or connects all parts, stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from checkers.linearizability.encode import Entries, part
from checkers.models.model import Model, Operation, speaks_for


class Part(NamedTuple):
    """One object's entries, and the model that they are checked against."""

    entries: Entries
    model: Model


def split(parts: Mapping[Any, Entries], model: Model) -> dict[Any, Part]:
    """The history of each independent part, by key; parts of a keyed object are called (key, name). No two parts share a name.

    Raises whatever the model raises.
    """
    if not speaks_for(model, "touches"):
        return {key: Part(entries, model) for key, entries in parts.items()}
    found: dict[Any, Part] = {}
    for key, entries in parts.items():
        names = _names(entries, model)
        if names is None:
            found[key] = Part(entries, model)
            continue
        for group, positions in names.items():
            name = group[0] if len(group) == 1 else group
            label = name if key is None else (key, name)
            while label in found or (label in parts and label != key):
                label = (label,)
            found[label] = _part(entries, model, group, positions)
    return found


def _names(entries: Entries, model: Model) -> dict[tuple[Hashable, ...], list[int]] | None:
    """The positions of the entries of each group of parts, groups in order of first use; None where there is one
    group and no simpler model for it.
    """
    touched: dict[int, frozenset[Hashable]] = {}
    for number in dict.fromkeys(entries.op):
        names = model.touches(entries.operations[number])
        if names is None:
            return None
        touched[number] = names
    leader: dict[Hashable, Hashable] = {}

    def find(name: Hashable) -> Hashable:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    for names in touched.values():
        first, *others = sorted(names, key=repr) or [None]
        if names:
            find(first)
        for other in others:
            leader[find(other)] = find(first)
    members: dict[Hashable, list[Hashable]] = {}
    for name in leader:
        members.setdefault(find(name), []).append(name)
    if not members or (len(members) == 1 and _simpler(model, next(iter(members.values()))) is None):
        return None
    group_of = {root: tuple(sorted(names, key=repr)) for root, names in members.items()}
    anywhere = next(iter(group_of.values()))  # What touches nothing is legal, or not, wherever it stands.
    positions: dict[tuple[Hashable, ...], list[int]] = {group: [] for group in group_of.values()}
    for position, number in enumerate(entries.op):
        names = touched[number]
        positions[group_of[find(next(iter(names)))] if names else anywhere].append(position)
    return positions


def _simpler(model: Model, names: list[Hashable] | tuple[Hashable, ...]) -> Model | None:
    return model.of_one(names[0]) if len(names) == 1 else None


def _part(entries: Entries, model: Model, group: tuple[Hashable, ...], positions: list[int]) -> Part:
    found = part(entries, positions)
    simpler = _simpler(model, group)
    if simpler is None:
        return Part(found, model)
    operations = [_within(model, operation) for operation in found.operations]
    return Part(Entries(found.ops, operations, found.op, found.call, found.end, found.returns), simpler)


def _within(model: Model, operation: Operation) -> Operation:
    return model.within(operation) if model.touches(operation) else operation
