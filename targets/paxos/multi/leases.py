"""A leader's lease: for a while nobody else is elected, so that it may answer reads alone (Gray and Cheriton, "Leases", 1989).

Each acceptor that answers a leader promises nothing to another for `lease_ms`. A leader that a quorum of phase 2 has answered knows
that no quorum of phase 1 can elect another before the first of these promises ends. It counts from before it asked, and allows for
its own clock running as slow, and theirs as fast, as the drift bound lets them: lease_ms / (1 + clock_drift_max)^2.

Both sides count by timers on the monotonic clock: no jump of a clock moves them. A process that was paused may find a read before
the end of its lease, in the order in which things reached it. So a read is answered by a timer without delay: every timer that ran
out earlier fires before it.
"""

from __future__ import annotations

from targets.core import Effect, NodeId, SetTimer
from targets.machines.machine import Command
from targets.paxos import bugs as zoo
from targets.paxos.multi.leadership import Leadership
from targets.paxos.multi.options import MultiOptions

GRANT = "grant"
LEASE = "lease/"
LEASED_READ = "leased-read"

NAMES_COUNT = 64
"""Leases that can be under way at once: each has a timer, and the names come round."""

_MS = 1_000_000


class Grant:
    """The acceptor's side: whom it waits for."""

    __slots__ = ("_holder", "_is_used", "_lasts", "_lease_ns", "_node")

    def __init__(self, node: NodeId, options: MultiOptions) -> None:
        self._node = node
        self._is_used = options.reads == "lease"
        self._lease_ns = options.lease_ms * _MS
        self._lasts = False
        self._holder: NodeId | None = None

    def begin(self, leader: NodeId | None, out: list[Effect]) -> None:
        """From now on, wait for this leader; None: for one that is forgotten."""
        if self._is_used:
            self._lasts, self._holder = True, leader
            out.append(SetTimer(GRANT, self._lease_ns))

    def ended(self) -> None:
        """The time is over."""
        self._lasts = False

    def forbids(self, candidate: NodeId) -> bool:
        """Whether it must not promise anything to this candidate yet."""
        return self._lasts and candidate != self._holder


class Lease:
    """The leader's side. holds: it may answer reads. Invariant: the lease `_held` was confirmed, those up to `_ended` ran out."""

    __slots__ = ("_bugs", "_count", "_ended", "_held", "_is_used", "_lease_ns", "_reads", "_usable_ns")

    def __init__(self, options: MultiOptions, bugs: frozenset[str]) -> None:
        self._is_used = options.reads == "lease"
        self._bugs = bugs
        self._lease_ns = options.lease_ms * _MS
        self._usable_ns = int(self._lease_ns / (1 + options.clock_drift_max) ** 2)
        self._count = 0
        self._held = 0
        self._ended = 0
        self._reads: list[tuple[int, Command]] = []

    @property
    def holds(self) -> bool:
        """Whether a lease lasts."""
        return self._held > self._ended

    def begin(self) -> None:
        """A new leadership: nothing that an earlier one was granted counts."""
        self._ended = self._count

    def ask(self, leadership: Leadership, out: list[Effect]) -> None:
        """The leader is about to ask all acceptors: its next lease begins now, if a quorum answers."""
        if not self._is_used:
            return
        self._count += 1
        leadership.leases.append((self._count, leadership.number))
        if len(leadership.leases) >= NAMES_COUNT:
            leadership.leases.popleft()
        if zoo.LEASE_OVERLAP not in self._bugs:
            out.append(SetTimer(f"{LEASE}{self._count % NAMES_COUNT}", self._usable_ns))

    def confirm(self, leadership: Leadership, out: list[Effect]) -> None:
        """A quorum may have answered what was asked for some lease."""
        leases = leadership.leases
        confirmed = leadership.confirmed_number() if leases else 0
        while leases and leases[0][1] < confirmed:
            self._held = max(self._held, leases.popleft()[0])
            if zoo.LEASE_OVERLAP in self._bugs:
                out.append(SetTimer(f"{LEASE}{self._held % NAMES_COUNT}", self._lease_ns))

    def ran_out(self, name: int) -> None:
        """The timer of this name is due: the newest lease with that name is over, and with it all before it."""
        count = self._count - (self._count - name) % NAMES_COUNT
        self._ended = max(self._ended, count)

    def add(self, request_id: int, command: Command, out: list[Effect]) -> None:
        """This read is answered by the next LEASED_READ timer."""
        if not self._reads:
            out.append(SetTimer(LEASED_READ, 0))
        self._reads.append((request_id, command))

    def drain(self) -> list[tuple[int, Command]]:
        """The reads that wait; none waits after it."""
        reads, self._reads = self._reads, []
        return reads
