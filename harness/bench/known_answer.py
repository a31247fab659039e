"""One row of the table of known answers: what to run, and what the system's own documentation lets one expect of it."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.spec import RunSpec


class Row(msgspec.Struct, frozen=True):
    """What to run, and what is expected: "valid", "invalid" in at least one run, or "either" where a weakness is only made rarer.

    because: what the documentation at `source` says.
    """

    name: str
    spec: RunSpec
    expected: str
    because: str
    source: str


def known_answer(name: str, expected: str, because: str, source: str, **spec: Any) -> Row:
    """A row whose name begins with its target's. Unless `spec` says otherwise, 10 clients ask 100 times a second at most."""
    target = name.partition("-")[0]
    return Row(name, RunSpec(target=target, **{"rate_hz": 100.0, "concurrency": 10, **spec}), expected, because, source)
