"""The Protocols of what can be done to nodes: environments implement them, and faults call them.

All methods are synchronous and return when their effect is there. Real environments are called from a worker thread; the simulation
calls them in virtual time. A method that could not do its work raises `FaultError`; it never pretends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

NodeId = str
Grudge = Mapping[NodeId, frozenset[NodeId]]
"""node -> the nodes it refuses to hear. {"n1": {"n2"}}: whatever n2 sends never arrives at n1."""

Reach = Literal["answers", "cut", "down"]
"""How a probe from one node to another ended: it got through; it did not; the other end has no process to answer."""

ProcessState = Literal["running", "paused", "dead"]


class Span(msgspec.Struct, frozen=True):
    """When an action began, and when its effect was seen, in ns of `Cluster.now_ns`."""

    begin_ns: int
    end_ns: int


Spans = Mapping[NodeId, Span]


class FaultError(Exception):
    """The environment could not do what a fault asked; the message says what was tried and what came back."""


class Links(Protocol):
    """The network between nodes. Directions matter: a link is (source, destination)."""

    def drop(self, grudge: Grudge) -> None:
        """From now on exactly the links of `grudge` are cut (silently: nothing is refused, bytes just do not arrive).

        An empty grudge cuts none. What `Packets` does to links stays as it is.
        """
        ...

    def heal(self) -> None:
        """No link is cut or disturbed. Idempotent."""
        ...

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """destination -> source -> whether bytes from source arrive at destination, measured now on the real path."""
        ...


class Processes(Protocol):
    """The nodes' processes. A method that acts on several nodes returns when it acted on each: three kills may take half a
    second."""

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        """Kill these, as by `kill -9`: they are dead when this returns. A dead process stays dead."""
        ...

    def start(self, nodes: Collection[NodeId]) -> Spans:
        """Start those that are dead, on the disk they left; returns when their processes run, whether they answer or not. Nothing
        happens to those that run."""
        ...

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        """Pause these, as by SIGSTOP: a paused process keeps its sockets and memory and does nothing."""
        ...

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        """Let these go on, as by SIGCONT. Nothing happens to one that is dead or was not paused."""
        ...

    def states(self) -> Mapping[NodeId, ProcessState]:
        """What each process is doing, looked up now."""
        ...

    def answering(self, nodes: Collection[NodeId], timeout_s: float) -> frozenset[NodeId]:
        """Those of these nodes that answered their status within that time; returns as soon as all that run have. A node may run
        and not answer, for example one that needs a quorum to answer."""
        ...

    def refused(self, nodes: Collection[NodeId]) -> Mapping[NodeId, str]:
        """Those of these nodes that ended by a rule of their own since they were last started, as one whose disk is damaged should,
        and why. Empty where nobody can tell such an end from another."""
        ...


class Clocks(Protocol):
    """The nodes' clocks, as offset and rate against the controller's."""

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """Shift each node's clock by so much against true time; 0 restores it."""
        ...

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """Let each node's clock run at so many seconds a second; 1.0 restores it."""
        ...

    def heal(self) -> None:
        """Every clock is true again. Idempotent."""
        ...

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        """Each node's clock minus the controller's, measured now; None for a node that does not answer."""
        ...

    def rates(self) -> Mapping[NodeId, float | None]:
        """How many seconds each node's clock runs in one of the controller's, measured now; None for a node that does
        not answer. A real environment reads each clock twice, some tenths of a second apart."""
        ...


class Packets(Protocol):
    """Links that are bad but not cut: what happens to the bytes or packets that pass."""

    @property
    def kinds(self) -> frozenset[str]:
        """Which of slow, loss, duplicate, reorder, corrupt, rate this environment can do here."""
        ...

    def disturb(self, kind: str, links: Sequence[tuple[NodeId, NodeId]], parameters: Mapping[str, float]) -> None:
        """Disturb these (source, destination) links, and no others, in this way; with no links this kind of disturbance ends.

        Other kinds stay as they are; they add up. Without links the parameters do not matter. Otherwise: slow: delay_ms, jitter_ms;
        loss, duplicate, reorder, corrupt: probability 0..1; rate: bytes_per_s.
        """
        ...

    def heal(self) -> None:
        """No link is disturbed. Idempotent."""
        ...

    def measure(self) -> Mapping[str, object]:
        """JSON-like evidence of what the links do now, read back from the network and not from memory.

        The key "in_force" is required: kind -> list of [source, destination], only kinds in force. Faults compare it
        with what they asked; all other keys are the environment's own.
        """
        ...


