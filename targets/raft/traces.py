"""What a Raft node tells of itself, for invariants and people: the one place that fixes the words and fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from targets.core import NodeId, Trace
from targets.raft.log import Entry

_encode = msgspec.json.Encoder().encode


def digest(entry: Entry[Any]) -> str:
    """What the entry commands: text that is equal for equal commands."""
    return _encode(entry.command).decode() if entry.command is not None else "no-op"


def role(role: str, term: int) -> Trace:
    """The node is now a follower, pre-candidate, candidate or leader, in this term."""
    return Trace("role", {"role": role, "term": term})


def vote(term: int, candidate: NodeId) -> Trace:
    """The node gives its vote of `term`."""
    return Trace("vote", {"term": term, "for": candidate})


def appends(index: int, entries: Iterable[Entry[Any]]) -> list[Trace]:
    """The log, which ended before `index`, now goes on with `entries`."""
    return [
        Trace("append", {"index": at, "term": entry.term, "digest": digest(entry)})
        for at, entry in enumerate(entries, index)
    ]


def truncate(from_index: int) -> Trace:
    """The log now ends before `from_index`."""
    return Trace("truncate", {"from_index": from_index})


def commit(index: int) -> Trace:
    """The node knows that everything up to `index` is committed."""
    return Trace("commit", {"index": index})


def apply(index: int, entry: Entry[Any]) -> Trace:
    """The entry at `index` went into the state machine; after a restart this begins again at 1."""
    return Trace("apply", {"index": index, "term": entry.term, "digest": digest(entry)})
