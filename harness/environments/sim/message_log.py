"""What happened on the wires and disks, entry by entry: off by default, since it is many times as long as the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from histories.units import TimeNs

EntryKind = Literal["send", "deliver", "drop", "hold", "timer", "persist", "sync", "start", "crash", "request", "reply"]


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing that happened.

    time: virtual ns. node: where it happened (for send and drop: the sender; for deliver: the receiver). peer: the other end.
    what: the type of the message or record, or the timer's name. number: pairs a send with its deliveries and drops.
    why: for a drop, in a few words. body: the message or record itself, JSON-like.
    """

    time: TimeNs
    kind: EntryKind
    node: str
    peer: str = ""
    what: str = ""
    number: int = 0
    why: str = ""
    body: Any = None


ENTRIES_MAX = 4096
"""So many entries are held, and then passed on together."""


class MessageLog:
    """Takes entries in the order in which they happen, and passes them on in blocks.

    entries: those that were not passed on yet. keep: takes a block; None: it is forgotten.
    """

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.keep: Callable[[Sequence[LogEntry]], None] | None = None
        self._sent = 0

    def next_number(self) -> int:
        """A number for one send."""
        self._sent += 1
        return self._sent

    def add(
        self,
        time_ns: int,
        kind: EntryKind,
        node: str,
        *,
        peer: str = "",
        what: str = "",
        number: int = 0,
        why: str = "",
        body: msgspec.Struct | None = None,
    ) -> None:
        """One more entry."""
        self.entries.append(LogEntry(time_ns, kind, node, peer, what, number, why, body))
        if len(self.entries) >= ENTRIES_MAX:
            self.pass_on()

    def pass_on(self) -> None:
        """What was held is with `keep`."""
        entries, self.entries = self.entries, []
        if self.keep is not None and entries:
            self.keep(entries)
