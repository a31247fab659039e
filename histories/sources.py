"""Where the bytes of a history come from: a file, a gzip file, or standard input.

The first two bytes say whether the rest is gzip, whatever the name is: a `.gz` that a browser has already unpacked is
read as it is, and so is gzip on standard input.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

import msgspec

from histories.wellformed import MalformedHistory, Problem

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"

_BLOCK_BYTES = 1 << 22
TEXT_BYTES_MAX = 1 << 30
"""Of a format that is read whole, unpacked: a few kilobytes of gzip data may claim to be more than any memory holds."""


class Source(msgspec.Struct, frozen=True):
    """An open history file. name: for messages. file: its unpacked bytes; readers may rewind it."""

    name: str
    file: BinaryIO


@contextmanager
def opened(place: str | PathLike[str] | Source) -> Iterator[Source]:
    """The source at that path, at its beginning; `-` is standard input, read to its end. A Source is rewound.

    **Raises** OSError when it cannot be read, also from the body; MalformedHistory when its gzip data is damaged.
    """
    if isinstance(place, Source):
        place.file.seek(0)
        yield place
        return
    name = name_of(place)
    try:
        with _raw(place) as raw:
            is_packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            if is_packed:
                with gzip.open(raw) as unpacked:
                    yield Source(name, unpacked)  # type: ignore[arg-type]  # A BinaryIO in all but name.
            else:
                yield Source(name, raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        detail = "its end is missing" if isinstance(error, EOFError) else str(error)
        raise MalformedHistory([Problem(0, "gzip", f"the gzip data is damaged: {detail}", 1)], name) from error


def name_of(place: str | PathLike[str] | Source) -> str:
    """The place as messages call it."""
    if isinstance(place, Source):
        return place.name
    path = os.fspath(place)
    return "standard input" if path == STANDARD_INPUT else path


def _raw(place: str | PathLike[str]) -> BinaryIO:
    if os.fspath(place) == STANDARD_INPUT:
        # Kept whole: its beginning is read twice, once to tell the format.
        return io.BytesIO(sys.stdin.buffer.read())
    file = open(place, "rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:  # A pipe with a name, such as a shell's `<(...)`.
        return io.BytesIO(file.read())


def read_text(source: Source) -> str:
    """The source's text. **Raises** OSError, and MalformedHistory with the line where it is not UTF-8, or when it is too long."""
    data = bytearray()  # A buffered reader takes as much memory as it is asked for, whatever is there.
    while len(data) <= TEXT_BYTES_MAX and (block := source.file.read(_BLOCK_BYTES)):
        data += block
    if len(data) > TEXT_BYTES_MAX:
        raise MalformedHistory([Problem(0, "syntax", f"more than {TEXT_BYTES_MAX >> 30} GiB of text", 1)], source.name)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MalformedHistory([Problem(0, "syntax", f"not UTF-8: {error.reason}", line)], source.name) from None
