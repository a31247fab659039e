"""A long history of ours is read into columns, block by block: no more than one block of it is ever there as ops.

Only lines as `jsonl.Writer` writes them are taken; about any other, `jsonl` itself knows what to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from gzip import GzipFile
from io import BytesIO
from typing import BinaryIO, cast

import msgspec

from histories.columns import OpColumns
from histories.json_text import FILE_DEPTH_MAX, may_have_deeper_line
from histories.op import Op
from histories.repeated_keys import lines_with_repeated_keys
from histories.wellformed import Problem, problems

_PACKED = 10
"""Gzip packs a history to about a tenth."""


class _Unusual(Exception):
    """A line needs a closer look than a long history gets."""


def size_of(file: BinaryIO) -> int:
    """About how many bytes the file holds, unpacked; 0 where nobody knows."""
    if isinstance(file, BytesIO):
        return file.getbuffer().nbytes
    try:
        size = os.fstat(file.fileno()).st_size
    except OSError:
        return 0
    return size * _PACKED if isinstance(cast(object, file), GzipFile) else size


def read_columns(
    file: BinaryIO, block_bytes: int, line_bytes_max: int, is_cut: Callable[[bytes], bool]
) -> tuple[OpColumns | None, bool, list[Problem]]:
    """All ops from here on, whether the last line was cut (and left out), and every broken rule of histories.wellformed.

    is_cut: whether a last line without its end is the beginning of an op. None for the ops: a line is unusual, and the file has to
    be read again.
    """
    columns = OpColumns()
    decode = msgspec.json.Decoder(Op).decode_lines
    was_cut = False

    def taken(lines: bytes) -> list[Op]:
        if may_have_deeper_line(lines, FILE_DEPTH_MAX):
            raise _Unusual
        try:
            found = decode(lines)
            if len(found) != lines.count(b"\n"):  # decode_lines passes over empty lines.
                raise _Unusual
            if next(lines_with_repeated_keys(lines, found), None) is not None:
                raise _Unusual
            columns.extend(found)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
            raise _Unusual from None
        return found

    def ops() -> Iterator[Op]:
        nonlocal was_cut
        rest = b""
        while block := file.read(block_bytes):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if len(rest) > line_bytes_max:
                raise _Unusual
            yield from taken(lines + newline)
        if rest:
            was_cut = is_cut(rest)
            if not was_cut:
                yield from taken(rest + b"\n")

    try:
        broken = problems(ops(), lines=2)
    except _Unusual:
        return None, False, []
    return columns, was_cut, broken
