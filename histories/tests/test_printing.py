"""What somebody else wrote is short and harmless when it is printed."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from histories.printing import block, harmless, json_text, line, value


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x1b]0;title\x07",
        "\x9b31m",
        "a\rb",
        "\x00\x08\x7f",
        "\u202eevil",
        "\u2066x\u2069",
        "\u2028",
        "\ud800",
        "\u200b\ufeff",
        "\U000e0041",
    ],
    ids=ascii,
)
def test_what_moves_a_terminal_or_cannot_be_printed_is_escaped(text: str) -> None:
    for printed in (line(text), block(text), value(text), value([text]), harmless(text)):
        assert printed.isprintable(), ascii(printed)
        printed.encode()


def test_no_control_or_format_character_or_surrogate_passes() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t":
            assert line(character) != character, hex(code)


def test_ordinary_text_of_any_script_stays() -> None:
    text = "Grüße, 世界, שלום, नमस्ते, 🙂 \\ \" '"
    assert line(text) == block(text) == text


def test_a_line_is_one_line_and_a_block_keeps_its_lines() -> None:
    assert line("a\nb\tc") == "a\\nb c"
    assert block("a\nb") == "a\nb"


def test_what_is_long_is_shortened_and_says_by_how_much() -> None:
    huge = "x" * 10_000_000
    assert len(line(huge)) <= 400
    assert "9,999," in line(huge)
    assert len(value(huge)) <= 60
    assert len(block(huge)) <= 8_000
    assert len(line("\x1b" * 1_000_000)) <= 1_600, "escapes are longer than what they stand for, four times at most"


def test_a_value_that_json_cannot_say_is_still_printed() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert value(deep)
    assert value({1, 2})
    assert value(10**5_000)
    assert value("\ud800").isprintable()


def test_json_for_programs_is_whole_and_acts_on_no_terminal_either() -> None:
    said = "\x1b[2J \x9b31m \u202e \U000e0041 plain"
    text = json_text({"a": said, "long": "x" * 100_000})
    assert all(character.isprintable() or character == "\n" for character in text)
    assert json.loads(text) == {"a": said, "long": "x" * 100_000}
    assert json.loads(json_text(["\ud800"])) == ["\\ud800"]
