"""The replicated log in memory: entries numbered from 1, terms never falling from one to the next.

Other code reaches entries by index through these methods, so that a snapshot can replace a prefix without changing the callers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0)]

C = TypeVar("C")
"""The commands of the machine that is replicated: a Command or a union of them."""


class Entry(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The term in which a leader made it, and the command; None for the no-op that opens a term (Raft §8)."""

    term: Natural
    command: C | None = None


_term = attrgetter("term")


class Log:
    """Invariant: last_index == number of entries; last_term == term_at(last_index)."""

    __slots__ = ("_entries", "last_index", "last_term")

    def __init__(self) -> None:
        self._entries: list[Entry[Any]] = []
        self.last_index = 0
        self.last_term = 0

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`; 0 at index 0, before the first. Raises IndexError beyond the last."""
        return self._entries[index - 1].term if index else 0

    def entry(self, index: int) -> Entry[Any]:
        """The entry at `index`, from 1 to last_index."""
        return self._entries[index - 1]

    def entries_from(self, index: int, count_max: int) -> tuple[Entry[Any], ...]:
        """Up to `count_max` entries from `index` on; empty when the log ends before it."""
        return tuple(self._entries[index - 1 : index - 1 + count_max])

    def count_present(self, index: int, entries: Sequence[Entry[Any]]) -> int:
        """How many of `entries`, to stand from `index` on, are there already, up to the first that is not."""
        own, last = self._entries, self.last_index
        for count, entry in enumerate(entries):
            at = index + count
            if at > last or own[at - 1].term != entry.term:
                return count
        return len(entries)

    def append(self, entries: Sequence[Entry[Any]]) -> None:
        """Add `entries`, at least one, behind the last."""
        self._entries.extend(entries)
        self.last_index += len(entries)
        self.last_term = entries[-1].term

    def truncate(self, from_index: int) -> None:
        """Remove the entry at `from_index`, at least 1, and all behind it."""
        del self._entries[from_index - 1 :]
        self.last_index = len(self._entries)
        self.last_term = self.term_at(self.last_index)

    def first_index_of_term(self, term: int) -> int:
        """The first index whose term is `term`, or above it where there is none."""
        return bisect_left(self._entries, term, key=_term) + 1

    def last_index_of_term(self, term: int) -> int:
        """The last index whose term is `term`; 0 when there is none."""
        index = bisect_right(self._entries, term, key=_term)
        return index if index and self._entries[index - 1].term == term else 0
