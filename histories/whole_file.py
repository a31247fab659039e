"""Reads a file that somebody named as a whole. It may be a pipe, such as a shell's `<(...)`, or a device that has no end."""

from __future__ import annotations

import errno
from pathlib import Path

BYTES_MAX = 1 << 30
"""More than any file of ours that is read at once."""
_BLOCK_BYTES = 1 << 20


def read_whole(path: Path) -> bytes:
    """What the file holds. Raises OSError, also where that is more than BYTES_MAX."""
    data = bytearray()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            data += block
            if len(data) > BYTES_MAX:
                raise OSError(
                    errno.EFBIG, f"more than {BYTES_MAX:,} bytes, which are the most that are read", str(path)
                )
    return bytes(data)
