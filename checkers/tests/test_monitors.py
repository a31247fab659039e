"""The monitors give no wrong verdict, prove what they say, and their twins agree."""

from __future__ import annotations

from collections import Counter

import pytest

from checkers.linearizability import linearizable, native
from checkers.linearizability.encode import entries
from checkers.linearizability.monitors import copies
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.witness import verify
from checkers.models.registry import find
from checkers.tests.monitor_cases import BY_HAND, CASES, answer, in_words, refute
from checkers.verdict import Validity
from histories.builder import h

needs_native = pytest.mark.skipif(native.monitors is None, reason="no C++ compiler was there when this was installed")


def agrees_with_brute_force(name: str, seeds: range, operations: int = 7) -> Counter[Validity]:
    case, verdicts = CASES[name], Counter[Validity]()
    for seed in seeds:
        part = case.history(seed, operations, 5)
        decision = case.twins.pure(part, case.model)
        wrong = refute(part, case.model, decision)
        assert wrong is None, (seed, wrong, decision, *in_words(part))
        verdicts[decision.validity] += 1
    return verdicts


def twins_agree(name: str, seeds: range, operations: int = 60) -> Counter[Validity]:
    case, verdicts = CASES[name], Counter[Validity]()
    for seed in seeds:
        part = case.history(seed, operations, 8, wrong=(0, 0.02, 0.1, 1)[seed % 4])
        pure = case.twins.pure(part, case.model)
        assert case.twins.native is not None
        assert answer(case.twins.native(part, case.model)) == answer(pure), (seed, *in_words(part))
        if pure.validity is Validity.VALID:
            wrong = verify(part, case.model, pure.linearization)
            assert wrong is None, (seed, wrong, *in_words(part))
        verdicts[pure.validity] += 1
    return verdicts


@pytest.mark.parametrize("name", sorted(CASES))
def test_agrees_with_brute_force(name: str) -> None:
    verdicts = agrees_with_brute_force(name, range(1_000))
    assert verdicts[Validity.VALID] > 100
    assert verdicts[Validity.INVALID] > 50


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(CASES))
def test_agrees_with_brute_force_on_75_000_histories(name: str) -> None:
    agrees_with_brute_force(name, range(1_000_000, 1_075_000))


@needs_native
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_twins_agree(name: str) -> None:
    verdicts = twins_agree(name, range(300))
    assert verdicts[Validity.VALID] > 50
    assert verdicts[Validity.INVALID] > 20


@needs_native
@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_twins_agree_on_25_000_larger_histories(name: str) -> None:
    twins_agree(name, range(1_000_000, 1_025_000))


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_histories_by_hand_agree_with_brute_force(name: str) -> None:
    case, verdicts = CASES[name.partition(",")[0]], set()
    for made in BY_HAND[name]:
        part = entries(made)
        decision = case.twins.pure(part, case.model)
        assert refute(part, case.model, decision) is None, list(in_words(part))
        assert case.twins.native is None or answer(case.twins.native(part, case.model)) == answer(decision)
        verdicts.add(decision.validity)
    assert verdicts >= {Validity.VALID, Validity.INVALID}


def test_the_stats_say_that_a_monitor_decided() -> None:
    verdict = linearizable(
        h("p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke dequeue | p0 ok dequeue 1"), find("fifo-queue")
    )
    assert verdict.stats["decided_by"] == {"queue monitor": 1}
    assert verdict.validity is Validity.VALID


def test_the_stats_say_why_a_monitor_did_not_decide() -> None:
    twice = h("p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke enqueue 1 | p0 info enqueue")
    verdict = linearizable(twice, find("fifo-queue"))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["monitor_undecided"] == {copies.CRASHED_PUT: 1}
    assert "queue monitor" not in verdict.stats["decided_by"]


def test_a_subclass_has_no_monitor() -> None:
    assert monitor_of(find("fifo-queue")) is not None
    assert monitor_of(find("lossy-queue")) is None


@pytest.mark.parametrize("value", ["1.0", "true"])
def test_values_that_are_equal_are_one_value(value: str) -> None:
    part = entries(h(f"p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke enqueue {value} | p0 ok enqueue {value}"))
    twins = monitor_of(find("fifo-queue"))
    assert twins is not None
    assert twins.pure(part, find("fifo-queue")).reason == "1 is put in more than once"
    assert twins.native is None or twins.native(part, find("fifo-queue")).reason == "1 is put in more than once"
