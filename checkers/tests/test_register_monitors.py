"""Registers and append-only values: no wrong verdict, proofs of every one, and twins that agree."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from checkers.linearizability import linearizable, native
from checkers.linearizability.encode import Entries, columns, entries
from checkers.linearizability.monitors.monitor import Decision, Twins
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.witness import verify
from checkers.models.model import Model
from checkers.models.registry import find
from checkers.tests.monitor_cases import answer, in_words, refute
from checkers.tests.register_histories import MODELS, model_of, random_entries
from checkers.verdict import Validity
from histories.builder import h

needs_native = pytest.mark.skipif(native.registers is None, reason="no C++ compiler was there when this was installed")

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN


def twins_of(model: Model) -> Twins:
    twins = monitor_of(model)
    assert twins is not None
    return twins


def open_writers(part: Entries, core: list[int]) -> list[int]:
    """What is in no core that proves something: a write of a value that the core sees, when only this one writes it."""
    inside = [part[position].operation for position in core]
    seen = [o.result for o in inside if o.f in ("read", "get") and o.is_known]
    seen += [o.argument[0] for o in inside if o.f == "cas"]
    left_out = []
    for position, entry in enumerate(part):
        o = entry.operation
        written = o.argument if o.f in ("write", "put") else o.argument[1] if o.f == "cas" else None
        if o.f == "cas" and o.argument[0] == written:
            continue
        if position not in core and not o.is_refused and written is not None and written in seen:
            left_out.append(position)
    return left_out


def touching(part: Entries) -> Entries:
    """The entries, many of which return at the very event at which another is called: then neither comes first."""
    made = columns([replace(e, ret=e.ret - 1) if e.ret - 1 > e.call else e for e in part])
    return Entries(part.ops, made.operations, made.op, made.call, made.end, made.returns)


def agrees_with_brute_force(kind: str, seeds: range, operations: int = 7) -> Counter[Validity]:
    model, verdicts = model_of(kind), Counter[Validity]()
    for seed in seeds:
        part = random_entries(kind, seed, operations, 5)
        if seed % 4 == 3:
            part = touching(part)
        decision = twins_of(model).pure(part, model)
        wrong = refute(part, model, decision)
        assert wrong is None, (seed, wrong, decision, *in_words(part))
        if kind in ("register", "cas-register"):
            assert not open_writers(part, list(decision.core)), (seed, decision, *in_words(part))
        verdicts[decision.validity] += 1
    return verdicts


def twins_agree(kind: str, seeds: range, operations: int = 60) -> Counter[Validity]:
    model, verdicts = model_of(kind), Counter[Validity]()
    twins = twins_of(model)
    assert twins.native is not None
    for seed in seeds:
        part = random_entries(kind, seed, operations, 8, wrong=(0, 0.02, 0.1, 1)[seed % 4])
        pure = twins.pure(part, model)
        assert answer(twins.native(part, model)) == answer(pure), (seed, *in_words(part))
        if pure.validity is VALID:
            wrong = verify(part, model, pure.linearization)
            assert wrong is None, (seed, wrong, *in_words(part))
        verdicts[pure.validity] += 1
    return verdicts


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_agrees_with_brute_force(kind: str) -> None:
    verdicts = agrees_with_brute_force(kind, range(2_000))
    assert verdicts[VALID] > 1_000
    assert verdicts[INVALID] > 150
    assert verdicts[UNKNOWN] < 250


@pytest.mark.soak
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_agrees_with_brute_force_on_100_000_histories(kind: str) -> None:
    agrees_with_brute_force(kind, range(1_000_000, 1_100_000))


@needs_native
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_twins_agree(kind: str) -> None:
    verdicts = twins_agree(kind, range(200))
    assert verdicts[VALID] > 50
    assert verdicts[INVALID] > 20


@needs_native
@pytest.mark.soak
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_twins_agree_on_12_000_larger_histories(kind: str) -> None:
    twins_agree(kind, range(1_000_000, 1_012_000))


CASES: list[tuple[str, str, str, Validity, str]] = [
    (
        "a crashed write is seen through a crashed cas",
        "cas-register",
        "p0 invoke write 1 | p0 info write | p1 invoke cas [1,2] | p1 info cas | p2 invoke read | p2 ok read 2",
        VALID,
        "",
    ),
    (
        "a crashed cas needs the value that it replaces",
        "cas-register",
        "p1 invoke cas [1,2] | p1 info cas | p2 invoke read | p2 ok read 2",
        INVALID,
        "",
    ),
    (
        "a crashed write after the read that sees it",
        "register",
        "p2 invoke read | p2 ok read 1 | p0 invoke write 1 | p0 info write",
        INVALID,
        "",
    ),
    (
        "a crashed cas ends the value that it replaces",
        "cas-register",
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke cas [1,2] | p1 info cas | p2 invoke read | p2 ok read 2"
        " | p2 invoke read | p2 ok read 1",
        INVALID,
        "",
    ),
    (
        "two cas from one value",
        "cas-register",
        "p0 invoke cas [null,1] | p0 ok cas [null,1] | p1 invoke cas [null,2] | p1 ok cas [null,2]",
        INVALID,
        "",
    ),
    (
        "cas in a cycle",
        "cas-register",
        "p0 invoke cas [1,2] | p1 invoke cas [2,1] | p0 ok cas [1,2] | p1 ok cas [2,1]",
        INVALID,
        "",
    ),
    ("a value that nobody wrote", "register", "p0 invoke read | p0 ok read 7", INVALID, ""),
    (
        "an unread value may be written twice",
        "register",
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 1 | p0 ok write 1",
        VALID,
        "",
    ),
    (
        "1 and 1.0 are one value",
        "register",
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke write 1.0 | p0 ok write 1.0 | p0 invoke read | p0 ok read 1",
        UNKNOWN,
        "1 is written more than once",
    ),
    (
        "1 and true are one value",
        "register",
        "p0 invoke write true | p0 ok write | p0 invoke read | p0 ok read 1",
        VALID,
        "",
    ),
    (
        "the initial value is written again",
        "kv",
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke delete | p0 ok delete | p0 invoke read | p0 ok read null",
        UNKNOWN,
        "None is written more than once",
    ),
    (
        "an absent key reads as the empty string",
        "kv",
        'p0 invoke get | p0 ok get "" | p0 invoke put "a" | p0 ok put "a" | p0 invoke get | p0 ok get ""',
        INVALID,
        "",
    ),
    (
        "a refused cas although the value was there all the time",
        "cas-register",
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke cas [1,2] | p1 fail cas [1,2] | p0 invoke read | p0 ok read 1",
        INVALID,
        "",
    ),
    (
        "a crashed write that nobody saw may be why a cas was refused",
        "cas-register",
        "p3 invoke write 5 | p3 info write | p0 invoke write 1 | p0 ok write 1 | p1 invoke cas [1,2] | p1 fail cas [1,2]",
        UNKNOWN,
        "a refused cas may need another order, or a crashed write that nobody saw",
    ),
    (
        "a refused cas that may come before the write",
        "cas-register",
        "p0 invoke write 1 | p0 ok write 1 | p0 invoke cas [1,2] | p1 invoke cas [2,3] | p0 ok cas [1,2] | p1 fail cas [2,3]"
        " | p0 invoke read | p0 ok read 2",
        UNKNOWN,
        "a refused cas may need another order, or a crashed write that nobody saw",
    ),
    (
        "a refused cas beside the write that makes it be refused",
        "cas-register",
        "p0 invoke write 1 | p0 ok write 1 | p1 invoke cas [1,2] | p0 invoke write 3 | p0 ok write 3 | p1 fail cas [1,2]",
        VALID,
        "",
    ),
    (
        "an append that a later read does not show",
        "list-append",
        "p0 invoke append 1 | p0 ok append 1 | p0 invoke append 2 | p0 ok append 2 | p1 invoke read | p1 ok read [1]",
        INVALID,
        "",
    ),
    (
        "two reads that are no prefix of each other",
        "list-append",
        "p0 invoke append 1 | p1 invoke append 2 | p2 invoke read | p2 ok read [1,2] | p2 invoke read | p2 ok read [2]"
        " | p0 ok append 1 | p1 ok append 2",
        INVALID,
        "",
    ),
    (
        "a piece twice",
        "list-append",
        "p0 invoke append 1 | p0 ok append 1 | p2 invoke read | p2 ok read [1,1]",
        INVALID,
        "",
    ),
    (
        "a value that was appended twice",
        "list-append",
        "p0 invoke append 1 | p0 ok append 1 | p0 invoke append 1 | p0 ok append 1 | p2 invoke read | p2 ok read [1,1]",
        UNKNOWN,
        "1 is appended more than once",
    ),
    (
        "a put begins a new log",
        "kv",
        'p0 invoke append "a1" | p0 ok append | p0 invoke put "b2" | p0 ok put | p0 invoke append "c3" | p0 ok append'
        ' | p1 invoke get | p1 ok get "b2c3"',
        VALID,
        "",
    ),
    (
        "an append before the put is not seen after it",
        "kv",
        'p0 invoke append "a1" | p0 ok append | p0 invoke put "b2" | p0 ok put | p1 invoke get | p1 ok get "b2a1"',
        INVALID,
        "",
    ),
    (
        "one append is in one log only",
        "kv",
        'p0 invoke append "a1" | p1 invoke put "b2" | p2 invoke put "c3" | p3 invoke get | p3 ok get "b2a1" | p3 invoke get'
        ' | p3 ok get "c3a1" | p0 ok append | p1 ok put | p2 ok put',
        INVALID,
        "",
    ),
    (
        "a text that can be taken apart in two ways",
        "kv",
        'p0 invoke append "a" | p1 invoke append "ab" | p2 invoke append "b" | p3 invoke get | p3 ok get "ab"'
        " | p0 ok append | p1 ok append | p2 ok append",
        UNKNOWN,
        "a text can begin in two ways",
    ),
    (
        "half a piece",
        "kv",
        'p0 invoke append "abc" | p0 ok append | p3 invoke get | p3 ok get "abc" | p3 invoke get | p3 ok get "ab"',
        INVALID,
        "",
    ),
]


@pytest.mark.parametrize(
    ("text", "validity", "reason", "name"), [(c[2], c[3], c[4], c[1]) for c in CASES], ids=[c[0] for c in CASES]
)
def test_cases(text: str, validity: Validity, reason: str, name: str) -> None:
    model = find(name)
    part = entries(h(text), refused=True)
    decision = twins_of(model).pure(part, model)
    assert (decision.validity, decision.reason) == (validity, reason)
    assert refute(part, model, decision) is None


def decided(name: str, text: str, **options: Any) -> Decision:
    model = find(name)
    return twins_of(model).pure(entries(h(text), refused=True, **options), model)


def test_values_that_plainly_repeat_are_noticed_at_a_glance() -> None:
    again = "p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read 1 | "
    assert decided("register", again * 3 + "p0 invoke read | p0 ok read 1").reason == "1 is written more than once"
    assert decided("register", again * 4).reason == "values are written more than once"
    unread = "p0 invoke write 1 | p0 ok write 1 | "
    assert decided("register", unread * 9 + "p0 invoke write 2 | p0 ok write 2").validity is VALID


def test_a_nan_is_left_to_the_search() -> None:
    nan = float("nan")
    history = h("p0 invoke write 1 | p0 ok write 1")
    for model in (find("register"), find("list-append")):
        f = "write" if "write" in model.fs else "append"
        ops = [type(op)(op.index, op.time, op.type, op.process, f, None, nan) for op in history]
        part = entries(type(history)(ops))
        assert twins_of(model).pure(part, model).reason == "a value is not equal to itself"


def test_a_list_may_begin_with_something_in_it() -> None:
    begun = "p0 invoke append 3 | p0 ok append 3 | p0 invoke read | p0 ok read "
    assert decided("list-append(initial=[1,2])", begun + "[1,2,3]").validity is VALID
    assert decided("list-append(initial=[1,2])", begun + "[3]").validity is INVALID
    assert decided("list-append(initial=[1,2])", begun + "[1,2]").validity is INVALID


def test_a_key_may_begin_with_a_text() -> None:
    begun = 'p0 invoke append "c3" | p0 ok append | p0 invoke get | p0 ok get '
    assert decided('kv(initial="a1")', begun + '"a1c3"').validity is VALID
    assert decided('kv(initial="a1")', begun + '"c3"').validity is INVALID
    assert decided('kv(initial="a1")', begun + '""').validity is INVALID


def test_a_read_that_nobody_knows_the_result_of_fits_anywhere() -> None:
    text = "p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read null | p0 invoke read | p0 ok read 1"
    assert decided("register", text).validity is INVALID
    assert decided("register", text, nil_reads=True).validity is VALID


def test_the_core_of_a_stale_read_is_short_in_a_long_history() -> None:
    ops = [f"p0 invoke write {v} | p0 ok write {v} | p1 invoke read | p1 ok read {v}" for v in range(1, 300)]
    ops.insert(200, "p1 invoke read | p1 ok read 150")
    decision = decided("register", " | ".join(ops))
    assert decision.validity is INVALID
    assert len(decision.core) <= 4


def test_the_stats_say_which_monitor_decided() -> None:
    verdict = linearizable(h("p0 invoke write 1 | p0 ok write 1"), find("cas-register"))
    assert verdict.stats["decided_by"] == {"register monitor": 1}
    again = linearizable(
        h("p0 invoke write 1 | p0 ok write 1 | p0 invoke write 1 | p0 ok write 1 | p0 invoke read | p0 ok read 1"),
        find("cas-register"),
    )
    assert again.validity is VALID
    assert again.stats["decided_by"] == {"depth first": 1}


def test_thousands_of_crashed_writes_and_reads_of_distinct_values_are_decided() -> None:
    crashed = " | ".join(f"p{v} invoke write {v} | p{v} info write" for v in range(1, 400))
    reads = " | ".join(f"p0 invoke read | p0 ok read {v}" for v in range(300, 1, -1))
    verdict = linearizable(h(f"{crashed} | {reads}"), find("register"))
    assert verdict.validity is VALID
    assert verdict.stats["decided_by"] == {"register monitor": 1}
