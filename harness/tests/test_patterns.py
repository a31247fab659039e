"""No text makes a regular expression of the product try again and again: the time of a match grows with the length of what others
wrote, not with a power of it."""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).parents[2]
PACKAGES = ("harness", "nemesis", "checkers", "targets", "histories")
FLAGS = {"VERBOSE", "DOTALL", "MULTILINE", "ASCII", "IGNORECASE"}
REPEATED = [" ", "\t", "\n", "0", "a", "A", "\\", ";", ";;\n", *"""._-+"'[({#:/,=|"""]
REPEATS = 6_000
CPU_S = 30.0
"""Far more than any pattern takes here for all its texts; three repeats of one character in a row take ten times that."""


def literals() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Where a regular expression stands, and it: each that is written out in a call of `re`."""
    for path in sorted(path for package in PACKAGES for path in (HERE / package).rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("re")), [ast.Constant(str() | bytes() as text), *_]):
                    words = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)} & FLAGS
                    flags = sum(getattr(re, word) for word in words)
                    yield f"{path.relative_to(HERE)}:{node.lineno}", re.compile(text, flags)


def beginnings(pattern: re.Pattern[Any]) -> list[Any]:
    """Nothing, and a few texts that the pattern matches, whole and cut."""
    is_bytes = isinstance(pattern.pattern, bytes)
    found: list[Any] = [b"" if is_bytes else ""]
    alphabet = None if is_bytes else st.characters(exclude_categories=())

    @seed(1)
    @settings(
        max_examples=8, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.from_regex(pattern, fullmatch=True, alphabet=alphabet))
    def keep(text: Any) -> None:
        found.extend((text, text[: len(text) // 2]))

    keep()
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("pattern", [pytest.param(pattern, id=where) for where, pattern in literals()])
def test_no_text_makes_it_try_again_and_again(pattern: re.Pattern[Any]) -> None:
    tried: list[Any] = []

    def too_long(_: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{pattern.pattern!r} takes more than {CPU_S:g} CPU s for {tried[-1][:40]!r} and so on")

    is_bytes = isinstance(pattern.pattern, bytes)
    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        for beginning in beginnings(pattern):
            for piece in REPEATED:
                text = piece * (REPEATS // len(piece)) + "\x01"
                tried.append(beginning + (text.encode() if is_bytes else text))
                for match in (pattern.fullmatch, pattern.match):
                    match(tried[-1])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert tried
