"""One simulated node: performs a core's effects as targets/core.py promises, and dies where the nemesis wants it to.

The rule that everything here serves: effects are performed in order; what stands behind a `Persist` waits, with the effects
of all later steps behind it, until that record is durable. Timers are the exception: they concern only the node itself and
move at once, so that one which was moved never fires for its old time.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import heappush
from typing import Any, Protocol

from harness.environments.sim.disk import FULL, Disk
from harness.environments.sim.world import World
from harness.errors import HarnessError
from histories import tracing
from histories.op import Op
from nemesis.capabilities import ProcessState
from targets.core import (
    CancelTimer,
    Core,
    DiskFailed,
    Effect,
    Event,
    Halt,
    Persist,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.machines.machine import MachineFailed
from targets.skewed_clock import SkewedClock

NEVER = 2**62
"""More effects than any process performs."""

INBOX_MAX = 4096
"""Events kept for a paused node; more are dropped, as a full socket buffer would."""

_SHOWN = tracing.Shown()

_BUNDLES = (tracing.Accepted, tracing.Chosen)

Thunk = tuple[Callable[[Any], None], Any]


def _length(effect: Effect) -> int:
    """For how many effects this one counts where effects are counted: a trace of several slots counts for one each. So the way in
    which a core bundles what it traces moves no crash."""
    if effect.__class__ is not Trace:
        return 1
    event = effect.event
    return 1 + len(event.more) if event.__class__ in _BUNDLES else 1


class Link(Protocol):
    """Where what this node sends to one peer begins its way."""

    def send(self, message: Any) -> None: ...


class Flight(Protocol):
    """A client's call that this node holds. `request_id`: the number that the node gave it. `op`: its invocation."""

    request_id: int
    op: Op


class Timer:
    """One named timer. `deadline_ns`: on the node's monotonic clock. `armed_ns`: the true time of the queue entry that will look at
    it; None when there is none.

    Most timers are moved many times before they fire: moving one to a later time changes only `deadline_ns`, and the entry
    that looks at it too early puts itself back.
    """

    __slots__ = ("armed_ns", "deadline_ns", "event", "incarnation")

    def __init__(self, name: str, incarnation: int) -> None:
        self.deadline_ns: int | None = None
        self.armed_ns: int | None = None
        self.event = TimerFired(name)
        self.incarnation = incarnation


