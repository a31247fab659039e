"""What backups of the targets share: how their text is read, and how far a restored cluster begins above the one it comes from.

A target that is `Restorable` (targets/target.py) gives a backup in *pieces*, a text for each node that was asked. A restore writes
records of the pieces onto the disks of nodes that do not run, and these begin anew.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]

AHEAD = 1_000_000
"""The terms or ballots of a restored cluster begin so much above those of the backup, and of the restore before it: more elections
than any cluster has between a backup and its end."""

Piece = TypeVar("Piece")


def decoded(text: str, kind: type[Piece]) -> Piece:
    """The text as a value of this type. Raises ValueError where it is none."""
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
