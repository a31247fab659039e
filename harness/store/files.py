"""What may lie in a run's folder: files and folders. To open a named pipe would wait for ever, and a device has no end. A file may
say that it is larger than any memory, and take no room on the disk.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

WHOLE_BYTES_MAX = 1 << 30
"""Of a file that is read as a whole."""
LINE_BYTES_MAX = 1 << 26
"""Of a line of a trace, or of a campaign's results."""


def regular(path: Path) -> Path:
    """The path itself, which a reader may open now. Raises OSError where it leads to a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except OSError:  # To open it says better what is wrong with it, or that it is missing.
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, where a file was expected", str(path))
    return path


def whole(path: Path) -> Path:
    """The path itself, whose bytes a reader may take all at once now. Raises OSError as `regular` does, and for a file that is too
    large for that."""
    regular(path)
    try:
        size = path.stat().st_size
    except OSError:
        return path
    if size > WHOLE_BYTES_MAX:
        raise OSError(errno.EFBIG, f"{size:,} bytes, and {WHOLE_BYTES_MAX:,} are the most that are read", str(path))
    return path


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of the file. One that is longer than any line of ours is cut, and what follows it is left out."""
    while text := file.readline(LINE_BYTES_MAX):
        yield text
        if len(text) == LINE_BYTES_MAX:
            return
