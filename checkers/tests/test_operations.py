"""The native encoder's columns of operations, and what is decided from them alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.bench.monitors import SETS
from checkers.bench.objects import KINDS, Kind, history
from checkers.linearizability import encode, linearizable, native, search_keys
from checkers.linearizability.encode import Entries, encode_pure, entries, entries_by_key
from checkers.linearizability.monitors.registry import MONITORS, monitor_of
from checkers.linearizability.operations import FIRST_PAIR, INTEGER, TEXT, Operations
from checkers.models.model import Model, Operation
from checkers.models.registry import find
from checkers.tests.monitor_cases import answer
from checkers.verdict import Validity
from histories import History, Op
from histories.builder import h
from histories.columns import OpColumns
from histories.tests.strategies import histories, unhurried
from histories.wellformed import MalformedHistory

pytestmark = pytest.mark.skipif(
    native.encoder is None or native.is_pure_forced(), reason="the native core was not built, or is not asked"
)

scalars = st.none() | st.integers(-3, 3) | st.sampled_from([2**62, 2**63 - 1, -(2**63), 2**63, 2**80, "", "1", "é"])
odd = st.booleans() | st.sampled_from([1.0, 0.0, {"a": [1]}, [1, True], [[1], 2], [1.0, 1, 1]])
values = scalars | odd | st.lists(scalars, max_size=4) | st.tuples(scalars, scalars)


def told(parts: dict[Any, Entries]) -> dict[Any, Any]:
    return {key: (repr(part.operations), part.op, part.call, part.end, part.returns) for key, part in parts.items()}


def told_of_columns(ops: list[Op], *, by_key: bool, refused: bool, nil_reads: bool) -> dict[Any, Any] | None:
    """What the native encoder says of the ops as columns of a long file; None where it leaves them to the pure one."""
    assert native.encoder is not None
    found = native.encoder.encode(
        OpColumns(ops), by_key, refused, nil_reads, Entries, encode._malformed, encode._types, encode.WILDCARD_FS
    )
    return None if found is None else told(found)


@unhurried
@given(
    histories(values, keys=st.none() | st.sampled_from([1, "a", [1], True, 2**80])),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_the_native_encoder_gives_what_the_pure_one_gives(
    ops: list[Op], by_key: bool, refused: bool, nil_reads: bool
) -> None:
    options: Any = {"by_key": by_key, "refused": refused, "nil_reads": nil_reads}
    assert native.encoder is not None
    found = native.encoder.encode(
        tuple(ops), by_key, refused, nil_reads, Entries, encode._malformed, encode._types, encode.WILDCARD_FS
    )
    if found is not None:
        pure = encode_pure(tuple(ops), **options)
        assert list(pure) == list(found)
        assert told(pure) == told(found)
    assert (found is None) == (told_of_columns(ops, **options) is None)
    assert found is None or told_of_columns(ops, **options) == told(found)


@pytest.mark.parametrize("seed", range(4))
def test_the_encoders_agree_on_thousands_of_values_in_any_order(seed: int) -> None:
    """So many that each table of the native one grows several times."""
    rng = Random(seed)
    pool: list[Any] = [*range(2_000), *(rng.randrange(-(2**70), 2**70) for _ in range(500)), *(-i for i in range(500))]
    pool += [*(rng.randrange(20_000) for _ in range(500)), *(f"text {i}" for i in range(1_500)), None, True, False]
    pool += [[rng.choice(pool), rng.choice(pool)] for _ in range(500)]
    ops: list[Op] = []
    for value in [*rng.sample(pool, len(pool)), *rng.sample(pool, len(pool))]:
        key = rng.choice((None, 1, "a"))
        ops.append(Op(len(ops), len(ops), "invoke", 0, rng.choice(("write", "contains")), key, value))
        # A text of its own that is equal, as a file that was read has them.
        result = "".join(list(value)) if isinstance(value, str) else value
        ops.append(Op(len(ops), len(ops), "ok", 0, ops[-1].f, key, rng.choice((result, None, True))))
    assert native.encoder is not None
    found = native.encoder.encode(
        tuple(ops), True, False, False, Entries, encode._malformed, encode._types, encode.WILDCARD_FS
    )
    assert found is not None
    assert told(encode_pure(tuple(ops), by_key=True, refused=False, nil_reads=False)) == told(found)
    assert told_of_columns(ops, by_key=True, refused=False, nil_reads=False) == told(found)


@pytest.mark.parametrize("seed", range(2))
def test_the_encoders_agree_where_operations_name_few_values_first_and_many_later(seed: int) -> None:
    """So many sorts of operations that not all have a table, and tables that grow over what was hashed before."""
    rng = Random(seed)
    high = [2**70 + i for i in range(2_000)]
    asked = [("f0", value) for value in high]
    for size in (3, 40, 400, 2_000):
        asked += [(f"f{rng.randrange(1, 40)}", rng.choice(high)) for _ in range(size)]
        asked += [("f1", rng.choice(high)) for _ in range(size)]
    ops: list[Op] = []
    for f, value in [*asked, *asked[-3_000:]]:
        ops.append(Op(len(ops), len(ops), "invoke", 0, f, None, value))
        ops.append(Op(len(ops), len(ops), "ok", 0, f, None, rng.choice((None, True, high[0]))))
    assert native.encoder is not None
    found = native.encoder.encode(
        tuple(ops), True, False, False, Entries, encode._malformed, encode._types, encode.WILDCARD_FS
    )
    assert found is not None
    assert told(encode_pure(tuple(ops), by_key=True, refused=False, nil_reads=False)) == told(found)
    assert told_of_columns(ops, by_key=True, refused=False, nil_reads=False) == told(found)


@pytest.mark.parametrize("broken", [["invoke", "invoke"], ["ok"], ["invoke", "ok", "info"]])
@pytest.mark.parametrize("made", [tuple, OpColumns])
def test_the_native_encoder_refuses_a_malformed_history_in_the_same_words(broken: list[Any], made: Any) -> None:
    ops = [Op(i, i, type, 0, "read") for i, type in enumerate(broken)]
    with pytest.raises(MalformedHistory) as pure:
        encode_pure(ops, by_key=True, refused=False, nil_reads=False)
    assert native.encoder is not None
    with pytest.raises(MalformedHistory) as ours:
        native.encoder.encode(made(ops), True, False, False, Entries, encode._malformed, encode._types, ())
    assert str(pure.value) == str(ours.value)


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        *((value, True) for value in (1, "1", 2**80, [1, None], [], [1, "a", None])),
        *((value, False) for value in (1.0, True, [True, 1], [[1]], {"a": 1})),
    ],
)
def test_a_history_is_plain_when_no_two_of_its_values_of_different_types_are_equal(value: Any, is_plain: bool) -> None:
    ops = [Op(0, 0, "invoke", 0, "write", None, value), Op(1, 1, "ok", 0, "write", None, None)]
    assert entries(History(ops)).is_plain is is_plain


def test_what_contains_answers_is_no_value() -> None:
    answered = h("p0 invoke contains 1 | p0 ok contains true")
    assert entries(answered).is_plain
    assert not entries(h("p0 invoke read | p0 ok read true")).is_plain
    assert not entries(h("p0 invoke contains true | p0 ok contains true")).is_plain


def test_an_operation_is_made_once() -> None:
    operations = entries(h("p0 invoke write [1,2,3] | p0 ok write [1,2,3]")).operations
    assert isinstance(operations, Operations)
    assert operations[0] == Operation("write", (1, 2, 3), (1, 2, 3))
    assert operations[0] is operations[0]
    assert operations[-1:] == [operations[0]]


SCALARS: dict[int, list[Any]] = {0: [None], INTEGER: [0, 1, -5, 2**70], TEXT: ["", "a", "read"]}
"""Kind -> values of it."""


def of_kind(kind: int) -> list[Any]:
    if kind in SCALARS:
        return SCALARS[kind]
    first, second = divmod(kind - FIRST_PAIR, 3)
    return [(a, b) for a in SCALARS[first] for b in SCALARS[second]]


@pytest.mark.parametrize("model", [kind() for kind in MONITORS], ids=lambda model: model.name)
def test_what_a_model_with_a_monitor_says_of_an_operation_depends_on_its_shape(model: Model) -> None:
    """`_require_fit` asks it of one operation of each shape."""
    kinds = range(FIRST_PAIR + 9)
    for f in sorted(model.fs):
        for is_known, is_refused in ((True, False), (False, False), (True, True)):
            for argument_kind in kinds:
                for result_kind in (0, INTEGER, TEXT, FIRST_PAIR + 4):
                    said: dict[bool, set[bool]] = {False: set(), True: set()}
                    for argument in of_kind(argument_kind):
                        for result in of_kind(result_kind):
                            complaint = model.check(Operation(f, argument, result, is_known, is_refused))
                            said[argument == result].add(complaint is None)
                    assert all(len(answers) <= 1 for answers in said.values()), (f, argument_kind, result_kind)


WRITE_1 = "p0 invoke write 1 | p0 ok write 1"
APPEND_A = 'p0 invoke append "a" | p0 ok append "a"'
APPEND_AA = 'p0 invoke append "aa" | p0 ok append "aa"'

KEYED = {
    "register": ("write", "read"),
    "cas-register": ("write", "read"),
    "kv": ("put", "get"),
    "fifo-queue": ("enqueue", "dequeue"),
    "lifo-stack": ("push", "pop"),
    "priority-queue": ("enqueue", "dequeue"),
    "set": ("add", "contains"),
    "list-append": ("append", "read"),
}


def many_keys(model: str, *, is_valid: bool) -> History:
    """300 keys with three values each, no two of which are equal: far more values than a key has operations."""
    put, look = KEYED[model]
    rng = Random(model)
    ops: list[Op] = []

    def add(f: str, key: int, argument: Any, result: Any) -> None:
        ops.append(Op(len(ops), len(ops), "invoke", 0, f, key, argument))
        ops.append(Op(len(ops), len(ops), "ok", 0, f, key, result))

    for number in range(3):
        for key in rng.sample(range(300), 300):
            value = key * 1_000 + number
            is_wrong = not is_valid and (key, number) == (123, 1)
            add(put, key, value, None)
            if model == "set":
                add(look, key, value, not is_wrong)
            elif model == "list-append":
                listed = [key * 1_000 + i for i in range(number + 1)]
                add(look, key, None, listed[::-1] if is_wrong else listed)
            else:
                add(look, key, None, value - 1 if is_wrong else value)
    return History(ops)


@pytest.mark.parametrize("answer_text", ["2", "null", '"a"'])
def test_an_answer_of_contains_that_is_neither_yes_nor_no_is_neither(answer_text: str) -> None:
    part = entries(h(f"p0 invoke contains 1 | p0 ok contains {answer_text}"))
    twins = monitor_of(find("set"))
    assert twins is not None
    assert twins.native is not None
    assert twins.native(part, find("set")).validity is Validity.UNKNOWN
    assert answer(twins.native(part, find("set"))) == answer(twins.pure(part, find("set")))


@pytest.mark.parametrize("is_valid", [True, False])
@pytest.mark.parametrize("kind", [SETS, KINDS["priority queue"]], ids=["set", "priority queue"])
def test_the_twins_agree_where_numbers_have_several_digits(kind: Kind, is_valid: bool) -> None:
    """Gaps and priorities are sorted by digits: more than two thousand of the ones, and others that are far apart."""
    part = entries(history(kind, operations=4_000, processes=40, is_valid=is_valid))
    model = find(kind.model)
    twins = monitor_of(model)
    assert twins is not None
    assert twins.native is not None
    assert answer(twins.native(part, model)) == answer(twins.pure(part, model))


@pytest.mark.parametrize("model", KEYED)
def test_keys_that_share_their_values_with_many_others(model: str) -> None:
    for is_valid in (True, False):
        made = many_keys(model, is_valid=is_valid)
        found = linearizable(made, find(model))
        assert found.validity is (Validity.VALID if is_valid else Validity.INVALID)
        assert set(found.stats["decided_by"]) <= {MONITORS[type(find(model))].name}
        wrong = [
            key for key, part in search_keys(made, find(model)).items() if part.result.validity is Validity.INVALID
        ]
        assert wrong == ([] if is_valid else [123])


@pytest.mark.parametrize(
    ("name", "twin", "text"),
    [
        ("register", "register", "p0 invoke write 1 | p1 invoke read | p0 ok write 1 | p1 ok read 1"),
        ("register", "register", "p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 ok read"),
        ("cas-register", "register", "p0 invoke write 1 | p0 ok write 1 | p1 invoke cas [1,2] | p1 ok cas [1,2]"),
        (
            "cas-register",
            "register",
            "p0 invoke cas [1,2] | p0 ok cas [1,2] | p0 invoke cas [2,1] | p0 ok cas [2,1]",
        ),
        ("cas-register", "register", "p0 invoke write 1 | p1 invoke cas [5,5] | p1 info cas | p0 ok write 1"),
        ("kv", "register", "p0 invoke put 1 | p0 ok put 1 | p0 invoke get | p0 ok get 1"),
        ("kv", "appended", 'p0 invoke append "ab" | p0 ok append "ab" | p0 invoke get | p0 ok get "ab"'),
        ("list-append", "appended", "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read [1]"),
    ],
)
def test_usual_histories_are_decided_from_columns_alone(name: str, twin: str, text: str) -> None:
    part = entries_by_key(h(text))[None]
    assert native.registers is not None
    decision = getattr(native.registers, twin)(part, find(name))
    assert decision is not None
    assert decision == MONITORS[type(find(name))].pure(part, find(name))


@pytest.mark.parametrize(
    ("name", "twin", "text"),
    [
        ("register", "register", f"{WRITE_1} | {WRITE_1} | p0 invoke read | p0 ok read 1"),
        ("kv", "register", 'p0 invoke put "" | p0 ok put "" | p0 invoke get | p0 ok get ""'),
        ("kv", "appended", f'{APPEND_A} | {APPEND_AA} | p0 invoke get | p0 ok get "aaa"'),
        (
            "kv",
            "appended",
            'p0 invoke append "a" | p1 invoke append "aa" | p0 ok append "a" | p1 ok append "aa" | p0 invoke get | p0 ok get "aaa"',
        ),
        ("list-append", "appended", "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read [2]"),
        ("list-append", "appended", "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read [1,1]"),
        ("kv", "appended", f'{APPEND_A} | p0 invoke get | p0 ok get "aa"'),
        ("list-append", "appended", "p0 invoke append 1 | p0 ok append 1 | p0 invoke read | p0 ok read []"),
    ],
)
def test_what_is_not_usual_is_left_to_the_pure_twin(name: str, twin: str, text: str) -> None:
    assert getattr(native.registers, twin)(entries(h(text)), find(name)) is None
