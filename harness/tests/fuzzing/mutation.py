"""Hostile bytes by mutation: whole examples, changed a few times, from a seed. Grammar errors alone would never reach what lies
behind the parser, so most changes move, repeat or nest pieces that mean something."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

BYTES_MAX = 1 << 16

TOKENS: Sequence[bytes] = (
    *(
        b'"',
        b"'",
        b"\\",
        b"[",
        b"]",
        b"{",
        b"}",
        b"(",
        b")",
        b"#{",
        b"#_",
        b"#a ",
        b":",
        b",",
        b" ",
        b"\n",
        b"\r\n",
        b"\0",
    ),
    *(
        b"null",
        b"nil",
        b"true",
        b"-",
        b"0",
        b"1",
        b"-1",
        b"1e999",
        b"1E-9999",
        b"0.1",
        b"1/0",
        b"1/3",
        b"1M",
        b"1e99999999999999999999M",
    ),
    *(
        b"9" * 19,
        b"9" * 400,
        b"9" * 5000,
        b"##NaN",
        b"##Inf",
        b"\\u0000",
        b"\\ud800",
        b"\\ud83d\\ude00",
        b"\\uffff",
        b"\\newline",
    ),
    *(
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\x1b[31m",
        "\u202e".encode(),
        "\u0661".encode(),
    ),
    *(
        b'"index"',
        b'"time"',
        b'"type"',
        b'"process"',
        b'"f"',
        b'"key"',
        b'"value"',
        b'"error"',
        b'"node"',
        b'"nemesis"',
    ),
    *(
        b":index",
        b":time",
        b":type",
        b":process",
        b":f",
        b":key",
        b":value",
        b":invoke",
        b":ok",
        b":fail",
        b":info",
        b":nemesis",
    ),
    *(b'"invoke"', b'"ok"', b'"fail"', b'"info"', b'"version"', b'"kind"', b'"status"', b"\x1f\x8b"),
)
NESTS: Sequence[tuple[bytes, bytes]] = (
    (b"[", b"]"),
    (b"(", b")"),
    (b'{"a":', b"}"),
    (b"{:a ", b"}"),
    (b"#{", b"}"),
    (b"#a ", b""),
    (b"[[],", b"]"),
    (b"", b"]"),
    (b"[", b""),
)
DEPTHS = (2, 63, 64, 65, 127, 128, 129, 198, 199, 200, 201, 330, 500, 1000, 5000)


def mutated(rng: Random, examples: Sequence[bytes]) -> bytes:
    """One of the examples, changed in one to eight places; at most BYTES_MAX bytes."""
    text = bytearray(rng.choice(examples))
    for _ in range(rng.randint(1, 8)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 0, 1, 1, 2, 8, 64)))
        match rng.randrange(9):
            case 0 if text:
                text[rng.randrange(len(text))] = rng.randrange(256)
            case 1:
                del text[start:end]
            case 2 | 3:
                text[start:end] = rng.choice(TOKENS)
            case 4:
                opening, closing = rng.choice(NESTS)
                depth = rng.choice(DEPTHS)
                text[start:end] = opening * depth + bytes(text[start:end]) + closing * depth
            case 5:
                text[start:start] = text[start:end] * rng.choice((1, 2, 100))
            case 6:
                other = rng.choice(examples)
                begin = rng.randrange(len(other) + 1)
                text[start:end] = other[begin : begin + rng.randrange(1, 200)]
            case 7:
                del text[start:]
            case _:
                lines = text.split(b"\n")
                rng.shuffle(lines)
                text = bytearray(b"\n".join(lines))
    return bytes(text[:BYTES_MAX])
