"""What happened inside the nodes: the vocabulary that targets, drivers and checkers share.

Most events are traced by cores; `Started`, `Crashed`, `Shown` and `Served` by what drives them. Together they tell, for any
acknowledged write, which node held it from when to when.

An index counts the entries of a node's log from 1; a slot is the same for systems that decide each by itself. A command is whatever
the log holds, None for an entry that commands nothing. On disk an event is tagged by `kind`, such as {"kind": "role", ...}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from histories.units import TimeNs

TAIL_MAX = 64
"""How many of its last commands a node tells after a restart: more than one message brings, so that what was on disk before it was
traced is told then."""

TRACE_FILE = "trace.jsonl"
"""What a node traces, one record a line; or the end of it, where that was split into segments."""
SEGMENTS = "trace-*.jsonl"
"""The closed segments of a trace, which stand beside its end; sorted by name they are in order."""
_SEGMENT = re.compile(r"(trace|messages)-(\d{6,12})-(\d{6,12})\.jsonl", re.ASCII)


def segment_name(number: int, incarnation: int, stem: str = "trace") -> str:
    """The name of segment `number`, from 1, which process number `incarnation` of the node closed. Segment 0 is what is kept of
    segments of a trace that were removed. stem: "trace" or "messages"."""
    return f"{stem}-{number:06}-{incarnation:06}.jsonl"


def segment_of(name: str, stem: str = "trace") -> tuple[int, int] | None:
    """(number, incarnation) of the segment of this name; None where it is not the name of one."""
    found = _SEGMENT.fullmatch(name)
    return None if found is None or found[1] != stem else (int(found[2]), int(found[3]))


Ballot = tuple[int, str]
"""A number, and who drew it."""

Slot = int | str
"""A position in a log whose entries are decided one by one; or the name of a decision that belongs to no log."""


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag=str.lower):
    """Base of all kinds; the tag is the class's name in small letters."""


def _slots(slot: Slot, command: Any, more: tuple[Any, ...]) -> Iterable[tuple[Slot, Any]]:
    if not more:
        return ((slot, command),)
    assert isinstance(slot, int), f"no slot stands behind {slot!r}"
    return enumerate((command, *more), slot)


# --- told by the driver -----------------------------------------------------------------------------------------------


class Started(Event, frozen=True):
    """A new process begins on `records` durable records; damage: what is wrong with its disk, in words.

    incarnation: counts the processes of this node from 1. A node that starts had ended before, also where nobody could say when.
    restored: the number of the restore from which the cluster's data comes, which counts from 1; 0: from none. What the cluster had
        promised before that restore counts no more.
    """

    incarnation: int
    records: int
    damage: str | None = None
    restored: int = 0


class Crashed(Event, frozen=True):
    """The process is gone. Only the simulation can say so at that time; elsewhere the next `Started` implies it."""

    incarnation: int


class Shown(Event, frozen=True):
    """The node sent its first message since it traced what had to be durable before: others may know it now."""


class Served(Event, frozen=True):
    """The node answered a client. op: the index of the invocation in the history; None when its sender did not tell.

    index: the position in the log on which the answer rests: the entry of a write, the last one applied for a read.
    """

    op: int | None = None
    index: int | None = None


# --- told by cores ----------------------------------------------------------------------------------------------------


class Role(Event, frozen=True):
    """The node now has this role ("leader", "follower", ...) in this term."""

    role: str
    term: int


class Recovered(Event, frozen=True):
    """What the log on disk holds after a restart; a core with a log tells it once, before anything else about the log.

    last_index: of its last entry; 0: it is empty. snapshot_index, snapshot_term: of the last entry that a snapshot stands for; 0:
    there is none. terms: (index, term) of the first entry of each term behind the snapshot. tail: the last commands behind the
    snapshot, at most TAIL_MAX, up to last_index. vote: the term that the disk holds, and whom the node voted for in it, if anyone;
    None: the core does not tell.
    """

    last_index: int
    terms: tuple[tuple[int, int], ...] = ()
    tail: tuple[Any, ...] = ()
    snapshot_index: int = 0
    snapshot_term: int = 0
    vote: tuple[int, str | None] | None = None

    def __post_init__(self) -> None:
        starts = [index for index, _ in self.terms]
        if (
            not 0 <= self.snapshot_index <= self.last_index
            or (starts[:1] == [self.snapshot_index + 1]) != (self.last_index > self.snapshot_index)
            or starts != sorted({*starts})
            or starts[-1:] > [self.last_index]
        ):
            raise ValueError(
                f"recovered: terms begin at {starts}, which is no log of {self.last_index} entries, "
                f"{self.snapshot_index} of them in a snapshot"
            )
        if len(self.tail) > self.last_index - self.snapshot_index:
            raise ValueError(f"recovered: {len(self.tail)} commands of {self.last_index - self.snapshot_index} entries")


