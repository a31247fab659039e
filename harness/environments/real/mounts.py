"""What is mounted on this machine, as the kernel tells this process. Standard library only: a guard reads it on its own machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

TABLE = Path("/proc/self/mounts")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One file system. source: its name. place: where it is mounted."""

    source: str
    place: str
    kind: str


def read(table: Path = TABLE) -> list[Mount]:
    """All of them, the first one first. Names may hold any bytes; they are as the functions of `os` take them. Raises OSError."""
    lines = [line.split(b" ") for line in table.read_bytes().split(b"\n")]
    return [Mount(*(os.fsdecode(_plain(word)) for word in words[:3])) for words in lines if len(words) >= 3]


def _plain(word: bytes) -> bytes:
    """The kernel writes a space in a name as \\040."""
    return _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), word)
