"""What a member traces of the slots of its log, and of answers. Slots in a row go into one event: a leader proposes, and a learner
learns, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from histories.tracing import Accepted, Chosen, Custom
from targets.core import NodeId, Trace
from targets.paxos.ballots import Ballot
from targets.paxos.multi.entries import Entry
from targets.paxos.multi.messages import AcceptReply


def accepted(slot: int, ballot: Ballot, entries: Sequence[Entry[Any]]) -> Trace:
    """The acceptor holds these entries, of which there is at least one, in the slots from `slot` on."""
    first = entries[0].command
    if len(entries) == 1:
        return Trace(Accepted(slot, ballot, first))
    return Trace(Accepted(slot, ballot, first, tuple([entry.command for entry in entries[1:]])))


def chosen(slot: int, entries: Sequence[Entry[Any]]) -> Trace:
    """The learner knows that these entries, of which there is at least one, are chosen for the slots from `slot` on."""
    first = entries[0].command
    if len(entries) == 1:
        return Trace(Chosen(slot, first))
    return Trace(Chosen(slot, first, tuple([entry.command for entry in entries[1:]])))


def rows(slots: Sequence[tuple[int, Entry[Any]]]) -> list[tuple[int, list[Entry[Any]]]]:
    """Slots in a row together: (the first of them, their entries). slots: ascending."""
    if slots and slots[-1][0] - slots[0][0] == len(slots) - 1:  # As nearly always.
        return [(slots[0][0], [entry for _, entry in slots])]
    found: list[tuple[int, list[Entry[Any]]]] = []
    due = -1
    for slot, entry in slots:
        if slot == due:
            found[-1][1].append(entry)
        else:
            found.append((slot, [entry]))
        due = slot + 1
    return found


def acknowledged_unsent(source: NodeId, reply: AcceptReply, sent: int, last_slot: int) -> Trace:
    """An answer counts for more messages than this leadership has sent. No message of a sound cluster brings this about."""
    fields = {
        "source": source,
        "sequence": reply.number,
        "sent": sent,
        "match_index": max(0, reply.slot + reply.count - 1),
        "last_index": last_slot,
    }
    return Trace(Custom("acknowledged-unsent", fields))
