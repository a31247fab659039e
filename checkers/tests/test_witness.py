"""The verifier accepts exactly the orders that the definition accepts."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import brute
from checkers.linearizability.encode import Entry, entries
from checkers.linearizability.search import search
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find, names
from checkers.tests.random_histories import histories, random_history, seeded
from checkers.verdict import Validity
from histories.builder import h


def is_legal(part: list[Entry], model: Model, order: tuple[int, ...]) -> bool:
    """The definition for one order, by brute force: as if each operation ran alone, in this order."""
    keeps_real_time = all(
        not (not part[b].is_crashed and part[b].ret < part[a].call)
        for at, a in enumerate(order)
        for b in order[at + 1 :]
    )
    is_whole = all(entry.is_crashed or i in order for i, entry in enumerate(part))
    alone = [Entry(part[i].operation, 2 * at, 2 * at + 1, at, at, 0) for at, i in enumerate(order)]
    return keeps_real_time and is_whole and brute.linearization(alone, model) is not None


@pytest.mark.parametrize("name", names())
def test_accepts_exactly_the_legal_orders(name: str) -> None:
    model, verdicts = find(name), set()
    for seed in range(12):
        part = entries(random_history(name, seeded(seed), ops_max=4))[:]
        for size in range(len(part) + 1):
            for order in permutations(range(len(part)), size):
                found = verify(part, model, order)
                assert (found is None) == is_legal(part, model, order), (seed, order, found)
                verdicts.add(found is None)
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", names())
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_what_the_search_finds_is_accepted_and_a_spoiled_order_is_not(name: str, data: st.DataObject) -> None:
    model = find(name)
    part = entries(data.draw(histories(name)))
    result = search(part, model, core="pure")
    assert (result.validity is Validity.VALID) == (brute.linearization(part, model) is not None)
    if result.linearization is None:
        return
    order = list(result.linearization)
    assert verify(part, model, order) is None
    completed = [i for i in order if not part[i].is_crashed]
    if completed:
        without = [i for i in order if i != completed[0]]
        assert verify(part, model, without) is not None
        assert verify(part, model, [*order, completed[0]]) is not None


WRONG = [
    ([0], "completed, but is not in the linearization"),
    ([0, 1, 1], "is there twice"),
    ([0, 1, 2], "there is no entry 2"),
    ([-1, 0, 1], "there is no entry -1"),
    ([0, 2, 1], "there is no entry 2"),
]


@pytest.mark.parametrize(("order", "words"), WRONG)
def test_says_what_is_wrong(order: list[int], words: str) -> None:
    part = entries(h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read 1"))
    assert words in str(verify(part, find("register"), order))
    assert verify(part, find("register"), [0, 1]) is None


def test_says_what_comes_too_late() -> None:
    part = entries(h("p0 invoke write 1 | p0 ok write 1 | p1 invoke write 2 | p1 ok write 2"))
    assert "comes after one that was called after it had returned" in str(verify(part, find("register"), [1, 0]))


def test_says_which_operation_the_model_does_not_allow() -> None:
    part = entries(h("p0 invoke write 1 | p1 invoke read | p0 ok write 1 | p1 ok read 1"))
    assert "the model register does not allow entry 1" in str(verify(part, find("register"), [1, 0]))


def test_a_long_order_is_verified_in_one_pass() -> None:
    rng = Random(5)
    text = " | ".join(f"p0 invoke write {v} | p0 ok write {v}" for v in (rng.randrange(9) for _ in range(3_000)))
    part = entries(h(text))
    assert verify(part, find("register"), range(3_000)) is None
    assert verify(part, find("register"), [*range(1, 3_000), 0]) is not None
