"""What a Raft node traces of itself, for invariants and people, as events of histories.tracing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from histories.tracing import (
    TAIL_MAX,
    Appended,
    Applied,
    Committed,
    Custom,
    Installed,
    Recovered,
    Role,
    Snapshotted,
    Truncated,
    Voted,
)
from targets.core import NodeId, Trace
from targets.raft.configuration import Configuration
from targets.raft.log import Entry, Log
from targets.raft.snapshots import Snapshot


def role(role: str, term: int) -> Trace:
    """The node is now a follower, pre-candidate, candidate or leader, in this term."""
    return Trace(Role(role, term))


def recovered(log: Log, vote: tuple[int, NodeId | None] | None = None) -> Trace:
    """The disk holds this log, behind a snapshot of what is before it, and this vote of this term."""
    terms = []
    index = log.base_index + 1
    while index <= log.last_index:
        term = log.term_at(index)
        terms.append((index, term))
        # Terms that fall along the log are a broken disk's: such a node starts and says so, and never searches for ever.
        index = max(index, log.last_index_of_term(term)) + 1
    tail = log.entries_from(max(log.base_index + 1, log.last_index + 1 - TAIL_MAX), TAIL_MAX)
    commands = tuple([entry.command for entry in tail])
    return Trace(Recovered(log.last_index, tuple(terms), commands, log.base_index, log.base_term, vote))


def snapshotted(snapshot: Snapshot) -> Trace:
    """The node's snapshot now stands for its log up to this entry."""
    return Trace(Snapshotted(snapshot.last_index, snapshot.last_term, snapshot.digest))


def installed(snapshot: Snapshot) -> Trace:
    """Another node's snapshot takes the place of this node's whole log and state."""
    return Trace(Installed(snapshot.last_index, snapshot.last_term, snapshot.digest))


def vote(term: int, candidate: NodeId) -> Trace:
    """The node gives its vote of `term`."""
    return Trace(Voted(term, candidate))


def appends(index: int, entries: Sequence[Entry[Any]]) -> list[Trace]:
    """The log, which ended before `index`, now goes on with `entries`."""
    if len(entries) == 1:
        return [Trace(Appended(index, entries[0].term, (entries[0].command,)))]
    told = []
    for term, group in groupby(entries, key=lambda entry: entry.term):
        commands = tuple([entry.command for entry in group])
        told.append(Trace(Appended(index, term, commands)))
        index += len(commands)
    return told


def truncate(from_index: int) -> Trace:
    """The log now ends before `from_index`."""
    return Trace(Truncated(from_index))


def commit(index: int) -> Trace:
    """The node knows that everything up to `index` is committed."""
    return Trace(Committed(index))


def configured(index: int, term: int, config: Configuration) -> Trace:
    """From now on the node counts on these members. index, term: of the entry that says so; 0: of none, or a snapshot stands for
    it."""
    fields = {
        "index": index,
        "term": term,
        "voters": sorted(config.voters),
        "learners": sorted(config.learners),
        "joining": list(config.joining),
    }
    return Trace(Custom("configured", fields))


def rejoining(identity: int) -> Trace:
    """The node lost its data, and is another member from now on."""
    return Trace(Custom("rejoining", {"identity": identity}))


def handing_over(to: NodeId, match_index: int, last_index: int) -> Trace:
    """The leader asks this node to stand, which is known to hold its log up to match_index."""
    return Trace(Custom("handing-over", {"to": to, "match_index": match_index, "last_index": last_index}))


def apply(first: int, last: int, log: Log) -> Trace:
    """The entries first..last go into the state machine; after a restart this begins again behind the snapshot."""
    entry = log.entry(last)
    return Trace(Applied(first, last, entry.term, entry.command))


def acknowledged_unsent(source: NodeId, sequence: int, sent: int, match_index: int, last_index: int) -> Trace:
    """An answer counts for more than this leadership has sent. No message of a sound cluster brings this about."""
    fields = {
        "source": source,
        "sequence": sequence,
        "sent": sent,
        "match_index": match_index,
        "last_index": last_index,
    }
    return Trace(Custom("acknowledged-unsent", fields))