class Voted(Event, frozen=True):
    """The node gives its vote of `term` to `candidate`."""

    term: int
    candidate: str


class Promised(Event, frozen=True):
    """The node will accept nothing below `ballot`: in `slot`, or in any where it names none."""

    ballot: Ballot
    slot: Slot | None = None


class Appended(Event, frozen=True):
    """The node's log ends with these entries now, all of `term`, the first of them at `index`; what stood there gives way."""

    index: int
    term: int
    commands: tuple[Any, ...]


class Truncated(Event, frozen=True):
    """The node's log now ends before `from_index`."""

    from_index: int


class Snapshotted(Event, frozen=True):
    """The node's own snapshot now stands for its log up to `index`, an entry of `term`. digest: equal for equal states."""

    index: int
    term: int
    digest: int


class Installed(Event, frozen=True):
    """Another node's snapshot took the place of the node's state and of its whole log.

    index, term: of the entry that the log now ends with. digest: equal for equal states.
    """

    index: int
    term: int
    digest: int


class Accepted(Event, frozen=True):
    """The node holds `command` in `slot`, under `ballot`; what it held there before is overwritten.

    more: what it holds under the same ballot in the slots right behind, which are numbers.
    """

    slot: Slot
    ballot: Ballot
    command: Any = None
    more: tuple[Any, ...] = ()

    def slots(self) -> Iterable[tuple[Slot, Any]]:
        """(slot, command) of all."""
        return _slots(self.slot, self.command, self.more)


class Committed(Event, frozen=True):
    """The node knows that everything in its log up to `index` is decided."""

    index: int


class Chosen(Event, frozen=True):
    """The node knows that `command` is decided for `slot`. more: what is decided for the slots right behind, which are numbers."""

    slot: Slot
    command: Any = None
    more: tuple[Any, ...] = ()

    def slots(self) -> Iterable[tuple[Slot, Any]]:
        """(slot, command) of all."""
        return _slots(self.slot, self.command, self.more)


class Applied(Event, frozen=True):
    """The entries first..last of its log went into the node's state; the last has this term and command.

    After a restart this begins anew where the state that was kept ends.
    """

    first: int
    last: int
    term: int
    command: Any = None


class Custom(Event, frozen=True):
    """What only one target has. name: its kind, such as "lease-granted"; fields: JSON-like."""

    name: str
    fields: dict[str, Any] = {}


CORE_EVENTS = (
    Role,
    Recovered,
    Voted,
    Promised,
    Appended,
    Truncated,
    Snapshotted,
    Installed,
    Accepted,
    Committed,
    Chosen,
    Applied,
    Custom,
)
DRIVER_EVENTS = (Started, Crashed, Shown, Served)

TraceEvent = (
    Started
    | Crashed
    | Shown
    | Served
    | Role
    | Recovered
    | Voted
    | Promised
    | Appended
    | Truncated
    | Snapshotted
    | Installed
    | Accepted
    | Committed
    | Chosen
    | Applied
    | Custom
)

KINDS = frozenset(kind.__name__.lower() for kind in (*CORE_EVENTS, *DRIVER_EVENTS))
"""The tags of all kinds."""


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """One event of one node.

    time: ns since the run began, on the controller's clock (virtual in a simulation; for a real node, its true clock
    minus the run's start).
    """

    time: TimeNs
    node: str
    event: TraceEvent


def kind_of(event: TraceEvent) -> str:
    """The event's tag: "role", "appended", ...; a custom one's own name."""
    return event.name if isinstance(event, Custom) else type(event).__name__.lower()
