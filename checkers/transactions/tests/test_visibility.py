"""The shapes of cycles that models below snapshot isolation forbid, against their definitions on small random histories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations, product
from typing import Any

import pytest

from checkers.transactions import Inference, Wanted, transactions
from checkers.transactions.models import VISIBILITY
from checkers.verdict import Validity
from histories.history import History
from histories.op import Op

INVALID, VALID, UNKNOWN = Validity.INVALID, Validity.VALID, Validity.UNKNOWN

Steps = list[list[Any]]
Pairs = set[tuple[int, int]]

MODELS = ("monotonic-atomic-view", "read-atomic", "causal-cerone", "prefix", "update-serializable")


def all_at_once(transactions: list[Steps]) -> History:
    """Each of a process of its own, none of which ended before another began."""
    ops = [
        Op(0, 0, "invoke", number, "txn", None, [[f, key, None if f == "r" else value] for f, key, value in steps])
        for number, steps in enumerate(transactions)
    ]
    ops += [Op(0, 0, "ok", number, "txn", None, steps) for number, steps in enumerate(transactions)]
    return History([Op(i, i, op.type, op.process, op.f, None, op.value) for i, op in enumerate(ops)])


def drawn(rng: random.Random) -> list[Steps]:
    """Transactions whose reads are of lists that grew in one order, however little they agree otherwise."""
    count, keys = rng.randint(2, 5), ["x", "y", "z"][: rng.randint(2, 3)]
    shape = [
        [(rng.choice(("r", "append")), key) for key in rng.sample(keys, rng.randint(1, len(keys)))]
        for _ in range(count)
    ]
    orders: dict[str, list[int]] = {}
    for key in keys:
        orders[key] = [number for number, steps in enumerate(shape) if ("append", key) in steps]
        rng.shuffle(orders[key])
    return [
        [[f, key, number if f == "append" else orders[key][: rng.randint(0, len(orders[key]))]] for f, key in steps]
        for number, steps in enumerate(shape)
    ]


def version_orders(made: list[Steps]) -> Iterator[dict[str, list[int]]]:
    """Every order of the appends of each key that the reads agree with."""
    shown: dict[str, list[int]] = {}
    unseen: dict[str, list[int]] = {}
    for steps in made:
        for f, key, value in steps:
            shown.setdefault(key, [])
            unseen.setdefault(key, [])
            if f == "r" and len(value) > len(shown[key]):
                shown[key] = value
    for number, steps in enumerate(made):
        for f, key, _ in steps:
            if f == "append" and number not in shown[key]:
                unseen[key].append(number)
    for ends in product(*(permutations(unseen[key]) for key in shown)):
        yield {key: [*shown[key], *end] for key, end in zip(shown, ends, strict=True)}


def closure(pairs: Pairs) -> Pairs:
    found = set(pairs)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


def is_cyclic(pairs: Pairs) -> bool:
    return any(a == b for a, b in closure(pairs))


def keeps(made: list[Steps], order: dict[str, list[int]], model: str) -> bool:
    """By the definition: what each model says of all three dependencies, the anti-dependencies on every later version included."""
    wr: Pairs = set()
    ww = {(a, b) for each in order.values() for i, a in enumerate(each) for b in each[i + 1 :]}
    rw: Pairs = set()
    vanished = False
    for number, steps in enumerate(made):
        met: set[int] = set()
        for f, key, value in steps:
            if f == "r":
                later = {each for each in order[key][len(value) :] if each != number}
                vanished = vanished or bool(met & later)
                rw |= {(number, each) for each in later}
                if value and value[-1] != number:
                    wr.add((value[-1], number))
                    met.add(value[-1])
    if is_cyclic(wr | ww):
        return False
    match model:
        case "monotonic-atomic-view":
            return not vanished
        case "read-atomic":
            return not any((b, a) in rw for a, b in wr)
        case "causal-cerone":
            return not any((b, a) in rw for a, b in closure(wr))
        case "prefix":
            return not is_cyclic(wr | ww | {(a, d) for a, b in wr for c, d in rw if b == c})
        case _:
            every = wr | ww | rw
            updates = {number for number, steps in enumerate(made) if any(f != "r" for f, _, _ in steps)}
            return not any(
                is_cyclic({(a, b) for a, b in every if {a, b} <= updates | {reader}}) for reader in range(len(made))
            )


@pytest.mark.parametrize("model", MODELS)
def test_lists_against_the_definitions(model: str) -> None:
    seen: set[tuple[Validity, bool]] = set()
    for number in range(600):
        made = drawn(random.Random(f"visibility/{number}"))
        if any(key in {k for f, k, _ in steps if f == "append"} for steps in made for f, key, _ in steps if f == "r"):
            continue  # A read beside an append of its own is judged by other rules.
        kept = [keeps(made, order, model) for order in version_orders(made)]
        found = transactions(all_at_once(made), "list-append", Wanted((model,))).validity
        if found is UNKNOWN:
            continue  # No transaction depends on another.
        if found is INVALID:
            assert not any(kept), (number, made)
        elif len(kept) == 1:
            assert all(kept), (number, made)
        seen.add((found, len(kept) == 1))
    assert {(VALID, True), (INVALID, True), (INVALID, False)} <= seen, seen


SHAPES: list[tuple[str, list[Steps], dict[str, Validity]]] = [
    (
        "both effects or none, the read of the other first",
        [[["w", "x", 1], ["w", "y", 1]], [["r", "y", None], ["r", "x", 1]]],
        {"monotonic-atomic-view": VALID, "read-atomic": INVALID, "update-atomic": INVALID, "causal-cerone": INVALID},
    ),
    (
        "an effect that was seen vanishes",
        [[["w", "x", 1], ["w", "y", 1]], [["r", "x", 1], ["r", "y", None]]],
        {"monotonic-atomic-view": INVALID, "monotonic-view": INVALID, "read-atomic": INVALID, "read-committed": VALID},
    ),
    (
        "what was seen over another",
        [[["w", "x", 1]], [["r", "x", 1], ["w", "y", 1]], [["r", "y", 1], ["r", "x", None]]],
        {"read-atomic": VALID, "causal-cerone": INVALID, "prefix": INVALID, "update-serializable": INVALID},
    ),
    (
        "a long fork",
        [[["w", "x", 1]], [["w", "y", 1]], [["r", "x", 1], ["r", "y", None]], [["r", "x", None], ["r", "y", 1]]],
        {"causal-cerone": VALID, "prefix": INVALID, "update-serializable": VALID},
    ),
    (
        "a write skew",
        [[["r", "x", None], ["w", "y", 1]], [["r", "y", None], ["w", "x", 1]], [["r", "x", 1], ["r", "y", 1]]],
        {"prefix": VALID, "update-serializable": INVALID, "snapshot-isolation": VALID},
    ),
]


@pytest.mark.parametrize(
    ("made", "verdicts"), [pytest.param(made, verdicts, id=name) for name, made, verdicts in SHAPES]
)
def test_registers(made: list[Steps], verdicts: dict[str, Validity]) -> None:
    for model, validity in verdicts.items():
        wanted = Wanted((model,), (), Inference(wfr_keys=True, absent_at_first=True))
        verdict = transactions(all_at_once(made), "rw-register", wanted)
        assert verdict.validity is validity, (model, verdict.reason)


def test_a_register_that_is_two_versions_behind() -> None:
    """What the reader missed is shown by the order of values, one after another."""
    made: list[Steps] = [
        [["w", "y", 1]],
        [["r", "y", 1], ["w", "y", 2]],
        [["r", "y", 2], ["w", "y", 3], ["w", "x", 1]],
        [["r", "y", 1], ["r", "x", 1]],
    ]
    wanted = Wanted(("read-atomic",), (), Inference(wfr_keys=True))
    verdict = transactions(all_at_once(made), "rw-register", wanted)
    assert verdict.validity is INVALID
    assert verdict.stats["reported"] == ["fractured-read"]


def test_they_are_looked_for_only_where_a_class_of_cycles_does_not_say_it_all() -> None:
    made: list[Steps] = [[["append", "x", 1], ["append", "y", 1]], [["r", "x", [1]], ["r", "y", []]]]
    for model in ("serializable", "snapshot-isolation", "parallel-snapshot-isolation", "consistent-view"):
        stats = transactions(all_at_once(made), "list-append", Wanted((model,))).stats
        assert not set(VISIBILITY) & set(stats["anomalies"]), model


@pytest.mark.parametrize("model", ["monotonic-view", "monotonic-snapshot-read"])
def test_where_the_shape_is_not_told_nobody_says_valid(model: str) -> None:
    made: list[Steps] = [[["append", "x", 1], ["append", "y", 1]], [["r", "y", []], ["r", "x", [1]]]]
    verdict = transactions(all_at_once(made), "list-append", Wanted((model,)))
    assert verdict.validity is UNKNOWN
    assert "one anti-dependency" in verdict.reason
    agreed: list[Steps] = [made[0], [["r", "x", [1]], ["r", "y", [1]]]]
    assert transactions(all_at_once(agreed), "list-append", Wanted((model,))).validity is VALID
