"""The relaxed checkers against their definitions, tried out in every way on small random histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import pytest

from checkers import brute
from checkers.evidence import Findings
from checkers.linearizability.encode import entries
from checkers.models.registry import find
from checkers.relaxed import final_set, total_queue, unique_ids, unordered_queue
from checkers.relaxed.identity import identity
from checkers.tests.monitor_histories import SetMix, members, set_of
from checkers.tests.monitor_histories import history as random_set
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN

# --- by the definition ------------------------------------------------------------------------------------------------


def queue_by_definition(history: History, is_once: bool) -> Validity:
    """Every way to say what the ops of unknown outcome did, and which take had which put."""
    puts: list[tuple[Any, int, int]] = []  # value, call, return (-1: unknown)
    takes: list[tuple[Any, int]] = []
    doubted = emptied = -1
    doubted = 0
    is_open_drain, has_ok = False, False
    calls: dict[Any, int] = {}
    ends = {}
    for position, op in enumerate(history):
        if op.type == "invoke":
            calls[op.process] = position
        else:
            ends[calls.pop(op.process)] = position
    for position, op in enumerate(history):
        if op.type != "invoke":
            continue
        end = ends.get(position)
        type_ = history[end].type if end is not None else "info"
        has_ok |= type_ == "ok"
        if type_ == "fail":
            continue
        if op.f == "enqueue":
            puts.append((op.value, position, end if end is not None and type_ == "ok" else -1))
        elif type_ == "info":
            doubted += 1
            is_open_drain |= op.f == "drain"
        else:
            assert end is not None
            result = history[end].value
            taken = [result] if op.f == "dequeue" and result is not None else list(result or ())
            takes += [(value, end) for value in taken]
            if op.f == "drain" or not taken:
                emptied = max(emptied, position)
    required = {i for i, (_, _, returned) in enumerate(puts) if 0 <= returned < emptied}
    acknowledged = {i for i, (_, _, returned) in enumerate(puts) if returned >= 0}
    options = [
        [i for i, (put, called, _) in enumerate(puts) if put == value and called < returned]
        for value, returned in takes
    ]
    spare = len(puts) if is_open_drain else doubted
    best = UNKNOWN if not has_ok else INVALID
    ways = [VALID, UNKNOWN]
    found = set()
    for chosen in product(*options):
        if is_once and len(set(chosen)) < len(chosen):
            continue
        if len(required - set(chosen)) <= spare:
            found.add(VALID if len(acknowledged - required - set(chosen)) == 0 else UNKNOWN)
    if not found:
        return INVALID
    if not has_ok:
        return best
    return next(way for way in ways if way in found)


def random_queue(seed: int) -> History:
    rng = Random(seed)
    ops: list[Op] = []
    open_: dict[int, Op] = {}
    names = [0, 1, 2]
    inside: list[int] = []
    left = rng.randrange(1, 8)
    while left or open_:
        thread = rng.choice([i for i in range(3) if left or i in open_])
        if thread not in open_:
            left -= 1
            f = rng.choice(["enqueue", "enqueue", "dequeue", "dequeue", "dequeue", "drain"])
            argument = rng.choice([1, 2, 3]) if f == "enqueue" else None
            if argument is not None and rng.random() < 0.9:
                inside.append(argument)
            open_[thread] = Op(len(ops), len(ops), "invoke", names[thread], f, None, argument)
            ops.append(open_[thread])
            continue
        invoked = open_.pop(thread)
        type_: OpType = rng.choice(["ok", "ok", "ok", "ok", "info", "fail"])
        value: Any = invoked.value
        if invoked.f == "dequeue":
            value = inside.pop(rng.randrange(len(inside))) if inside else None
            value = value if rng.random() < 0.9 else rng.choice([None, 1, 2, 3])
        elif invoked.f == "drain":
            value, inside = list(inside), []
        ops.append(Op(len(ops), len(ops), type_, invoked.process, invoked.f, None, value if type_ == "ok" else None))
        if type_ == "info":
            names[thread] += 3
        if not left and rng.random() < 0.2:
            break
    return History(ops)


def agree(seeds: range) -> set[tuple[bool, Validity]]:
    seen = set()
    for seed in seeds:
        history = random_queue(seed)
        for is_once, check in ((False, total_queue), (True, unordered_queue)):
            verdict = check(history)
            if verdict.validity is not INVALID and not any(op.type == "ok" for op in history):
                assert verdict.validity is UNKNOWN
                continue
            expected = queue_by_definition(history, is_once)
            # Puts that are missing and were not drained: unknown, but for those that a doubted take may have had.
            assert (verdict.validity is INVALID) == (expected is INVALID), (seed, is_once, verdict, list(history))
            assert verdict.validity is not VALID or expected is not UNKNOWN, (seed, is_once)
            seen.add((is_once, verdict.validity))
    return seen


def test_queues_agree_with_the_definition() -> None:
    everything = set(product((True, False), (VALID, INVALID, UNKNOWN)))
    assert agree(range(1_500)) == everything


def test_what_a_doubted_take_excuses_hides_nothing_else_that_is_missing() -> None:
    """One of two equal elements was to come out before the queue was found empty; of the other nobody knows."""
    agree(range(10_430, 10_431))


@pytest.mark.long
def test_queues_agree_with_the_definition_on_100_000_histories() -> None:
    agree(range(10_000, 110_000))


# --- tiny histories ---------------------------------------------------------------------------------------------------

IN = "p0 invoke enqueue 1 | p0 ok enqueue 1 | "
OUT = "p1 invoke dequeue | p1 ok dequeue 1 | "
EMPTY = "p1 invoke dequeue | p1 ok dequeue nil | "
DOUBT = "p2 invoke dequeue | p2 info dequeue | "

QUEUES = [
    (IN + OUT + EMPTY, VALID, VALID, ""),
    (IN + OUT, VALID, VALID, ""),
    (IN + EMPTY, INVALID, INVALID, "lost: 1"),
    (IN, UNKNOWN, UNKNOWN, "1 did not come out"),
    (EMPTY + IN, UNKNOWN, UNKNOWN, "1 did not come out"),
    (IN + DOUBT + EMPTY, VALID, VALID, ""),
    (IN + OUT + OUT, VALID, INVALID, "duplicated: 1"),
    (IN + IN + OUT + OUT + EMPTY, VALID, VALID, ""),
    (IN + IN + OUT + EMPTY, INVALID, INVALID, "lost: 1"),
    (OUT + IN, INVALID, INVALID, "unexpected: 1"),
    (OUT, INVALID, INVALID, "unexpected: 1"),
    ("p0 invoke enqueue 1 | p0 fail enqueue 1 | " + OUT, INVALID, INVALID, "unexpected: 1"),
    ("p0 invoke enqueue 1 | p0 info enqueue 1 | " + OUT + EMPTY, VALID, VALID, ""),
    ("p0 invoke enqueue 1 | p0 info enqueue 1 | " + EMPTY, VALID, VALID, ""),
    (IN + "p1 invoke drain | p1 ok drain [1]", VALID, VALID, ""),
    (IN + "p1 invoke drain | p1 ok drain []", INVALID, INVALID, "lost: 1"),
    (IN + "p2 invoke drain | p2 info drain | " + EMPTY, VALID, VALID, ""),
    (IN + OUT.replace("1 |", "true |"), INVALID, INVALID, "unexpected: True"),
    ("p0 invoke enqueue 1", UNKNOWN, UNKNOWN, "nothing was checked"),
    ("p0 invoke push 1 | p0 ok push 1", UNKNOWN, UNKNOWN, "knows no push"),
    ("p0 invoke drain | p0 ok drain 3", UNKNOWN, UNKNOWN, "drain returns a list, not 3"),
]


@pytest.mark.parametrize(("text", "at_least_once", "exactly_once", "words"), QUEUES)
def test_queues(text: str, at_least_once: Validity, exactly_once: Validity, words: str) -> None:
    history = h(text.removesuffix(" | "))
    verdicts = [total_queue(history), unordered_queue(history)]
    assert [verdict.validity for verdict in verdicts] == [at_least_once, exactly_once]
    assert words in verdicts[1].reason


def test_a_queues_evidence_names_the_elements_and_the_ops() -> None:
    history = h((IN + IN.replace("1", "2") + OUT + OUT + EMPTY).removesuffix(" | "))
    verdict = unordered_queue(history)
    lost, duplicated = verdict.evidence_of(Findings).findings
    assert (lost.words, duplicated.words) == (
        "lost: 2 was acknowledged and never came out",
        "duplicated: 1 came out more often than it had been put in",
    )
    assert [history[note.index].value for note in (*lost.ops, *duplicated.ops)] == [2, 1]
    assert verdict.stats["lost"] == verdict.stats["duplicated"] == 1


def test_what_is_left_in_a_queue_that_nobody_drained_is_no_finding_where_another_was() -> None:
    ops: list[Op] = []
    types: tuple[OpType, ...] = ("invoke", "ok")
    script: list[tuple[str, str, Any, Any]] = [
        ("a", "enqueue", 1, 1),
        ("b", "enqueue", 2, 2),
        ("b", "dequeue", None, 2),
    ]
    for key, f, argument, result in script:
        for type_ in types:
            ops.append(Op(len(ops), len(ops), type_, 0, f, key, argument if type_ == "invoke" else result))
    assert total_queue(History(ops)).validity is UNKNOWN
    ops += [Op(6, 6, "invoke", 0, "dequeue", "b"), Op(7, 7, "ok", 0, "dequeue", "b")]
    verdict = total_queue(History(ops))
    assert verdict.validity is VALID
    assert (verdict.stats["queues"], verdict.stats["drained"]) == (2, 1)


def test_keys_are_queues_of_their_own() -> None:
    ops = [Op(0, 0, "invoke", 0, "enqueue", "a", 1), Op(1, 1, "ok", 0, "enqueue", "a", 1)]
    ops += [Op(2, 2, "invoke", 0, "dequeue", "b"), Op(3, 3, "ok", 0, "dequeue", "b", 1)]
    verdict = total_queue(History(ops))
    assert verdict.validity is INVALID
    assert verdict.evidence_of(Findings).findings[0].key == "b"


GENERATE = "p0 invoke generate | p0 ok generate {} | p1 invoke generate | p1 ok generate {}"

IDS = [
    (GENERATE.format(1, 2), VALID),
    (GENERATE.format(1, 1), INVALID),
    (GENERATE.format(1, "true"), VALID),
    (GENERATE.format(1, "1.0"), VALID),
    (GENERATE.format("[1,2]", "[1,2]"), INVALID),
    ("p0 invoke generate | p0 info generate 1 | p1 invoke generate | p1 ok generate 1", VALID),
    ("p0 invoke generate | p0 fail generate 1", UNKNOWN),
]


@pytest.mark.parametrize(("text", "validity"), IDS)
def test_unique_ids(text: str, validity: Validity) -> None:
    assert unique_ids(h(text)).validity is validity


def test_ids_agree_with_comparing_all_pairs() -> None:
    pool: list[Any] = [1, 1.0, True, "1", [1], None, float("nan"), {"a": 1}, [True]]
    verdicts = set()
    for seed in range(300):
        rng = Random(seed)
        values = [rng.choice(pool) for _ in range(rng.randrange(1, 5))]
        ops = [
            Op(2 * i + k, i, type_, i, "generate", None, value)
            for i, value in enumerate(values)
            for k, type_ in enumerate(_types())
        ]
        pairs = [(a, b) for i, a in enumerate(values) for b in values[:i]]
        is_equal = any(repr(a) == repr(b) for a, b in pairs)
        verdict = unique_ids(History(ops)).validity
        assert (verdict is INVALID) == is_equal
        verdicts.add(verdict)
    assert verdicts == {VALID, INVALID}


def _types() -> Iterator[OpType]:
    yield "invoke"
    yield "ok"


ADD = "p0 invoke add 1 | p0 ok add 1 | "

SETS = [
    (ADD + "p1 invoke read | p1 ok read [1]", VALID, ""),
    (ADD + "p1 invoke read | p1 ok read []", INVALID, "1 was acknowledged and is not in the last read"),
    (ADD + "p1 invoke read | p1 ok read [] | p1 invoke read | p1 ok read [1]", VALID, ""),
    (ADD + "p1 invoke read | p1 ok read [1] | p1 invoke read | p1 fail read", VALID, ""),
    ("p1 invoke read | " + ADD + "p1 ok read []", VALID, ""),
    ("p1 invoke read | " + ADD + "p1 ok read [1]", VALID, ""),
    ("p1 invoke read | p1 ok read [1] | " + ADD.removesuffix(" | "), INVALID, "1 was read and never added"),
    (ADD + "p1 invoke read | p1 ok read [1,2]", INVALID, "2 was read and never added"),
    (ADD + "p1 invoke read | p1 ok read [true]", INVALID, "True was read and never added"),
    ("p0 invoke add 1 | p0 info add | p1 invoke read | p1 ok read [1]", VALID, ""),
    ("p0 invoke add 1 | p0 info add | p1 invoke read | p1 ok read []", VALID, ""),
    ("p0 invoke add 1 | p0 fail add | p1 invoke read | p1 ok read [1]", INVALID, "1 was read and never added"),
    (ADD.removesuffix(" | "), UNKNOWN, "no read"),
    ("p0 invoke add 1 | p0 fail add 1", UNKNOWN, "nothing was checked"),
    ("p0 invoke remove 1 | p0 ok remove 1", UNKNOWN, "knows no remove"),
    ("p0 invoke read | p0 ok read 3", UNKNOWN, "read returns a list, not 3"),
]


@pytest.mark.parametrize(("text", "validity", "words"), SETS)
def test_final_set(text: str, validity: Validity, words: str) -> None:
    verdict = final_set(h(text))
    assert verdict.validity is validity
    assert words in verdict.reason


def test_identity_tells_types_apart_and_not_orders() -> None:
    values: list[Any] = [1, 1.0, True, "1", None, [1], [1.0], [True], {"a": 1}, {"a": True}, {1}, float("nan"), "None"]
    assert len({identity(value) for value in values}) == len(values)
    assert identity({"a": 1, "b": 2}) == identity({"b": 2, "a": 1})
    assert identity({1, 2, 3}) == identity({3, 2, 1})


def final_set_agrees_with_brute_force(seeds: range) -> Counter[Validity]:
    """How often each verdict came. Brute force looks for an order of all adds and of the last read alone."""
    verdicts = Counter[Validity]()
    for seed in seeds:
        rng = Random(seed)
        mix = SetMix(
            add=4,
            remove=0,
            contains=0,
            read=2,
            crashed=rng.choice((0, 0.3)),
            wrong=rng.choice((0, 0.4)),
            refused=0.1,
            value_count=4,
        )
        made = random_set(
            find("set"),
            set_of(mix),
            mix,
            rng,
            operations=rng.randint(2, 7),
            processes=rng.randint(1, 4),
            answers=members,
        )
        part = entries(made)[:]
        reads = [each for each in part if each.operation.f == "read" and not each.is_crashed]
        verdict = final_set(made)
        verdicts[verdict.validity] += 1
        if not reads:
            continue
        last = max(reads, key=lambda each: each.ret)
        if len(set(last.operation.result)) < len(last.operation.result):
            continue  # An element twice is one element for this checker, and no set for the model.
        kept = [each for each in part if each.operation.f == "add" or each is last]
        is_valid = brute.linearization(kept, find("set")) is not None
        assert verdict.validity is (Validity.VALID if is_valid else Validity.INVALID), (seed, *made)
    return verdicts


def test_final_set_agrees_with_brute_force() -> None:
    verdicts = final_set_agrees_with_brute_force(range(500))
    assert verdicts[Validity.VALID] > 100
    assert verdicts[Validity.INVALID] > 15


@pytest.mark.soak
def test_final_set_agrees_with_brute_force_on_30_000_histories() -> None:
    final_set_agrees_with_brute_force(range(1_000_000, 1_030_000))
