"""Convergence, durability, sets and staleness on random small histories: what their definitions say, op by op."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from checkers.causal.reads_from import trace_of
from checkers.eventual import convergence, counters_kept, registers_kept
from checkers.sets import set_full
from checkers.staleness import staleness
from checkers.staleness.check import _measured
from checkers.tests import eventual_brute as brute
from checkers.verdict import Validity
from histories.history import History

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN
KINDS = ("register", "counter", "set")


def agree(history: History, kind: str) -> dict[str, Validity]:
    """Asserts that each checker of this kind says what its definition says; returns the verdicts."""
    told = list(history)
    verdict = convergence(history, is_set=kind == "set")
    assert verdict.validity is brute.convergence(history, is_set=kind == "set"), (verdict, told)
    found = {"convergence": verdict.validity}
    match kind:
        case "counter":
            verdict = counters_kept(history)
            assert verdict.validity is brute.counters(history), (verdict, told)
            found["durability"] = verdict.validity
        case "set":
            verdict = set_full(history)
            expected = brute.set_counts(history)
            assert {name: verdict.stats[name] for name in expected} == expected, (verdict, expected, told)
            is_wrong = any(expected[name] for name in ("lost", "resurrected", "unexpected", "duplicated"))
            due = INVALID if is_wrong else UNKNOWN if brute.is_unfinished(history) else VALID
            assert verdict.validity is due, (verdict, due, told)
            found |= {name: INVALID if count else VALID for name, count in expected.items()}
        case "register":
            trace = trace_of(history)
            verdict = registers_kept(history)
            assert verdict.validity is brute.registers(history, trace), (verdict, told)
            found["durability"] = verdict.validity
            if not trace.baseless and any(trace.reads):
                ages, lags, _ = _measured(history, trace)
                expected_ages = brute.ages(history, trace)
                assert list(zip(ages.tolist(), lags.tolist(), strict=True)) == expected_ages, (expected_ages, told)
                oldest = max(age for age, _ in expected_ages)
                for bound_ns in {oldest, max(0, oldest - 1)}:
                    within = staleness(history, bound_ns=bound_ns).validity
                    assert within is (VALID if oldest <= bound_ns else INVALID), (bound_ns, told)
                found["staleness"] = INVALID if oldest else VALID
    return found


def count(seeds: range) -> Counter[tuple[str, str, Validity]]:
    """How often each checker said what, over these seeds of each kind."""
    seen: Counter[tuple[str, str, Validity]] = Counter()
    for kind in KINDS:
        for seed in seeds:
            history = brute.random_run(Random(f"{kind}/{seed}"), kind)
            seen.update((kind, name, validity) for name, validity in agree(history, kind).items())
    return seen


BOTH = (
    *((kind, "convergence") for kind in KINDS),
    ("register", "durability"),
    ("counter", "durability"),
    ("register", "staleness"),
    *(("set", name) for name in ("lost", "resurrected", "unexpected", "duplicated", "stale", "never_read")),
)


def test_agreement_with_the_definitions() -> None:
    seen = count(range(400))
    for kind, name in BOTH:
        assert seen[kind, name, VALID], (kind, name)
        assert seen[kind, name, INVALID], (kind, name)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_agreement_on_a_hundred_thousand_histories_of_each_kind() -> None:
    count(range(100_000))
