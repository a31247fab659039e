"""Packs the operations of a history into a few megabytes: one column for each field, texts kept once, integers as byte planes.

A page unpacks it with the browser's own inflate. static/columns.js is the other half.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from histories.history import History
from histories.op import Op
from histories.printing import line, value

TEXT_MAX = 160
"""Characters of a value, key or error; the history has it whole."""

PROCESS_MAX = 1 << 40
NO_INDEX = 0
"""In the columns of texts: there is none; the texts count from 1."""

TYPES = {"ok": 0, "fail": 1, "info": 2}
COMPRESSION_LEVEL = 6


class Column(msgspec.Struct, frozen=True):
    """How a column stands in the unpacked bytes: `planes` arrays of `count` bytes, the lowest byte first. is_delta: each number is
    the difference from the one before it."""

    name: str
    planes: int
    is_delta: bool


class PackedOps(msgspec.Struct, frozen=True):
    """count: of client operations, in order of invocation. texts: what the columns of texts index, from 1. packed: the columns,
    one after another, deflated."""

    count: int
    columns: tuple[Column, ...]
    texts: tuple[str, ...]
    packed: bytes
    end_ns: int


class _Texts:
    """Gives each distinct text a number from 1."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._scalars: dict[tuple[type, Any], int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers) + 1)

    def of_value(self, found: Any) -> int:
        """The number of the value's short JSON; 0 for None."""
        if found is None:
            return NO_INDEX
        if found.__class__ in (int, str, bool):
            known = self._scalars.get((found.__class__, found))
            if known is not None:
                return known
            number = self.number(value(found, TEXT_MAX))
            if found.__class__ is not str or len(found) <= TEXT_MAX:
                self._scalars[found.__class__, found] = number
            return number
        return self.number(value(found, TEXT_MAX))


def pack_ops(history: History, nodes: Sequence[str]) -> PackedOps:
    """Every client operation of the history. An operation that never completed is of type info and has no `complete`.

    Columns: begin, took (ns; of an open operation up to the end of the history), process, node (index in `nodes` from 1), f, key,
    value, result, error (texts), type (ok 0, fail 1, info 2), invoke (index), complete (its distance from `invoke`, 0: never).
    """
    texts = _Texts()
    node_numbers = {node: number for number, node in enumerate(nodes, 1)}
    rows: list[tuple[int, ...]] = []
    end_ns = max((op.time for op in history), default=0)
    pairs = history.pairs()
    for begun, ended in pairs:
        if begun.is_client:
            rows.append(_row(begun, ended, end_ns, texts, node_numbers))
    names = ("begin", "took", "process", "node", "f", "key", "value", "result", "error", "type", "invoke", "complete")
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(names))
    table = table[np.argsort(table[:, 0], kind="stable")]
    columns, planes = [], []
    for number, name in enumerate(names):
        numbers = np.ascontiguousarray(table[:, number])
        deltas = np.diff(numbers, prepend=0)
        is_delta = name == "begin" or (name == "invoke" and bool((deltas >= 0).all()))
        content = deltas if is_delta else numbers
        width = max(1, (int(content.max(initial=0)).bit_length() + 7) // 8)
        columns.append(Column(name, width, is_delta))
        planes += [((content >> (8 * place)) & 255).astype(np.uint8).tobytes() for place in range(width)]
    packed = zlib.compress(b"".join(planes), COMPRESSION_LEVEL)
    return PackedOps(len(rows), tuple(columns), tuple(texts.numbers), packed, end_ns)


def _row(begun: Op, ended: Op | None, end_ns: int, texts: _Texts, nodes: dict[str, int]) -> tuple[int, ...]:
    node = begun.node if ended is None or ended.node is None else ended.node
    result = None if ended is None or ended.type != "ok" or ended.value == begun.value else ended.value
    return (
        max(0, begun.time),
        max(0, (end_ns if ended is None else ended.time) - begun.time),
        begun.process if isinstance(begun.process, int) and 0 <= begun.process < PROCESS_MAX else PROCESS_MAX,
        nodes.get(node, 0) if node is not None else 0,
        texts.number(line(begun.f, TEXT_MAX)),
        texts.of_value(begun.key),
        texts.of_value(begun.value),
        texts.number("null") if result is None and _read_nothing(begun, ended) else texts.of_value(result),
        texts.of_value(None if ended is None else ended.error),
        2 if ended is None else TYPES[ended.type],
        begun.index,
        0 if ended is None else ended.index - begun.index,
    )


def _read_nothing(begun: Op, ended: Op | None) -> bool:
    """Whether an operation that asks without a value got None: "nothing is there" is an answer."""
    return ended is not None and ended.type == "ok" and begun.value is None and ended.value is None