class Node:
    """A process with a disk, a clock and links; `build` makes a fresh core for each of its lives."""

    def __init__(
        self,
        world: World,
        name: str,
        build: Callable[[int], Core],
        disk: Disk,
        links: Mapping[str, Link],
        answer: Callable[[Any, Any], None],
        reset: Callable[[Any, str], None],
        durable_before_send: Collection[str] = (),
    ) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.clock = SkewedClock()
        self.state: ProcessState = "dead"
        self.incarnation = 0
        self.step_cost_ns = 0
        self.log: list[tuple[int, str]] = []
        self.ended_unasked: str | None = None
        """Why the process ended although nobody killed it: the core halted or raised. None after the next start."""
        self.refusal: str | None = None
        """Why the core halted because of its disk, as it should. None after the next start."""
        self.crashes: list[tuple[int, str]] = []
        """Each time the core raised, or halted without a cause: when, and the traceback or the reason."""
        self.flights: dict[int, Flight] = {}
        """Requests that the process holds: request id -> the client's call."""
        self._build = build
        self._links = links
        self._answer = answer
        self._reset = reset
        kinds = {kind: kind.__name__.lower() for kind in tracing.CORE_EVENTS}
        self._durable_kinds = {kind for kind, tag in kinds.items() if tag in durable_before_send}
        self._durable_customs = frozenset(durable_before_send) - set(kinds.values())
        """Names of Custom events that tell what has to be durable before the next message."""
        if self._durable_customs:
            self._durable_kinds.add(tracing.Custom)
        self._core: Core | None = None
        self._timers: dict[str, Timer] = {}
        self._waiting: deque[tuple[int, Effect]] = deque()
        self._inbox: deque[Thunk] = deque()
        self._requests = 0
        self._busy_until_ns = 0
        self._is_unshown = False
        self._doom: int | None = None
        """How many effects it may still perform before it dies; None: no one wants it dead."""
        self._doom_after_record: int | None = None
        self._doom_wants_rare = False

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process on the disk that the last one left; nothing when one is there already."""
        if self.state != "dead":
            return
        self.incarnation += 1
        self.state = "running"
        self.ended_unasked = self.refusal = None
        self._core = self._build(self.incarnation)
        self._busy_until_ns = 0
        self._is_unshown = False
        records, damage = self.disk.recover()
        self.log.append((self.world.now_ns, f"started with {len(records)} records" + (f"; {damage}" if damage else "")))
        if self.world.messages is not None:
            self.world.messages.add(self.world.now_ns, "start", self.name, what=f"{len(records)} records")
        self.world.trace(self.name, tracing.Started(self.incarnation, len(records), damage, self.disk.restored))
        self.step(Started(records, damage, self.disk.is_rejoining))

    def kill(self, why: str = "killed") -> None:
        """The process is gone; what it had not synced is in doubt; its clients' connections are reset."""
        if self.state == "dead":
            return
        self.state = "dead"
        self._core = None
        self._doom = self._doom_after_record = None
        self._timers = {}
        self._waiting.clear()
        self._inbox.clear()
        self.disk.crash()
        self.log.append((self.world.now_ns, why))
        if self.world.messages is not None:
            self.world.messages.add(self.world.now_ns, "crash", self.name, why=why)
        flights, self.flights = self.flights, {}
        for flight in flights.values():
            self._reset(flight, why)
        self.world.trace(self.name, tracing.Crashed(self.incarnation))

    def doom(self, effects: int) -> None:
        """Let the process die on its own account after so many more effects, also in the middle of a step's list."""
        assert effects >= 0
        if self.state == "running":
            self._doom, self._doom_after_record = effects, None

    def doom_after_record(self, effects: int, *, rare: bool = False) -> None:
        """As `doom`, counted from the next record that it writes, when there is most to lose.

        rare: from the next of a kind that is not its commonest: most of a log is one kind, and what stands between seldom
        meets a crash.
        """
        assert effects >= 0
        if self.state == "running":
            self._doom, self._doom_after_record, self._doom_wants_rare = NEVER, effects, rare

    def pause(self) -> None:
        """It keeps everything and does nothing until `resume`."""
        if self.state == "running":
            self.state = "paused"
            self.log.append((self.world.now_ns, "paused"))

    def resume(self) -> None:
        """What waited for it happens now, in order."""
        if self.state != "paused":
            return
        self.state = "running"
        self.log.append((self.world.now_ns, "resumed"))
        inbox, self._inbox = self._inbox, deque()
        for callback, argument in inbox:
            self.world.at(self.world.now_ns, callback, argument)

    def status(self) -> dict[str, Any] | None:
        """What the core says of itself; None when no process answers."""
        return self._core.status() if self._core is not None and self.state == "running" else None

    # --- events ---------------------------------------------------------------------------------------------------

    def is_put_off(self, callback: Callable[[Any], None], argument: Any) -> bool:
        """Whether `callback(argument)` has to wait because the process is paused or busy; then it will be called again."""
        if self.state == "paused":
            if len(self._inbox) < INBOX_MAX:
                self._inbox.append((callback, argument))
            return True
        if self.step_cost_ns:
            now_ns = self.world.now_ns
            if now_ns < self._busy_until_ns:
                self.world.at(self._busy_until_ns, callback, argument)
                return True
            self._busy_until_ns = now_ns + self.step_cost_ns
        return False

    def request(self, flight: Flight, body: Any) -> None:
        """A client's call reached this live process."""
        self._requests += 1
        number = self._requests
        flight.request_id = number
        self.flights[number] = flight
        self._requested((self.incarnation, number, body))

    def _requested(self, argument: tuple[int, int, Any]) -> None:
        incarnation, number, body = argument
        if incarnation != self.incarnation or self.state == "dead":
            return
        if (self.state == "paused" or self.step_cost_ns) and self.is_put_off(self._requested, argument):
            return
        self.step(Request(number, body))

    def step(self, event: Event) -> None:
        """The running core takes `event`; its effects are performed as far as they may be."""
        core = self._core
        if core is None:
            return
        clock = self.clock
        world = self.world
        now_ns = world.now_ns
        local_ns = now_ns + clock.offset_ns if clock.is_plain else clock.local_ns(now_ns)
        try:
            effects = core.step(local_ns, event)
        except MachineFailed as error:
            self.kill(str(error))
            world.fail(HarnessError(f"{self.name}: {error}"))
            return
        except MemoryError:  # All nodes are in this process: nobody knows who took it.
            raise
        except Exception as error:  # noqa: BLE001 - a core that raises is a process that dies, whatever it raised
            self._crash(error)
            return
        if not effects:
            return
        if self._doom is not None:
            self._perform_doomed(effects)
            return
        waits = self.disk.position > self.disk.synced_position
        is_unsynced = False
        links = self._links
        for effect in effects:
            kind = effect.__class__
            if kind is SetTimer:
                self._set_timer(effect)  # type: ignore[arg-type]
            elif waits and kind is not Persist and kind is not CancelTimer and kind is not Halt:
                if is_unsynced and kind is not Trace:
                    # What is to be said waits for these records, and not for those that the step writes after it.
                    self._begin_sync()
                    is_unsynced = False
                self._waiting.append((self.disk.position, effect))
            elif kind is Send:
                if self._is_unshown:
                    self._show()
                link = links.get(effect.to)  # type: ignore[union-attr]
                if link is not None:
                    link.send(effect.message)  # type: ignore[union-attr]
            elif kind is Trace:
                self._trace(effect.event)  # type: ignore[union-attr]
            elif kind is Persist:
                if not self._persist(effect):  # type: ignore[arg-type]
                    return
                waits = is_unsynced = True
            elif kind is Reply:
                self._reply(effect)  # type: ignore[arg-type]
            elif kind is CancelTimer:
                self._cancel_timer(effect)  # type: ignore[arg-type]
            else:
                self._halt(effect)  # type: ignore[arg-type]
                return
        if is_unsynced:
            self._begin_sync()

    def _perform_doomed(self, effects: Sequence[Effect]) -> None:
        """As `step`, counting down to the process' death."""
        for effect in effects:
            if self._doom is not None:
                length = _length(effect)
                if self._doom < length:
                    self.kill("killed between two effects")
                    return
                self._doom -= length
            kind = effect.__class__
            if kind is SetTimer:
                self._set_timer(effect)  # type: ignore[arg-type]
            elif kind is CancelTimer:
                self._cancel_timer(effect)  # type: ignore[arg-type]
            elif kind is Halt:
                self._halt(effect)  # type: ignore[arg-type]
                return
            elif kind is Persist:
                if not self._persist(effect):  # type: ignore[arg-type]
                    return
            elif self.disk.position > self.disk.synced_position:
                if kind is not Trace:
                    self._begin_sync()
                self._waiting.append((self.disk.position, effect))
            else:
                self._perform(effect)
        if self.disk.unsynced:
            self._begin_sync()

    def _perform(self, effect: Effect) -> None:
        """A Send, Trace or Reply whose time has come."""
        kind = effect.__class__
        if kind is Send:
            if self._is_unshown:
                self._show()
            link = self._links.get(effect.to)  # type: ignore[union-attr]
            if link is not None:
                link.send(effect.message)  # type: ignore[union-attr]
        elif kind is Trace:
            self._trace(effect.event)  # type: ignore[union-attr]
        else:
            assert kind is Reply, f"{self.name}: {effect} is no effect"
            self._reply(effect)  # type: ignore[arg-type]

    def _trace(self, event: tracing.TraceEvent) -> None:
        if event.__class__ in self._durable_kinds and (
            event.__class__ is not tracing.Custom or event.name in self._durable_customs
        ):
            self._is_unshown = True
        self.world.trace(self.name, event)

    def _show(self) -> None:
        """The first message since a change of what has to outlive a crash: from now on others may know of it."""
        self._is_unshown = False
        self.world.trace(self.name, _SHOWN)

    def _reply(self, effect: Reply) -> None:
        flight = self.flights.pop(effect.request_id, None)
        if flight is not None:
            if self.world.is_read(tracing.Served):
                op = flight.op.index
                self.world.trace(self.name, tracing.Served(op if op >= 0 else None, effect.index))
            self._answer(flight, effect.body)

    def _crash(self, error: Exception) -> None:
        self.crashes.append((self.world.now_ns, "".join(traceback.format_exception(error))))
        self.kill(f"the core raised {type(error).__name__}: {error}")
        self.ended_unasked = f"{type(error).__name__}: {error}"

    def _halt(self, effect: Halt) -> None:
        if not (self.disk.is_full or self.disk.is_damaged):
            self.crashes.append((self.world.now_ns, f"halted, though nothing was done to its disk: {effect.reason}"))
        else:
            self.refusal = effect.reason
        self.kill(f"halted: {effect.reason}")
        self.ended_unasked = effect.reason

    # --- disk -----------------------------------------------------------------------------------------------------

    def _persist(self, effect: Persist) -> bool:
        """Whether the disk took the record; if not, the core was told, and its step is over."""
        disk = self.disk
        if disk.is_full:
            if disk.unsynced:
                self._begin_sync()
            self.step(DiskFailed(FULL))
            return False
        disk.append(effect.record, effect.token, effect.is_checkpoint)
        if self._doom_after_record is not None and not (
            self._doom_wants_rare and disk.commonest_kind() is type(effect.record)
        ):
            self._doom, self._doom_after_record = self._doom_after_record, None
        messages = self.world.messages
        if messages is not None:
            what = type(effect.record).__name__
            messages.add(self.world.now_ns, "persist", self.name, what=what, number=disk.position, body=effect.record)
        return True

    def _begin_sync(self) -> None:
        """One sync at a time: records that come while it runs are taken by the next (group commit)."""
        disk = self.disk
        if not disk.in_flight and disk.unsynced:
            disk.in_flight = True
            world = self.world
            when_ns = world.now_ns + disk.latency_ns()
            heappush(world.heap, (when_ns, world.next_seq(), self._synced, (self.incarnation, disk.position)))

    def _synced(self, argument: tuple[int, int]) -> None:
        incarnation, position = argument
        if incarnation != self.incarnation or self.state == "dead":
            return
        if self.state == "paused":
            self._inbox.append((self._synced, argument))
            return
        disk = self.disk
        disk.synced(position)
        disk.in_flight = False
        if self.world.messages is not None:
            self.world.messages.add(self.world.now_ns, "sync", self.name, number=position)
        waiting = self._waiting
        if self._doom is None:
            while waiting and waiting[0][0] <= position:
                self._perform(waiting.popleft()[1])
        else:
            while waiting and waiting[0][0] <= position:
                length = _length(waiting[0][1])
                if self._doom < length:
                    self.kill("killed between two effects")
                    return
                self._doom -= length
                self._perform(waiting.popleft()[1])
        tokens = disk.tokens
        while tokens and tokens[0][0] <= position:
            self.step(SyncDone(tokens.popleft()[1]))
            if incarnation != self.incarnation or self.state != "running":
                return
        self._begin_sync()

    # --- timers ---------------------------------------------------------------------------------------------------

    def _set_timer(self, effect: SetTimer) -> None:
        timer = self._timers.get(effect.name)
        if timer is None:
            timer = self._timers[effect.name] = Timer(effect.name, self.incarnation)
        delay_ns = effect.delay_ns
        clock = self.clock
        world = self.world
        if clock.is_plain:
            true_ns = world.now_ns + (delay_ns if delay_ns > 0 else 0)
            timer.deadline_ns = true_ns + clock.drift_ns
        else:
            timer.deadline_ns = deadline_ns = clock.monotonic_ns(world.now_ns) + max(0, delay_ns)
            # A slow clock reads the same for several ns: a timer without delay would be due at the first of them, in the past.
            true_ns = max(world.now_ns, clock.true_ns(deadline_ns))
        if timer.armed_ns is None or true_ns < timer.armed_ns:
            timer.armed_ns = true_ns
            heappush(world.heap, (true_ns, world.next_seq(), self._timer_due, (timer, true_ns)))

    def _cancel_timer(self, effect: CancelTimer) -> None:
        timer = self._timers.get(effect.name)
        if timer is not None:
            timer.deadline_ns = None

    def _timer_due(self, argument: tuple[Timer, int]) -> None:
        timer, armed_ns = argument
        if timer.armed_ns != armed_ns or timer.incarnation != self.incarnation or self.state == "dead":
            return
        if timer.deadline_ns is None:
            timer.armed_ns = None
            return
        world = self.world
        clock = self.clock
        true_ns = timer.deadline_ns - clock.drift_ns if clock.is_plain else clock.true_ns(timer.deadline_ns)
        if true_ns > world.now_ns:
            timer.armed_ns = true_ns
            heappush(world.heap, (true_ns, world.next_seq(), self._timer_due, (timer, true_ns)))
            return
        if (self.state == "paused" or self.step_cost_ns) and self.is_put_off(self._timer_due, argument):
            return
        timer.armed_ns = timer.deadline_ns = None
        if world.messages is not None:
            world.messages.add(world.now_ns, "timer", self.name, what=timer.event.name)
        self.step(timer.event)

    def set_clock(self, offset_ns: int | None = None, rate: float | None = None) -> None:
        """Set the clock or its rate. Timers run on the monotonic clock: a jump does not move them, another rate does."""
        now_ns = self.world.now_ns
        if offset_ns is not None:
            self.clock.set_offset(now_ns, offset_ns)
        if rate is not None:
            self.clock.set_rate(now_ns, rate)
        if rate is None:
            return
        for timer in self._timers.values():
            if timer.deadline_ns is not None:
                timer.armed_ns = max(now_ns, self.clock.true_ns(timer.deadline_ns))
                self.world.at(timer.armed_ns, self._timer_due, (timer, timer.armed_ns))
