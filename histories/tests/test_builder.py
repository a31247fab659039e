"""The one-line builder."""

from __future__ import annotations

from typing import Any

import pytest

from histories import NEMESIS, MalformedHistory, Op, h


def test_the_example_of_the_style_guide() -> None:
    assert list(h("p0 invoke write 1 | p0 ok write 1 | p1 invoke read | p1 info read")) == [
        Op(0, 0, "invoke", 0, "write", None, 1),
        Op(1, 1_000_000, "ok", 0, "write", None, 1),
        Op(2, 2_000_000, "invoke", 1, "read"),
        Op(3, 3_000_000, "info", 1, "read"),
    ]


VALUES: dict[str, tuple[Any, Any]] = {
    "": (None, None),
    "1": (None, 1),
    "-1.5": (None, -1.5),
    "nil": (None, None),
    "null": (None, None),
    "true": (None, True),
    "[1,nil]": (None, [1, None]),
    "[1, 2]": (None, [1, 2]),
    "foo": (None, "foo"),
    '"nil"': (None, "nil"),
    '"a b | c\\"=1"': (None, 'a b | c"=1'),
    '{"a": [1]}': (None, {"a": [1]}),
    "x=1": ("x", 1),
    "x=": ("x", None),
    "x=[1,nil]": ("x", [1, None]),
    '7="a=b"': (7, "a=b"),
    '[["append", "x", 1], ["r", "y", nil]]': (None, [["append", "x", 1], ["r", "y", None]]),
}


@pytest.mark.parametrize("text", VALUES)
def test_values_and_keys(text: str) -> None:
    [op] = h(f"p3 invoke f {text}")
    assert (op.key, op.value) == VALUES[text]


def test_a_completion_takes_the_key_of_its_invocation() -> None:
    assert [op.key for op in h("p0 invoke read x= | p1 invoke write y=1 | p0 ok read 1 | p1 ok write")] == list("xyxy")


def test_lines_serve_as_bars_and_the_nemesis_is_a_process() -> None:
    history = h("""
        nemesis invoke start-partition {"n1": ["n2"]}
        nemesis info start-partition
    """)
    assert [op.process for op in history] == [NEMESIS, NEMESIS]


def test_nothing_is_an_empty_history() -> None:
    assert len(h("")) == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("p0 invoke", "op 0 ('p0 invoke'): a process, a type and an f were due"),
        ("p0 invoke read | p0 done read", "op 1 ('p0 done read'): 'done' is not a type"),
        ("q0 invoke read", "'q0' is not a process"),
        ("p0 invoke read [1", "'[1' is neither JSON nor one word"),
        ("p0 invoke write 1 2", "'1 2' is neither JSON nor one word"),
    ],
)
def test_bad_text_is_named(text: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        h(text)
    assert part in str(caught.value)


def test_broken_rules_are_refused_unless_asked_for() -> None:
    with pytest.raises(MalformedHistory):
        h("p0 ok read 1")
    assert len(h("p0 ok read 1", check=False)) == 1