class Disks(Protocol):
    """The nodes' durable state."""

    @property
    def kinds(self) -> frozenset[str]:
        """Which of lose-unsynced, torn-write, bitflip, truncate, full, slow, wipe this environment can do here."""
        ...

    def before_kill(self, kind: str, nodes: Collection[NodeId]) -> None:
        """Called while these nodes run, which are then killed and damaged so. May wait for a moment that gives the damage something
        to take, and kill them there; a wait is bounded, and a node for which no such moment came still runs."""
        ...

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        """Do it, and say for each node what exactly was done (file, offset, bytes), measured after it.

        A node that is left out of the answer was not damaged. lose-unsynced, torn-write, bitflip, truncate and wipe are
        asked of nodes whose process is dead; full and slow of running ones, and they last until `heal`.
        Parameters: slow: delay_ms added to each sync; bitflip: bits; truncate: bytes off the end; wipe: perhaps rejoins, 1 where
        the node is to come back as a new member; the others none.
        """
        ...

    def heal(self) -> None:
        """Undo what can be undone (full, slow); lost data stays lost. Idempotent."""
        ...

    def measure(self) -> Mapping[str, object]:
        """JSON-like evidence of the damage that lasts, read back now. The key "in_force" is required: kind -> list of
        nodes, only kinds in force (full, slow)."""
        ...


class MembersView(Protocol):
    """Who belongs to the cluster, as its leader sees it. is_settled: no change is under way. behind: the members that do not
    answer, or lack much of what is committed, or whose node lost its data and has not been taken in again."""

    @property
    def leader(self) -> NodeId: ...

    @property
    def voters(self) -> Sequence[NodeId]: ...

    @property
    def learners(self) -> Sequence[NodeId]: ...

    @property
    def is_settled(self) -> bool: ...

    @property
    def behind(self) -> Sequence[NodeId]: ...


class ChangeResult(msgspec.Struct, frozen=True):
    """How a change of the membership ended. why: where it was not done, or nobody knows (then is_known is
    false)."""

    is_done: bool
    why: str
    is_known: bool = True


class Members(Protocol):
    """Who belongs to the cluster, where the target can change that while it runs."""

    settles_within_s: float
    """How long it may take, where no fault is in force, until all who are to be members vote again."""

    def view(self) -> MembersView | None:
        """Asked of the nodes now; None when nobody leads."""
        ...

    def change(self, changes: Sequence[tuple[str, NodeId]]) -> Sequence[ChangeResult]:
        """Ask the leader for these changes ("add-node", "remove-node", of a node), all at once; return how each ended."""
        ...

    def wait(self, seconds: float, /) -> None:
        """Return after so many seconds of the run."""
        ...


class Backup(msgspec.Struct, frozen=True):
    """Data of the cluster as it was at one time. number: counts the backups of a run from 1. pieces: node -> what it gave; opaque.
    since: the number of the restore of the whole cluster after which it was taken, 0 where there was none."""

    number: int
    pieces: Mapping[NodeId, str]
    since: int = 0


class Backups(Protocol):
    """The cluster's data, where the target can give it while it runs."""

    def take(self) -> Backup:
        """The data as the nodes have it now: all that was acknowledged before this was called is in it. Raises FaultError where it
        cannot be had."""
        ...

    def refusal(self, backup: Backup, nodes: Collection[NodeId]) -> str | None:
        """Why these nodes cannot be restored from it; None where they can. Nothing is changed."""
        ...

    def restore(self, backup: Backup, nodes: Collection[NodeId]) -> Mapping[NodeId, object]:
        """Put the backup in the place of all data of these nodes, which are dead; what was done to each, measured after it."""
        ...


MOMENTS = ("elected", "voted", "appended", "stored", "snapshot", "lagging")
"""Moments of a protocol that traces tell: docs in nemesis.faults.moment."""


class Moments(Protocol):
    """Stops the run at a moment of the protocol. Only a simulation can. A cluster that has it offers it as `moments`."""

    def wait(self, moment: str, count: int, within_s: float) -> NodeId | None:
        """Return in the moment when a node has reached it, the `count`-th from now on, and which node that was; None when it did
        not come within so many seconds of the run."""
        ...

    def rest(self, seconds: float, /) -> None:
        """Return after so many seconds of the run."""
        ...


class Cluster(Protocol):
    """What a fault may use. A capability that the environment lacks is None; its faults are refused before the run."""

    @property
    def nodes(self) -> Sequence[NodeId]: ...

    def now_ns(self) -> int:
        """Now, in ns since the run began, on the history's clock; 0 before that."""
        ...

    @property
    def links(self) -> Links | None: ...

    @property
    def processes(self) -> Processes | None: ...

    @property
    def clocks(self) -> Clocks | None: ...

    @property
    def packets(self) -> Packets | None: ...

    @property
    def disks(self) -> Disks | None: ...

    @property
    def members(self) -> Members | None: ...

    @property
    def backups(self) -> Backups | None: ...

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the live system; None when no one does or no one answers."""
        ...
