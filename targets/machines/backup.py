"""What backups of the targets share: how their text is read, and how far a restored cluster begins above the one it comes from.

A target that is `Restorable` (targets/target.py) gives a backup in *pieces*, a text for each node that was asked. A restore writes
records of the pieces onto the disks of nodes that do not run, and these begin anew.
"""

from __future__ import annotations

from typing import Annotated, Protocol, TypeVar

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]

AHEAD = 1_000_000
"""The terms or ballots of a restored cluster begin so much above those of the backup, and of the restore before it: more elections
than any cluster has between a backup and its end."""

Piece = TypeVar("Piece")


class Answered(Protocol):
    """What a node answers to the request for a backup. backup: a JSON text, "" where there is none."""

    @property
    def status(self) -> str: ...

    @property
    def backup(self) -> str: ...


def piece_of(answer: Answered, who: str) -> str:
    """The backup in the answer. Raises ValueError, which names who answered, where there is none."""
    if answer.status != "ok" or not answer.backup:
        raise ValueError(f"{who} answered {answer.status}")
    return answer.backup


def decoded(text: str, kind: type[Piece]) -> Piece:
    """The text as a value of this type. Raises ValueError where it is none."""
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
