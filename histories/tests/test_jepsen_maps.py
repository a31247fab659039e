"""Maps read a block at a time: whatever the notation, they give what the EDN reader gives, map by map."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histories import NEMESIS, Op, edn, jepsen_maps, jepsen_shapes, jepsen_values
from histories.tests import strategies

words = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
edn_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | words.map(edn.Keyword) | words | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=2),
    max_leaves=6,
)
maps = st.fixed_dictionaries(
    {
        edn.Keyword("type"): st.sampled_from(["invoke", "ok", "fail", "info"]).map(edn.Keyword),
        edn.Keyword("process"): st.integers(0, 3) | st.just(edn.Keyword(NEMESIS)),
        edn.Keyword("f"): words.map(edn.Keyword) | words,
    },
    optional={edn.Keyword(name): edn_values for name in ("value", "error", "node", "key", "exception")}
    | {edn.Keyword("time"): st.integers() | st.none(), edn.Keyword("index"): st.integers(0, 50)},
)


@strategies.unhurried
@given(st.lists(maps.flatmap(lambda form: st.permutations(list(form.items())).map(dict)), max_size=6))
def test_the_quick_way_reads_what_the_edn_reader_reads(forms: list[dict[Any, Any]]) -> None:
    text = "\n".join(edn.dumps(form) for form in forms * 2)
    quick = jepsen_maps.read_maps(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jepsen_maps, "_SHAPES_MAX", 0)
        assert jepsen_maps.read_maps(text) == quick


# What real files and other people's tools write, as (value when invoked, value when ok) texts.
VALUES = (
    ("nil", "3"),
    ("[7 nil]", "[7 -3]"),
    ('["k, 0" nil]', '["k, 0" "nil :a [1"]'),
    ("[[:r 1 nil] [:append 1 30]]", "[[:r 1 [1 2]] [:append 1 30]]"),
    ("[1, 2,3]", "[1 ,2]"),
    (":nil", "[:nil nil :r :read ::x]"),
    (r'"a \"quoted\" \n word"', r'["\\" \a]'),
    ("{:a 1}", "#{1 2}"),
    ("[null true 1.5 1e3 -0 1N 2/4 null]", "[123456789012345678901234567890 0.1M]"),
    ("[ 1 2 ]", "[:a:b +5 a:b]"),
    ('"}\n{"', '["a\nb" :x]'),
    ('#inst "t"', "#_ 1 2"),
    ("x#y", ":a#b"),
    ("ünï", '"\u2028\u00a0"'),
)
WRONG = (
    "{:type :ok}",
    "{:process 0, :process 1, :type :invoke, :f :read}",
    "{:type :done, :process 0, :f :read, :value nil}",
    "{:index 0, :time 1, :type :ok, :process -1, :f :read, :value nil}",
    "{:process 0, :type :invoke, :f nil, :value 1}",
    "{:process 0, :type :invoke, :f :read, :value [1 007]}",
    "{:process 0, :type :invoke, :f :read, :value ^a}",
    "{:process 0, :type :invoke, :f :read, :time 007, :value 1}",
    "{:process 0, :type :invoke, :f :read :value}",
    "[1 2]",
    "]",
    "}",
)


def random_text(rng: random.Random) -> str:
    """A history in one of the styles that are about; often with something wrong in it, or cut."""
    values = rng.sample(VALUES, rng.randint(1, 3)) if rng.random() < 0.7 else [("nil", "3"), ("[7 nil]", "[7 1]")]
    tag = rng.choice(("", "", "#jepsen.history.Op", "#a.b "))
    comma, between = rng.choice(((", ", "\n"), (" ", "\n"), (", ", " "), (",\n  ", "\n\n"), (" , ", ""), (", ", "\n ")))
    extras = rng.sample((":error :timeout", ":node n1", ':node "n2"', ":exception nil", ":debug {:a [1]}"), 2)
    numbered, timed, shuffled = (rng.random() < 0.6 for _ in range(3))
    shuffled = shuffled and rng.random() < 0.2
    maps: list[str] = []
    time_ns = index = 0
    for _ in range(rng.randint(0, 60)):
        time_ns += rng.randint(-2 if rng.random() < 0.1 else 0, 9)
        index += rng.randint(0 if rng.random() < 0.01 else 1, 2)
        process = rng.choice((":nemesis", *map(str, range(20))))
        type = ":info" if process == ":nemesis" else rng.choice((":invoke", ":ok", ":fail", ":info"))
        value = rng.choice(values)[type != ":invoke"].replace("30", str(rng.randint(0, 10**6)))
        pairs = [f":type {type}", f":process {process}", ":f " + rng.choice((":read", ":cas", '":w"', "x"))]
        pairs += [f":value {value}"] if rng.random() < 0.95 else []
        pairs = ([f":index {index}"] if numbered else []) + ([f":time {time_ns}"] if timed else []) + pairs
        pairs += [extra for extra in extras if type in (":info", ":fail") and rng.random() < 0.8]
        if shuffled:
            rng.shuffle(pairs)
        maps.append(f"{tag}{{{comma.join(pairs)}}}")
        if rng.random() < 0.03:
            maps.append(rng.choice(("; a comment {:type :ok}\n", "#_ {:no :op}", "\n\n", ",")))
    if maps and rng.random() < 0.3:
        maps.insert(rng.randrange(len(maps)), rng.choice(WRONG))
    text = rng.choice(("{}", "{}\n", "[{}]", "({}\n)", "[\n{}")).replace("{}", between.join(maps))
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.2 else text


def outcome(text: str, quick: bool, block_chars: int) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jepsen_maps, "_BLOCK_CHARS_MAX", block_chars)
        if not quick:
            patch.setattr(jepsen_maps, "_SHAPES_MAX", 0)
        items, lines, is_cut = jepsen_maps.read_maps(text)
        # repr tells 1 from 1.0 and True, and None from "".
        return [repr(item) for item in items], list(lines), is_cut


def test_blocks_of_maps_are_read_as_the_edn_reader_reads_them() -> None:
    for seed in range(80):
        rng = random.Random(f"{seed}/blocks")
        text = random_text(rng)
        block_chars = rng.choice((100, 700, 1 << 16))
        assert outcome(text, True, block_chars) == outcome(text, False, block_chars), (seed, text)


def test_the_common_styles_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[int] = []
    forms = edn.forms

    def counted(text: str, begin: int = 0) -> Iterator[tuple[int, int, Any]]:
        slow.append(begin)
        return forms(text, begin)

    monkeypatch.setattr(edn, "forms", counted)
    styles = {
        "jepsen": ("", "{:index %d, :time 5, :type :invoke, :process 0, :f :read, :value nil}", "\n"),
        "pairs": ("", '{:index %d, :time 5, :type :invoke, :process 0, :f :read, :value ["k" nil], :node "n1"}', "\n"),
        "records": ("[", "#jepsen.history.Op{:index %d, :type :ok, :process :nemesis, :f :kill, :value :a}", "\n "),
        "lists": ("", "{:index %d :type :ok :process 3 :f :txn :value [[:r 1 [1 2]] [:append 1 3]]}", " "),
        "words": ("", '{:f :a, :type :ok, :index %d, :process 0, :value "a, b: [c"}', ""),
        "more keys": ("", "{:type :info, :f :a, :process 0, :exception nil, :index %d}", "\n"),
    }
    for name, (start, form, between) in styles.items():
        other = form.replace("}", ', :error [:timeout "x"]}').replace(":time 5, ", "")
        slow.clear()
        text = start + between.join((other if index % 2 else form) % index for index in range(300))
        items, lines, _ = jepsen_maps.read_maps(text)
        assert [item.index for item in items if isinstance(item, Op)] == list(range(300)), name
        assert lines[-1] == (300 if "\n" in between else 1)
        assert len([begin for begin in slow if begin]) < 10, name


def test_many_values_are_read_as_one_by_one() -> None:
    rng = random.Random("0/many")
    texts = [text for pair in VALUES for text in pair] + ["nil", "5", ":x", '"a b"', "[]", "[[]]", "[:a [:ab 1] nil]"]
    texts = [text for text in texts if re.fullmatch(jepsen_shapes.ANY_VALUE, text, re.DOTALL)]
    good = [text for text in texts if jepsen_values.by_json([text]) is not None]
    assert len(good) > 10
    for _ in range(300):
        some = rng.choices(good if rng.random() < 0.5 else texts, k=rng.randint(1, 30))
        values = jepsen_values.by_json(some)
        one_by_one = [jepsen_values.plain(edn.loads(text)) for text in some]
        assert values is None or repr(values) == repr(one_by_one), some
        assert repr(jepsen_values.many_values(some)) == repr(one_by_one), some
