"""What the rules of this package share: a violation as data, and the shape of a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

Handler = Callable[[int, str, dict[str, Any]], "Violation | None"]
"""(time ns, node, fields) of one trace record -> what is wrong now, if anything."""


class Violation(msgspec.Struct, frozen=True):
    """A rule was broken.

    rule: its name, such as "election-safety". words: one sentence. time: ns, of the record that showed it. nodes: those that
    contradict each other. evidence: JSON-like.
    """

    rule: str
    words: str
    time: int
    nodes: tuple[str, ...]
    evidence: dict[str, Any]


class Rule(Protocol):
    """One invariant, watched online. `handlers`: kind of trace record -> what to do with it."""

    name: str

    @property
    def handlers(self) -> Mapping[str, Handler]: ...
