"""Evidence of any other checker, a user's own among them: findings that a report can show without knowing the checker.

docs/checkers.md shows how to write a checker.
"""

from __future__ import annotations

from typing import Any

from checkers.evidence.kind import Kind, Part


class OpNote(Part, frozen=True):
    """An operation that bears on a finding. index: of either of its ops in the history. note: why, in a few words."""

    index: int
    note: str = ""


class Edge(Part, frozen=True):
    """One operation comes before another. before, after: the `index` of either of their ops. why: such as "process 3 read
    it"."""

    before: int
    after: int
    why: str


class Table(Part, frozen=True):
    """columns: their titles. rows: JSON-like values, one for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} values for {len(self.columns)} columns")


class Finding(Part, frozen=True):
    """One thing that is wrong.

    words: one sentence. key: of the object it is about. ops: the operations that show it, edges: the order between
    them that cannot be. nodes: those concerned. tables: whatever else is to be seen.
    """

    words: str
    key: Any = None
    ops: tuple[OpNote, ...] = ()
    edges: tuple[Edge, ...] = ()
    nodes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


class Findings(Kind, frozen=True, tag="findings"):
    """findings: the gravest first."""

    findings: tuple[Finding, ...] = ()
