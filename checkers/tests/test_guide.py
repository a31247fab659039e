"""The search that gives up dead ends: the same verdicts as the definition, from both cores, at the same failing operation."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import brute
from checkers.bench.objects import KINDS, history
from checkers.linearizability import native
from checkers.linearizability.encode import entries
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import Core, search
from checkers.linearizability.table import Table
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find
from checkers.tests.random_histories import random_history, seeded
from checkers.tests.test_linearizability_twins import comparable, failing_operation
from checkers.verdict import Validity
from histories.builder import h

GUIDED = ["register", "cas-register", "kv", "list-append"]

CORES: list[Core] = ["pure"] if native.core is None else ["pure", "native"]


def found(part: Any, model: Model, core: Core) -> SearchResult:
    table = Table(model, part.operations, 0)  # A complete one would be searched without a guide.
    assert table.is_guiding or not part
    return search(part, model, core=core, table=table)


def compare(name: str, seeds: range, ops_max: int, brute_max: int) -> set[Validity]:
    model = find(name)
    verdicts: set[Validity] = set()
    for seed in seeds:
        part = entries(
            random_history(name, seeded(seed), ops_max=ops_max, processes=2 + seed % 5), refused=seed % 2 == 0
        )
        results = [found(part, model, core) for core in CORES]
        assert all(comparable(result) == comparable(results[0]) for result in results), (name, seed)
        result = results[0]
        assert result.validity is not Validity.UNKNOWN, (name, seed)
        verdicts.add(result.validity)
        if result.linearization is not None:
            assert verify(part, model, result.linearization) is None, (name, seed)
        if len(part) > brute_max:
            assert result.validity is search(part, model).validity, (name, seed)
        else:
            expected = Validity.INVALID if brute.linearization(part, model) is None else Validity.VALID
            assert result.validity is expected, (name, seed)
            if expected is Validity.INVALID:
                assert result.is_shortest
                assert result.failed_at == failing_operation(part, model), (name, seed)
                assert result.final_configurations
    return verdicts


@pytest.mark.parametrize("name", GUIDED)
def test_the_guided_search_agrees_with_the_definition(name: str) -> None:
    assert compare(name, range(120), ops_max=9, brute_max=6) == {Validity.VALID, Validity.INVALID}


@pytest.mark.long
@pytest.mark.parametrize("name", GUIDED)
def test_the_guided_search_agrees_on_100_000_histories(name: str) -> None:
    compare(name, range(1_000, 26_000), ops_max=10, brute_max=7)


@pytest.mark.parametrize("name", ["kv log", "list-append"])
def test_a_guided_search_goes_straight_through_long_histories(name: str) -> None:
    """Configurations, not seconds: a search that is not guided explores ten times as many, or never ends."""
    kind = KINDS[name]
    for seed in range(2):
        for is_valid in (True, False):
            made = history(kind, operations=400, processes=8, seed=seed, is_valid=is_valid)
            part = entries(made)
            if name == "kv log":
                key = made[0].key
                part = entries(type(made)(op for op in made if op.key == key))
            result = search(part, find(kind.model), states_max=40 * len(part))
            assert result.validity is not Validity.UNKNOWN
            assert result.validity is Validity.INVALID or name == "kv log" or is_valid


def test_a_text_that_is_shorter_than_another_put_begins_in_one_way() -> None:
    """Else the monitor leaves every log with puts of different lengths to the search."""
    twins = monitor_of(find("kv"))
    assert twins is not None
    made = h("p0 invoke put ab | p0 ok put | p1 invoke get | p1 ok get ab | p0 invoke put abcd | p0 ok put")
    assert twins.pure(entries(made), find("kv")).validity is Validity.VALID
