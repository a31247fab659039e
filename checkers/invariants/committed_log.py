"""The committed log of a cluster in bounded memory: the last entries in full, of each one before them a digest of eight bytes.

What a forgotten entry was can still be asked: its term is known, and a `Forgotten` command equals every command with its digest. So
each comparison that a rule makes finds what it found before; only the evidence can no longer show the command.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode

_UNKNOWN = -1
"""In the place of a digest: no trace told the entry, or its command has no JSON."""


def _digest(command: Any) -> int:
    """Equal for equal commands, in this process; of two that differ, equal once in 2^63."""
    try:
        return hash(_encode(command)) & 0x7FFF_FFFF_FFFF_FFFF
    except (TypeError, ValueError, OverflowError):
        return _UNKNOWN


class Forgotten:
    """Stands for a command that is not kept any more, and equals it."""

    __slots__ = ("digest",)

    def __init__(self, digest: int) -> None:
        self.digest = digest

    def __eq__(self, other: object) -> bool:
        digest = other.digest if isinstance(other, Forgotten) else _digest(other)
        return digest in (self.digest, _UNKNOWN)  # What cannot be compared is no contradiction.

    def __hash__(self) -> int:
        raise TypeError("it equals commands whose hashes it cannot know")

    def __repr__(self) -> str:
        return "a command that is not kept"


Entry = tuple[int, Any]
"""term, command; the command may be `Forgotten`."""

Whom = tuple[int, str]
"""The term in which a commitment was first seen, and the node that told it."""


class CommittedLog:
    """Entries by position, from 0: committed[i - 1] is the one at index i, or None where no trace told it.

    start: so many are forgotten. entries[k], whom[k]: the entry at position start + k, and where its commitment was first seen.
    """

    __slots__ = ("_digests", "_runs", "entries", "start", "whom")

    def __init__(self) -> None:
        self.start = 0
        self.entries: list[Entry | None] = []
        self.whom: list[Whom] = []
        self._digests = array("q")
        self._runs: list[tuple[int, int, Whom]] = []
        """Of the forgotten ones, each position where the entry's term or the commitment's changes: (position, the entry's
        term, what `whom` said there). A run keeps the first node of those that told it."""

    def __len__(self) -> int:
        return self.start + len(self.entries)

    def __getitem__(self, position: int) -> Entry | None:
        """Raises IndexError for a position outside the log."""
        at = position - self.start
        if at >= 0:
            return self.entries[at]
        if position < 0:
            raise IndexError(position)
        digest = self._digests[position]
        return None if digest == _UNKNOWN else (self._run(position)[1], Forgotten(digest))

    def _run(self, position: int) -> tuple[int, int, Whom]:
        return self._runs[bisect_right(self._runs, position, key=lambda run: run[0]) - 1]

    def seen_in(self, position: int) -> Whom:
        """Where the commitment of the entry at `position` was first seen."""
        at = position - self.start
        return self.whom[at] if at >= 0 else self._run(position)[2]

    def extend(self, entries: list[Entry | None], whom: Whom) -> None:
        """`whom` commits these as well."""
        self.entries += entries
        self.whom += [whom] * len(entries)

    def learn(self, position: int, entry: Entry | None) -> None:
        """The entry at `position`, which was not known, is this one. Nothing is learnt of what is forgotten."""
        if position >= self.start:
            self.entries[position - self.start] = entry

    def length_before(self, term: int) -> int:
        """How many entries are committed up to the last one whose commitment was first seen in a term before `term`."""
        for at in range(len(self.whom) - 1, -1, -1):
            if self.whom[at][0] < term:
                return self.start + at + 1
        end = self.start
        for position, _, (seen_term, _) in reversed(self._runs):
            if seen_term < term:
                return end
            end = position
        return 0

    def forget(self, count: int) -> None:
        """Keep only digests of the first `count` entries that are there in full."""
        runs, last = self._runs, self._runs[-1] if self._runs else None
        for position, (entry, whom) in enumerate(zip(self.entries[:count], self.whom[:count], strict=True), self.start):
            term = entry[0] if entry is not None else 0 if last is None else last[1]
            if last is None or last[1] != term or last[2][0] != whom[0]:
                last = (position, term, whom)
                runs.append(last)
            self._digests.append(_UNKNOWN if entry is None else _digest(entry[1]))
        del self.entries[:count], self.whom[:count]
        self.start += count
