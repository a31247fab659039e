"""Queues into which a value is put more than once: no wrong verdict, exact where no copies nest, and cores that are whole."""

from __future__ import annotations

from collections import Counter

import pytest

from checkers.linearizability import linearizable
from checkers.linearizability.encode import Entries, entries
from checkers.linearizability.monitors import copies
from checkers.models.registry import find
from checkers.tests.monitor_cases import REPEATED, REPEATED_BY_HAND, in_words, refute
from checkers.verdict import Validity
from histories.builder import h


def agrees_with_brute_force(name: str, seeds: range, operations: int = 8) -> Counter[Validity]:
    case, verdicts = REPEATED[name], Counter[Validity]()
    for seed in seeds:
        part = case.history(seed, operations, 6)
        if case.twins.pure(part, case.model).validity is not Validity.UNKNOWN:
            continue
        decision = copies.decide(part, case.model, case.twins.pure)
        wrong = refute(part, case.model, decision)
        assert wrong is None, (seed, wrong, decision, *in_words(part))
        if decision.reason == copies.NO_MOMENTS:
            assert is_nested(part), (seed, *in_words(part))
        verdicts[decision.validity] += 1
    return verdicts


def is_nested(part: Entries) -> bool:
    """Whether one operation begins before and ends after another that says the same."""
    pairs = ((a, b) for a in part for b in part if a.operation == b.operation)
    return any(a.call < b.call and 0 <= b.ret < a.ret for a, b in pairs)


@pytest.mark.parametrize("name", sorted(REPEATED))
def test_copies_agree_with_brute_force(name: str) -> None:
    verdicts = agrees_with_brute_force(name, range(1_500))
    assert verdicts[Validity.VALID] > 200
    assert verdicts[Validity.INVALID] > 15


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(REPEATED))
def test_copies_agree_with_brute_force_on_50_000_histories(name: str) -> None:
    agrees_with_brute_force(name, range(1_000_000, 1_050_000))


def test_histories_by_hand_agree_with_brute_force() -> None:
    for made in REPEATED_BY_HAND:
        case, part = REPEATED["queue"], entries(made)
        assert refute(part, case.model, copies.decide(part, case.model, case.twins.pure)) is None


CASES = {
    "the second copy comes out behind what was put in between": (
        "enqueue 1 | enqueue 2 | enqueue 1 | dequeue 1 | dequeue 2 | dequeue 1",
        Validity.VALID,
    ),
    "both copies come out before what was put in between": (
        "enqueue 1 | enqueue 2 | enqueue 1 | dequeue 1 | dequeue 1 | dequeue 2",
        Validity.INVALID,
    ),
    "a value comes out more often than it went in": (
        "enqueue 1 | enqueue 1 | dequeue 1 | dequeue 1 | dequeue 1",
        Validity.INVALID,
    ),
    "a copy is left": ("enqueue 1 | enqueue 1 | dequeue 1", Validity.VALID),
    "nothing is found although a copy is left": ("enqueue 1 | enqueue 1 | dequeue 1 | dequeue null", Validity.INVALID),
}


@pytest.mark.parametrize(("steps", "validity"), CASES.values(), ids=CASES)
def test_cases(steps: str, validity: Validity) -> None:
    lines = []
    for step in steps.split(" | "):
        f = step.split()[0]
        lines += [f"p0 invoke {step}" if f == "enqueue" else f"p0 invoke {f}", f"p0 ok {step}"]
    verdict = linearizable(h(" | ".join(lines)), find("fifo-queue"))
    assert verdict.validity is validity
    assert verdict.stats["decided_by"] == {"queue monitor, of copies": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p1 invoke enqueue 1 | p1 info enqueue", copies.CRASHED_PUT),
        ("p1 invoke dequeue | p1 info dequeue", copies.CRASHED_TAKE),
        ("p1 invoke peek | p1 ok peek 1", copies.PEEKED),
    ],
)
def test_what_is_not_decided(text: str, reason: str) -> None:
    twice = "p0 invoke enqueue 1 | p0 ok enqueue 1 | p0 invoke enqueue 1 | p0 ok enqueue 1 | "
    case = REPEATED["queue"]
    assert copies.decide(entries(h(twice + text)), case.model, case.twins.pure).reason == reason
