"""Evidence of the protocol invariants: the rules that were watched, and the one that was broken."""

from __future__ import annotations

from typing import Any

from checkers.evidence.kind import Kind, Part


class Violation(Part, frozen=True):
    """A rule was broken.

    rule: its name, such as "election-safety". words: one sentence. time: ns, of the record that showed it. nodes: those
    that contradict each other. details: what the rule saw, to be shown by name.
    """

    rule: str
    words: str
    time: int
    nodes: tuple[str, ...]
    details: dict[str, Any]


class Invariants(Kind, frozen=True, tag="invariants"):
    """rules: the names of those that were watched. violation: the first one."""

    rules: tuple[str, ...]
    violation: Violation | None = None
