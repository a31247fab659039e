"""EDN: every notation is read, what is written is read back, and what is not EDN is refused where it goes wrong."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histories.edn import Char, EdnError, FrozenMap, Keyword, Symbol, Tagged, dumps, forms, loads
from histories.json_text import FILE_DEPTH_MAX
from histories.tests import strategies

K = Keyword

READ: dict[str, Any] = {
    "nil": None,
    "true": True,
    "false": False,
    "0": 0,
    "-17": -17,
    "+5": 5,
    "12345678901234567890123N": 12345678901234567890123,
    "1.5": 1.5,
    "-2e-3": -0.002,
    "1.25M": Decimal("1.25"),
    "1/3": Fraction(1, 3),
    "##Inf": math.inf,
    "##-Inf": -math.inf,
    '""': "",
    r'"a\t\"b\"\\\n\u00e9\101"': 'a\t"b"\\\néA',
    '"two\nlines ; no comment"': "two\nlines ; no comment",
    r"\a": Char("a"),
    r"\newline": Char("\n"),
    r"\u00e9": Char("é"),
    r"\(": Char("("),
    r"[\a\b]": [Char("a"), Char("b")],
    ":read": K("read"),
    ":jepsen.core/f": K("jepsen.core/f"),
    "foo": Symbol("foo"),
    "-": Symbol("-"),
    "+a.b/c*": Symbol("+a.b/c*"),
    "nilly": Symbol("nilly"),
    "[]": [],
    "[1 [2, 3] ()]": [1, [2, 3], ()],
    "(:r 1 nil)": (K("r"), 1, None),
    "{}": {},
    "{:a 1, :b [2]}": {K("a"): 1, K("b"): [2]},
    '{:a 1 "a" 2 a 3}': {K("a"): 1, "a": 2, Symbol("a"): 3},
    "{[1 2] 3}": {(1, 2): 3},
    "{{:a 1} 2}": {FrozenMap({K("a"): 1}): 2},
    "#{}": frozenset(),
    "#{1 [2] :a}": frozenset({1, (2,), K("a")}),
    '#inst "2020-01-01"': Tagged("inst", "2020-01-01"),
    "#jepsen.history.Op{:index 1}": Tagged("jepsen.history.Op", {K("index"): 1}),
    "#a #b 1": Tagged("a", Tagged("b", 1)),
    "#:op{:type 1 :_/f 2 :x/y 3}": {K("op/type"): 1, K("f"): 2, K("x/y"): 3},
    " ,\n; a comment } \n 1 ; more": 1,
    "#_ 2 1": 1,
    "#_#_ 2 3 1": 1,
    "[#_[1 {2 #_ x 3}] 4 #_ 5]": [4],
    "{:a #_ 1 2}": {K("a"): 2},
    "#_ #a 1 2": 2,
    "#a #_ 1 2": Tagged("a", 2),
}


@pytest.mark.parametrize("text", READ)
def test_reads(text: str) -> None:
    value = loads(text)
    assert value == READ[text]
    assert type(value) is type(READ[text])


def test_reads_what_is_not_equal_to_itself() -> None:
    assert math.isnan(loads("##NaN"))
    assert dumps(math.nan) == "##NaN"


BAD = {
    "": "one value was due, not 0",
    "1 2": "one value was due, not 2",
    "[1 2": "the text ends inside a value",
    '"abc': "a string that does not end",
    "]": "] closes nothing",
    "(1]": "] where ) was due",
    "[#_]": "] where a value was due after #_",
    "[#foo]": "] where a value was due after #foo",
    "{:a}": "a map has a key without a value",
    "{:a 1 :a 2}": "a map has a key twice",
    "#{1 1}": "a set has a member twice",
    "{[1] 1 (1) 2}": "a map has a key twice",
    ":": "a colon without a name",
    "12ab": "12ab is not a number",
    "9" * 5000: "a number of more than 4000 digits",
    "007": "007 is not a number",
    "1/0": "1/0 is not a number",
    "##Big": "##Big is not a number",
    r"\bogus": "\\bogus is no character",
    r'"\q"': "\\q in a string stands for nothing",
    r'"\9"': "\\9 in a string stands for nothing",
    '"\\\u0663"': "\\\u0663 in a string stands for nothing",
    "^{:a 1} x": "'^' begins no value",
    "#:a 1": "#:a is followed by no map",
    "#_": "the text ends inside a value",
}


@pytest.mark.parametrize("text", BAD)
def test_refuses(text: str) -> None:
    with pytest.raises(EdnError) as caught:
        loads(text)
    assert BAD[text] in str(caught.value)


@pytest.mark.parametrize("text", ['{:a "b', "[1 [2", "(", "#{1", "#_", "#foo", '"ab'])
def test_knows_text_that_was_cut(text: str) -> None:
    with pytest.raises(EdnError) as caught:
        list(forms(f"1 {text}"))
    assert (caught.value.is_end, caught.value.start) == (True, 2)


def test_gives_each_form_with_its_place() -> None:
    assert list(forms(" 1 #a [2]; x\n:b")) == [(1, 2, 1), (3, 9, Tagged("a", [2])), (13, 15, K("b"))]
    assert [value for _, _, value in forms("1 2 3", 2)] == [2, 3]


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ("(", ")"), ("{:a ", "}"), ("#{", "}"), ("#t [", "]")])
def test_nesting_has_one_limit_for_every_collection(opens: str, closes: str) -> None:
    each = 2 if "#t" in opens else 1
    depth = FILE_DEPTH_MAX // each
    value = loads(f"{opens * depth}1{closes * depth}")
    assert loads(dumps(value)) == value
    for deep in (depth + 1, 100_000):
        with pytest.raises(EdnError, match="nested more than 200 deep"):
            loads(f"{opens * deep}1{closes * deep}")
    for chain in ("#a ", "#_ "):
        with pytest.raises(EdnError, match="nested more than 200 deep"):
            loads(chain * 100_000 + "1")


names = st.from_regex(r"[a-z*!?<>=][a-z0-9*!?<>=.-]{0,6}(/[a-z]{1,3})?", fullmatch=True).filter(
    lambda name: name not in ("nil", "true", "false")
)
tags = st.from_regex(r"[a-z][a-zA-Z0-9.-]{0,6}(/[a-z]{1,3})?", fullmatch=True)
# Integers and floats are apart from booleans and each other: Python takes 1, 1.0 and True for the same key, EDN does
# not.
keys = names.map(Keyword) | names.map(Symbol) | st.text(st.characters(exclude_categories=["Cs"])) | st.integers(2)
atoms = (
    keys
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.characters(exclude_categories=["Cs"]).map(Char)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.fractions().filter(lambda ratio: ratio.denominator > 1)
)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.frozensets(keys | st.tuples(keys, keys), max_size=4)
        | st.builds(Tagged, tags, inner)
    ),
    max_leaves=12,
)


@strategies.unhurried
@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert loads(dumps(value)) == value


@strategies.unhurried
@given(st.text(alphabet='[](){}#_:;"\\ \n,a1/.^~@nil-+Nu'))
def test_any_text_is_a_value_or_an_edn_error(text: str) -> None:
    error: EdnError | None = None
    value: Any = None
    try:
        value = loads(text)
    except EdnError as caught:
        error = caught
    if error is None:
        again = loads(dumps(value))
        assert again == value or ("##NaN" in text and dumps(again) == dumps(value))  # NaN is not even itself.
    else:
        assert 0 <= error.start <= error.offset <= len(text)


def test_what_edn_has_no_notation_for() -> None:
    with pytest.raises(TypeError):
        dumps(object())


@pytest.mark.parametrize(
    "text",
    [
        r"\ok",
        r"\o9",
        r"\uzzzz",
        r"\u00",
        r"\ud800",
        r'"\ud800"',
        r'"a\udc00\ud800"',
        "1e99999999999999999999M",
        "9" * 3000 + "/7",
    ],
)
def test_what_only_looks_like_a_character_or_a_number_is_refused(text: str) -> None:
    with pytest.raises(EdnError):
        loads(text)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert loads(r'"a\ud83d\ude00b"') == "a\U0001f600b"
