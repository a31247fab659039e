"""The definition against something even simpler: all permutations of all subsets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import pytest

from checkers import brute
from checkers.linearizability.encode import Entry, entries
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find, names
from checkers.tests.random_histories import random_history, seeded
from histories.builder import h


def literal(part: Sequence[Entry], model: Model) -> bool:
    """Herlihy and Wing's definition, word by word."""
    crashed = [i for i, entry in enumerate(part) if entry.is_crashed]
    completed = [i for i, entry in enumerate(part) if not entry.is_crashed]
    for size in range(len(crashed) + 1):
        for used in combinations(crashed, size):
            for order in permutations([*completed, *used]):
                real_time = all(
                    part[b].is_crashed or part[b].ret >= part[a].call
                    for at, a in enumerate(order)
                    for b in order[at + 1 :]
                )
                states = {model.initial()}
                for position in order:
                    states = {after for state in states for after in model.step(state, part[position].operation)}
                if real_time and states:
                    return True
    return False


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("refused", [False, True])
def test_brute_force_is_the_definition(name: str, refused: bool) -> None:
    model = find(name)
    verdicts = set()
    for seed in range(25):
        part = entries(random_history(name, seeded(seed), ops_max=5), refused=refused)
        found = brute.linearization(part, model)
        assert (found is not None) == literal(part, model), (seed, part[:])
        assert found is None or verify(part, model, found) is None
        verdicts.add(found is None)
    assert verdicts == {True, False}


def test_nothing_is_linearizable() -> None:
    assert brute.linearization([], find("register")) == []


def test_intervals_are_closed() -> None:
    """An operation that returns at the event at which another is called is concurrent with it."""
    write, read = entries(h("p0 invoke write 1 | p1 invoke read | p0 ok write 1 | p1 ok read 1"))
    meeting = [Entry(read.operation, 0, 5, 0, 5, 0), Entry(write.operation, 5, 9, 5, 9, 1)]
    apart = [Entry(read.operation, 0, 5, 0, 5, 0), Entry(write.operation, 6, 9, 6, 9, 1)]
    assert brute.linearization(meeting, find("register")) == [1, 0]
    assert brute.linearization(apart, find("register")) is None
