"""The file in which a long command keeps what has ended: one line of JSON for each run. Started again, it goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def read(path: Path, kind: type[T]) -> list[T]:
    """What has ended so far, in order; nothing where there is no file. A last line that was cut is no line. Raises
    msgspec.DecodeError at a line that is not one of these."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=kind) for line in lines[:-1] if line]


def add(path: Path, ended: msgspec.Struct) -> None:
    """One more run has ended. A last line that was cut gives way to it. Raises OSError."""
    with path.open("ab+", buffering=0) as file:
        file.seek(0)
        whole, _, cut = file.read().rpartition(b"\n")
        if cut:
            file.truncate(len(whole) + 1 if whole else 0)
        file.write(msgspec.json.encode(ended) + b"\n")
