"""Every kind of evidence survives verdict.json: it decodes into its own type, and encodes to the same bytes again."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import msgspec.inspect as mi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.evidence import CheckerCrash, Evidence, Findings, Table
from checkers.verdict import Validity, Verdict, guarded, merge

KINDS = get_args(Evidence)

texts = st.text(max_size=6)
numbers = st.integers(-(2**63), 2**64 - 1)
json_like = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def values_of(type_: mi.Type) -> st.SearchStrategy[Any]:
    """Values of a type as msgspec describes it: whatever a Struct of evidence may hold."""
    match type_:
        case mi.AnyType():
            return json_like
        case mi.NoneType():
            return st.none()
        case mi.BoolType():
            return st.booleans()
        case mi.IntType():
            return numbers
        case mi.StrType():
            return texts
        case mi.LiteralType(values=values):
            return st.sampled_from(values)
        case mi.UnionType(types=types):
            return st.one_of([values_of(each) for each in types])
        case mi.VarTupleType(item_type=item):
            return st.lists(values_of(item), max_size=2).map(tuple)
        case mi.DictType(key_type=key, value_type=value):
            return st.dictionaries(values_of(key), values_of(value), max_size=2)
        case mi.StructType(cls=cls) if cls is Table:
            return tables
        case mi.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: values_of(field.type) for field in fields})
        case _:
            raise AssertionError(f"no values are made of {type_}; teach values_of")


def table_of(columns: int) -> st.SearchStrategy[Table]:
    rows = st.lists(st.tuples(*[json_like] * columns), max_size=2).map(tuple)
    return st.builds(Table, columns=st.tuples(*[texts] * columns), rows=rows, title=texts)


tables = st.integers(0, 3).flatmap(table_of)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_survives_json(kind: type[msgspec.Struct]) -> None:
    @settings(max_examples=20, deadline=None, database=None)
    @given(values_of(mi.type_info(kind)))
    def check(evidence: Any) -> None:
        written = msgspec.json.encode(Verdict(Validity.UNKNOWN, "c", "why", evidence))
        read = msgspec.json.decode(written, type=Verdict)
        assert type(read.evidence) is kind
        assert msgspec.json.encode(read) == written

    check()


def test_a_kind_that_nobody_knows_is_refused() -> None:
    text = b'{"validity": "valid", "evidence": {"kind": "telepathy"}}'
    with pytest.raises(msgspec.ValidationError, match="telepathy"):
        msgspec.json.decode(text, type=Verdict)


def test_a_table_has_a_value_for_each_column() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 values for 2 columns"):
        Table(("key", "value"), ((1, 2), (3,)))


def test_asking_for_another_kind_of_evidence_names_both() -> None:
    assert Verdict.valid("c", evidence=Findings()).evidence_of(Findings) == Findings()
    with pytest.raises(TypeError, match="the evidence of c is Findings, not CheckerCrash"):
        Verdict.valid("c", evidence=Findings()).evidence_of(CheckerCrash)


def test_a_checker_that_crashes_is_unknown_with_its_traceback() -> None:
    def check() -> Verdict:
        raise ZeroDivisionError("a checker of nothing")

    verdict = guarded("touchy", check)
    assert (verdict.validity, verdict.checker) == (Validity.UNKNOWN, "touchy")
    assert verdict.reason == "the checker crashed: ZeroDivisionError: a checker of nothing"
    assert "test_evidence.py" in verdict.evidence_of(CheckerCrash).traceback


VALID, INVALID, UNKNOWN = Verdict.valid(), Verdict.invalid("lost"), Verdict.unknown("too long")
MERGED = [
    ({}, Validity.UNKNOWN, "nothing was checked"),
    ({"a": VALID}, Validity.VALID, ""),
    ({"a": VALID, "b": UNKNOWN}, Validity.UNKNOWN, "b: too long"),
    ({"a": UNKNOWN, "b": INVALID, "c": VALID}, Validity.INVALID, "b: lost"),
    ({"a": INVALID, "b": INVALID}, Validity.INVALID, "a: lost; b: lost"),
]


@pytest.mark.parametrize(("parts", "validity", "reason"), MERGED)
def test_the_worst_part_wins(parts: dict[str, Verdict], validity: Validity, reason: str) -> None:
    merged = merge(parts)
    assert (merged.validity, merged.reason) == (validity, reason)
    assert merged.parts == parts


def test_a_validity_is_no_truth_value() -> None:
    with pytest.raises(TypeError, match="not a truth value"):
        bool(Validity.VALID)
