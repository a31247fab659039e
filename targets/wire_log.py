"""What a real node sent to its peers and heard from them, for a space-time diagram: messages.jsonl beside its trace.

Entries have the fields of the simulation's message log (harness/environments/sim/message_log.py), so one page draws both. A number
pairs a message with its arrival: the sender puts it into a header, and an answer has that of its request with ANSWER added. Off by
default: it is many times as long as the history. A node keeps the latest SEGMENT_BYTES * (SEGMENTS_KEPT + 1) of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from targets.journal import Journal

VARIABLE = "THEMIS_MESSAGES"
"""In a node's environment: "1" where it is to log its messages."""

FILE = "messages.jsonl"
SEGMENT_BYTES = 64 << 20
SEGMENTS_KEPT = 3
"""Of the closed segments beside the file (histories.tracing.segment_name)."""
HEADER = "Themis-Message"
"""Carries the number of a message."""

ANSWER = 1 << 52
"""Added to the number of a request: its answer's. Numbers stay below 2**53, which a browser holds exactly."""

_COUNT_BITS, _LIFE_BITS = 30, 12


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing that happened. kind: send, deliver or drop (a send whose answer never came), persist, start, request or reply.

    time: ns since the run began. peer: the other end. what: the type of the message or record. number: pairs a send with its
    arrival. why: of a drop, in a few words.
    """

    time: int
    kind: str
    node: str
    peer: str = ""
    what: str = ""
    number: int = 0
    why: str = ""
    body: Any = None


class WireLog:
    """Writes the entries of one process of a node. members: all nodes, this one included, in the same order everywhere."""

    def __init__(self, journal: Journal, node: str, members: Sequence[str], incarnation: int) -> None:
        self._journal = journal
        self._node = node
        life = incarnation % (1 << _LIFE_BITS)
        self._next = ((members.index(node) << _LIFE_BITS) | life) << _COUNT_BITS
        self._asked: dict[int, tuple[str, int]] = {}
        """Exchange -> the peer that asked, and the number of what it sent."""

    def sent(self, to: str, message: msgspec.Struct) -> int:
        """A request to a peer leaves; returns its number."""
        self._next += 1
        self._note("send", to, type(message).__name__, self._next, body=message)
        return self._next

    def heard(self, source: str, number: int, message: msgspec.Struct) -> None:
        """A message of a peer, or its answer, arrived. number: 0 where it carried none."""
        self._note("deliver", source, type(message).__name__, number, body=message)

    def asked(self, exchange: int, source: str, number: int) -> None:
        """The exchange will be answered to this peer."""
        self._asked[exchange] = (source, number)

    def answered(self, exchange: int, message: msgspec.Struct) -> None:
        """The answer of the exchange leaves."""
        source, number = self._asked.pop(exchange, ("", 0))
        self._note("send", source, type(message).__name__, number + ANSWER if number else 0, body=message)

    def lost(self, to: str, number: int, message: msgspec.Struct, why: str) -> None:
        """No answer to this request came."""
        self._note("drop", to, type(message).__name__, number, why=why)

    def happened(self, kind: str, what: str, body: Any = None) -> None:
        """Something at this node alone."""
        self._note(kind, "", what, 0, body=body)

    def _note(self, kind: str, peer: str, what: str, number: int, *, why: str = "", body: Any = None) -> None:
        self._journal.write((kind, peer, what, number, why, body))


def entry(time_ns: int, node: str, event: Any) -> Entry:
    """The line of what WireLog notes."""
    kind, peer, what, number, why, body = event
    return Entry(time_ns, kind, node, peer, what, number, why, body)
