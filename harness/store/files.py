"""What may lie in a run's folder: files and folders. To open a named pipe would wait for ever, and a device has no end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def regular(path: Path) -> Path:
    """The path itself, which a reader may open now. Raises OSError where it leads to a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except OSError:  # To open it says better what is wrong with it, or that it is missing.
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, where a file was expected", str(path))
    return path
