"""A whole history: the ops in order, and the questions that checkers ask of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from histories.op import Op, OpType, Process, freeze


class History(Sequence[Op]):
    """Ops in the order in which they happened; immutable.

    Construction does not judge: histories.wellformed says whether the rules are kept, and readers of files refuse what
    breaks them. Everything derived here assumes a well-formed history.
    """

    def __init__(self, ops: Iterable[Op]) -> None:
        self.ops: tuple[Op, ...] = tuple(ops)

    def __len__(self) -> int:
        return len(self.ops)

    @overload
    def __getitem__(self, position: int) -> Op: ...
    @overload
    def __getitem__(self, position: slice) -> History: ...
    def __getitem__(self, position: int | slice) -> Op | History:
        return History(self.ops[position]) if isinstance(position, slice) else self.ops[position]

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.ops == other.ops

    def __hash__(self) -> int:
        return hash(len(self.ops))

    def __repr__(self) -> str:
        return f"History({len(self.ops)} ops)"

    @cached_property
    def completions(self) -> dict[int, int]:
        """Position of each invocation -> position of its completion; one that never completed is not in it."""
        pairs: dict[int, int] = {}
        open_at: dict[Process, int] = {}
        for position, op in enumerate(self.ops):
            if op.type == "invoke":
                open_at[op.process] = position
            elif op.process in open_at:
                pairs[open_at.pop(op.process)] = position
        return pairs

    def pairs(self) -> Iterator[tuple[Op, Op | None]]:
        """Each invocation with its completion, or None, in order of invocation."""
        for position, op in enumerate(self.ops):
            if op.type == "invoke":
                end = self.completions.get(position)
                yield op, None if end is None else self.ops[end]

    def clients(self) -> History:
        """Without the nemesis."""
        return History(op for op in self.ops if op.is_client)

    def nemesis(self) -> History:
        """Only the nemesis."""
        return History(op for op in self.ops if not op.is_client)

    def select(self, type: OpType | None = None, f: str | None = None) -> History:
        """Ops of this type and f; None: any."""
        return History(op for op in self.ops if type in (None, op.type) and f in (None, op.f))

    def values(self, type: OpType, f: str) -> set[Any]:
        """The values of the selected ops, made hashable (lists as tuples)."""
        return {freeze(op.value) for op in self.ops if op.type == type and op.f == f}

    def by_process(self) -> dict[Process, History]:
        """Process -> its ops, in order of first appearance."""
        groups: dict[Process, list[Op]] = {}
        for op in self.ops:
            groups.setdefault(op.process, []).append(op)
        return {process: History(ops) for process, ops in groups.items()}

    def by_key(self) -> dict[Any, History]:
        """Key (hashable) -> its client ops, in order of first appearance."""
        groups: dict[Any, list[Op]] = {}
        for op in self.ops:
            if op.is_client:
                groups.setdefault(freeze(op.key), []).append(op)
        return {key: History(ops) for key, ops in groups.items()}
