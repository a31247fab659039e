"""The replicated log in memory: entries numbered from 1, terms never falling from one to the next.

A snapshot stands for the entries up to some index, and the log need not hold them any more (thesis §5.1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from targets.raft.configuration import Configuration

Natural = Annotated[int, msgspec.Meta(ge=0)]

C = TypeVar("C")
"""The commands of the machine that is replicated: a Command or a union of them."""


class Entry(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The term in which a leader made it, and the command; None for the no-op that opens a term (Raft §8), and for a change of the
    membership: `config` holds from this entry on (thesis §4.1)."""

    term: Natural
    command: C | None = None
    config: Configuration | None = None


_term = attrgetter("term")


class Log:
    """The entries behind `base_index`. base_term: the term of the entry there; 0 at index 0, before the first.

    config, config_index: the last configuration in it, committed or not, and where it stands. None, and 0: the log has none, also
    not in what the snapshot stands for; the one that the cluster began with holds.

    Invariant: last_index == base_index + number of entries; last_term == term_at(last_index).
    """

    __slots__ = (
        "_configs",
        "_entries",
        "base_index",
        "base_term",
        "config",
        "config_index",
        "last_index",
        "last_term",
    )

    def __init__(self, base_index: int = 0, base_term: int = 0, base_config: Configuration | None = None) -> None:
        """An empty log behind a snapshot that ends at `base_index`, where `base_config` holds."""
        self._entries: list[Entry[Any]] = []
        self._configs: list[tuple[int, Configuration | None]] = [
            (0 if base_config is None else base_index, base_config)
        ]
        self.config_index, self.config = self._configs[0]
        self.base_index = self.last_index = base_index
        self.base_term = self.last_term = base_term

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, from base_index on. Raises IndexError beyond the last."""
        at = index - self.base_index
        if at > 0:
            return self._entries[at - 1].term
        assert at == 0, f"entry {index} is in a snapshot; the log begins behind {self.base_index}"
        return self.base_term

    def entry(self, index: int) -> Entry[Any]:
        """The entry at `index`, from base_index + 1 to last_index."""
        assert index > self.base_index, f"entry {index} is in a snapshot; the log begins behind {self.base_index}"
        return self._entries[index - self.base_index - 1]

    def entries_from(self, index: int, count_max: int) -> tuple[Entry[Any], ...]:
        """Up to `count_max` entries from `index` on, which is behind base_index; empty when the log ends before it."""
        at = index - self.base_index - 1
        assert at >= 0, f"entry {index} is in a snapshot; the log begins behind {self.base_index}"
        return tuple(self._entries[at : at + count_max])

    def count_present(self, index: int, entries: Sequence[Entry[Any]]) -> int:
        """How many of `entries`, to stand from `index` on, are there already, up to the first that is not."""
        own, last, offset = self._entries, self.last_index, self.base_index + 1
        for count, entry in enumerate(entries):
            at = index + count
            if at > last or own[at - offset].term != entry.term:
                return count
        return len(entries)

    def append(self, entries: Sequence[Entry[Any]]) -> None:
        """Add `entries`, at least one, behind the last."""
        self._entries.extend(entries)
        self.last_index += len(entries)
        self.last_term = entries[-1].term
        for at, entry in enumerate(entries, self.last_index + 1 - len(entries)):
            if entry.config is not None:
                self._configs.append((at, entry.config))
                self.config_index, self.config = at, entry.config

    def term_at_config(self) -> int:
        """The term of the entry that holds the last configuration; 0 where a snapshot stands for it, or the log has none."""
        return self.term_at(self.config_index) if self.config_index > self.base_index else 0

    def config_at(self, index: int) -> Configuration | None:
        """The configuration that the entries up to `index`, from base_index on, say."""
        return next((config for at, config in reversed(self._configs) if at <= index), None)

    def config_before(self) -> Configuration | None:
        """The configuration that held before the last one; None: that with which the cluster began."""
        return self._configs[-2][1] if len(self._configs) > 1 else None

    def truncate(self, from_index: int) -> None:
        """Remove the entry at `from_index`, which is behind base_index, and all behind it."""
        assert from_index > self.base_index, f"entry {from_index} is in a snapshot, and so committed"
        del self._entries[from_index - self.base_index - 1 :]
        self.last_index = self.base_index + len(self._entries)
        self.last_term = self.term_at(self.last_index)
        while self.config_index >= from_index:
            self._configs.pop()
            self.config_index, self.config = self._configs[-1]

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`, which a snapshot stands for; nothing where they are forgotten already."""
        if index > self.base_index:
            base_term = self.term_at(index)
            del self._entries[: index - self.base_index]
            self.base_index, self.base_term = index, base_term
            while len(self._configs) > 1 and self._configs[1][0] <= index:
                del self._configs[0]

    def first_index_of_term(self, term: int) -> int:
        """The first index behind base_index whose term is `term`, or above it where there is none."""
        return self.base_index + bisect_left(self._entries, term, key=_term) + 1

    def last_index_of_term(self, term: int) -> int:
        """The last index from base_index on whose term is `term`; 0 when there is none."""
        count = bisect_right(self._entries, term, key=_term)
        own_term = self._entries[count - 1].term if count else self.base_term
        return self.base_index + count if own_term == term else 0
