"""The search and the definition give the same verdict on random small histories, and prove it."""

from __future__ import annotations

import pytest

from checkers import brute
from checkers.linearizability.encode import entries
from checkers.linearizability.search import search
from checkers.linearizability.witness import verify
from checkers.models.registry import find
from checkers.tests.random_histories import random_history, seeded
from checkers.verdict import Validity


def agree(name: str, seeds: range) -> set[Validity]:
    """The verdicts that occurred; histories of up to 8 operations, with info and fail."""
    model, verdicts = find(name), set()
    for seed in seeds:
        history = random_history(name, seeded(seed), ops_max=8, processes=2 + seed % 3)
        part = entries(history, refused=seed % 2 == 0)
        result = search(part, model)
        expected = Validity.INVALID if brute.linearization(part, model) is None else Validity.VALID
        assert result.validity is expected, (name, seed)
        assert result.linearization is None or verify(part, model, result.linearization) is None
        verdicts.add(expected)
    return verdicts


@pytest.mark.parametrize("name", ["register", "cas-register", "kv"])
def test_the_search_agrees_with_brute_force(name: str) -> None:
    assert agree(name, range(150)) == {Validity.VALID, Validity.INVALID}


@pytest.mark.long
@pytest.mark.parametrize("name", ["register", "cas-register", "kv"])
def test_the_search_agrees_with_brute_force_on_100_000_histories(name: str) -> None:
    assert agree(name, range(34_000)) == {Validity.VALID, Validity.INVALID}
