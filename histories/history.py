"""A whole history: the ops in order, and the questions that checkers ask of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, overload

from histories.columns import BY_NEMESIS, INVOKE, OpColumns
from histories.op import Op, OpType, Process, freeze

_T = TypeVar("_T")


class Completions(Mapping[int, int]):
    """Position of each invocation -> position of its completion; one that never completed is not in it."""

    def __init__(self, ends: array[int], count: int) -> None:
        self._ends = ends
        self._count = count

    def __getitem__(self, position: int) -> int:
        end = self._ends[position] if 0 <= position < len(self._ends) else -1
        if end < 0:
            raise KeyError(position)
        return end

    @overload
    def get(self, position: int, /) -> int | None: ...
    @overload
    def get(self, position: int, /, default: int | _T) -> int | _T: ...
    def get(self, position: int, /, default: int | _T | None = None) -> int | _T | None:
        """Without the detour over an exception."""
        end = self._ends[position] if 0 <= position < len(self._ends) else -1
        return default if end < 0 else end

    def __iter__(self) -> Iterator[int]:
        return (position for position, end in enumerate(self._ends) if end >= 0)

    def __len__(self) -> int:
        return self._count


class History(Sequence[Op]):
    """Ops in the order in which they happened; immutable. A long history that was read from a file keeps them as columns.

    Construction does not judge: histories.wellformed says whether the rules are kept, and readers of files refuse what
    breaks them. Everything derived here assumes a well-formed history.
    """

    def __init__(self, ops: Iterable[Op]) -> None:
        self.ops: tuple[Op, ...] | OpColumns = ops if isinstance(ops, OpColumns) else tuple(ops)
        self._remembered: dict[Hashable, Any] = {}

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once for each key while the history lives: what several checkers derive from it.

        It must depend on the history and the key alone, and nobody may change it. An exception of `make` passes, and is not kept.
        """
        if key not in self._remembered:
            self._remembered[key] = make()
        found: _T = self._remembered[key]
        return found

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
    def completions(self) -> Completions:
        """Position of each invocation -> position of its completion; one that never completed is not in it."""
        ends = array("i", [-1]) * len(self.ops)
        open_at: dict[Process, int] = {}
        count = 0
        for position, (process, is_invocation) in enumerate(self._begins()):
            if is_invocation:
                open_at[process] = position
            elif process in open_at:
                ends[open_at.pop(process)] = position
                count += 1
        return Completions(ends, count)

    def _begins(self) -> Iterator[tuple[Any, bool]]:
        """Of each op: whose it is, and whether it is an invocation."""
        if isinstance(self.ops, OpColumns):
            return ((process, type == INVOKE) for process, type in zip(self.ops.process, self.ops.type, strict=True))
        return ((op.process, op.type == "invoke") for op in self.ops)

    def pairs(self) -> Iterator[tuple[Op, Op | None]]:
        """Each invocation with its completion, or None, in order of invocation."""
        for position, op in enumerate(self.ops):
            if op.type == "invoke":
                end = self.completions.get(position)
                yield op, None if end is None else self.ops[end]

    def clients(self) -> History:
        """Without the nemesis."""
        if isinstance(self.ops, OpColumns):
            positions = array("i", (i for i, process in enumerate(self.ops.process) if process != BY_NEMESIS))
            return History(self.ops.picked(positions))
        return History(op for op in self.ops if op.is_client)

    def nemesis(self) -> History:
        """Only the nemesis."""
        if isinstance(self.ops, OpColumns):
            return History(self.ops[i] for i, process in enumerate(self.ops.process) if process == BY_NEMESIS)
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
