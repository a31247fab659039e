"""A small deterministic network, disk and clock, to run cores of any CoreTarget against each other in tests.

Not the simulated environment: no workloads, no history, no schedules, only what attacks a core. Everything follows from
the seed. The faults are those that targets.core allows: messages lost, repeated, late and out of order; crashes between
any two effects, keeping what was synced and perhaps a prefix of the rest; links cut either way; pauses; clock jumps.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from typing import Any

import msgspec

from targets.core import (
    CancelTimer,
    Core,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.session import Ask, Call, NoReply, Outcome
from targets.target import CoreTarget
from targets.topology import PLAIN

MS = 1_000_000
S = 1_000 * MS


class Weather(msgspec.Struct, frozen=True):
    """What may happen while the nemesis is at work; probabilities are per message or per effect.

    delay_ms_max: of an ordinary message; a late one takes up to late_ms_max. sync_ms_max: of a durable write.
    fault_gap_ms_max: between two faults; 0: none. down_ms_max: of a killed node. faults: what they are drawn from.
    """

    loss_probability: float = 0.05
    duplicate_probability: float = 0.05
    late_probability: float = 0.02
    crash_probability: float = 0.0002
    delay_ms_max: float = 4.0
    late_ms_max: float = 400.0
    sync_ms_max: float = 2.0
    fault_gap_ms_max: float = 400.0
    down_ms_max: float = 400.0
    faults: tuple[str, ...] = ("cut", "cut", "one-way", "heal", "kill", "kill", "pause", "clock")


CALM = Weather(0.0, 0.0, 0.0, 0.0, fault_gap_ms_max=0.0)


class Attempt(msgspec.Struct):
    """One client call, from its invocation to its outcome (None: still under way)."""

    call: Call
    invoked_ns: int
    completed_ns: int = 0
    outcome: Outcome | None = None


class _Node:
    """A core with what surrounds it. `life` counts its incarnations; what belongs to an earlier one is ignored."""

    def __init__(self, name: NodeId) -> None:
        self.name = name
        self.core: Core | None = None
        self.life = 0
        self.is_paused = False
        self.clock_offset_ns = 0
        self.durable: list[Record] = []
        self.unsynced: Persist | None = None
        self.outbox: deque[Effect] = deque()
        self.missed: list[Event] = []
        self.timers: dict[str, int] = {}
        self.waiting: dict[int, Callable[[msgspec.Struct], None]] = {}
        self.request_count = 0
        self.halted: str | None = None


class Cluster:
    """Nodes "n1".. of `target` under `weather`, driven by `run`."""

    def __init__(
        self,
        target: CoreTarget,
        seed: int,
        nodes_count: int = 5,
        options: msgspec.Struct | None = None,
        bugs: Iterable[str] = (),
        weather: Weather = CALM,
        on_trace: Callable[[int, NodeId, Trace], None] = lambda now_ns, node, trace: None,
    ) -> None:
        self.target = target
        self.seed = seed
        self.options = options if options is not None else target.option_type()
        self.bugs = frozenset(bugs)
        self.weather = weather
        self.on_trace = on_trace
        self.now_ns = 0
        self.attempts: list[Attempt] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.messages_count = 0
        self.nodes = {f"n{i}": _Node(f"n{i}") for i in range(1, nodes_count + 1)}
        self._network = random.Random(f"{seed}/network")
        self._disk = random.Random(f"{seed}/disk")
        self._nemesis = random.Random(f"{seed}/nemesis")
        self._clients = random.Random(f"{seed}/clients")
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._pushed_count = 0
        for name in self.nodes:
            self.start(name)
        if weather.fault_gap_ms_max:
            self.after(weather.fault_gap_ms_max * MS, self._attack)

    # --- time ---------------------------------------------------------------------------------------------------------

    def after(self, delay_ns: float, action: Callable[[], None]) -> None:
        """Do `action` `delay_ns` from now."""
        self._pushed_count += 1
        heappush(self._queue, (self.now_ns + int(delay_ns), self._pushed_count, action))

    def run(self, duration_ns: float) -> None:
        """Let that much time pass."""
        end_ns = self.now_ns + int(duration_ns)
        while self._queue and self._queue[0][0] <= end_ns:
            self.now_ns, _, action = heappop(self._queue)
            action()
        self.now_ns = end_ns

    def run_until(self, condition: Callable[[], bool], limit_ns: float) -> bool:
        """Let time pass until `condition` holds; whether it did within the limit."""
        end_ns = self.now_ns + int(limit_ns)
        while not condition():
            if not self._queue or self._queue[0][0] > end_ns:
                return False
            self.now_ns, _, action = heappop(self._queue)
            action()
        return True

    # --- processes ----------------------------------------------------------------------------------------------------

    def start(self, name: NodeId) -> None:
        """Start a dead node on what its disk holds."""
        node = self.nodes[name]
        if node.core is not None:
            return
        node.life += 1
        rng = random.Random(f"{self.seed}/{name}/{node.life}")
        node.core = self.target.core(name, sorted(self.nodes), self.options, self.bugs, rng, "kv")
        node.halted = None
        self._step(node, Started(tuple(node.durable)))

    def crash(self, name: NodeId) -> None:
        """As by kill -9 and a power cut: what is not synced may be there or not."""
        node = self.nodes[name]
        node.core = None
        node.is_paused = False
        if node.unsynced is not None:
            if self._disk.random() < 0.5:
                self._keep(node, node.unsynced)
            node.unsynced = None
        node.outbox.clear()
        node.missed.clear()
        node.timers.clear()
        waiting, node.waiting = node.waiting, {}
        for done in waiting.values():
            done(_RESET)

    def pause(self, name: NodeId) -> None:
        """It does nothing until it is resumed; what comes for it waits."""
        self.nodes[name].is_paused = self.nodes[name].core is not None

    def resume(self, name: NodeId) -> None:
        node = self.nodes[name]
        node.is_paused = False
        missed, node.missed = node.missed, []
        for event in missed:
            self._step(node, event)
        self._perform(node)

    def heal(self) -> None:
        """Everything runs, all links are whole, clocks are true."""
        self.cut.clear()
        for name, node in self.nodes.items():
            self.start(name)
            self.resume(name)
            node.clock_offset_ns = 0

    def stop_attacks(self) -> None:
        """Heal, and calm weather from now on."""
        self.weather = CALM
        self.heal()

    # --- effects ------------------------------------------------------------------------------------------------------

    def _step(self, node: _Node, event: Event) -> None:
        if node.core is None:
            return
        if node.is_paused:
            node.missed.append(event)
            return
        for effect in node.core.step(self.now_ns + node.clock_offset_ns, event):
            if isinstance(effect, SetTimer):
                self._set_timer(node, effect)
            elif isinstance(effect, CancelTimer):
                node.timers.pop(effect.name, None)
            else:
                node.outbox.append(effect)
        self._perform(node)

    def _perform(self, node: _Node) -> None:
        crash_probability = self.weather.crash_probability
        while node.outbox and node.unsynced is None and not node.is_paused:
            if crash_probability and self._nemesis.random() < crash_probability:
                self.crash(node.name)
                self.after(self._nemesis.uniform(1, self.weather.down_ms_max) * MS, lambda: self.start(node.name))
                return
            match node.outbox.popleft():
                case Send(to, message):
                    self._send(node.name, to, message)
                case Trace() as trace:
                    self.on_trace(self.now_ns, node.name, trace)
                case Reply(request_id, body):
                    done = node.waiting.pop(request_id, None)
                    assert done is not None, f"seed {self.seed}: {node.name} answers request {request_id} twice"
                    done(body)
                case Persist() as persist:
                    node.unsynced = persist
                    self._sync_later(node)
                case Halt(reason):
                    self.crash(node.name)
                    node.halted = reason
                case other:
                    raise AssertionError(other)

    def _keep(self, node: _Node, persist: Persist) -> None:
        """It is on the disk, and what a checkpoint supersedes is not any more."""
        if persist.is_checkpoint:
            node.durable.clear()
        node.durable.append(persist.record)

    def _sync_later(self, node: _Node) -> None:
        life = node.life

        def done() -> None:
            if node.life != life or node.core is None or node.unsynced is None:
                return
            persist, node.unsynced = node.unsynced, None
            self._keep(node, persist)
            if persist.token is not None:
                self._step(node, SyncDone(persist.token))
            self._perform(node)

        self.after(self._disk.random() * self.weather.sync_ms_max * MS, done)

    def _set_timer(self, node: _Node, timer: SetTimer) -> None:
        life, token = node.life, self._pushed_count + 1
        node.timers[timer.name] = token

        def fire() -> None:
            if node.life == life and node.timers.get(timer.name) == token:
                del node.timers[timer.name]
                self._step(node, TimerFired(timer.name))

        self.after(timer.delay_ns, fire)

    def _send(self, source: NodeId, to: NodeId, message: msgspec.Struct) -> None:
        draw, weather = self._network.random, self.weather
        self.messages_count += 1
        copies = 1
        if weather.loss_probability and draw() < weather.loss_probability:
            copies = 0
        elif weather.duplicate_probability and draw() < weather.duplicate_probability:
            copies = 2
        for _ in range(copies):
            is_late = weather.late_probability and draw() < weather.late_probability
            delay_ms = draw() * (weather.late_ms_max if is_late else weather.delay_ms_max)
            self.after(delay_ms * MS, lambda: self._deliver(source, to, message))

    def _deliver(self, source: NodeId, to: NodeId, message: msgspec.Struct) -> None:
        if (source, to) not in self.cut:
            self._step(self.nodes[to], Received(source, message))

    # --- faults -------------------------------------------------------------------------------------------------------

    def leader(self) -> NodeId | None:
        """Who leads, judging by the statuses of those that run."""
        return self.target.primary({name: node.core.status() for name, node in self.nodes.items() if node.core})

    def isolate(self, group: Iterable[NodeId]) -> None:
        """Cut `group` off from all others, both ways."""
        group = set(group)
        self.cut = {(a, b) for a in self.nodes for b in self.nodes if (a in group) != (b in group)}

    def _attack(self) -> None:
        """One random fault, then the next."""
        weather, rng = self.weather, self._nemesis
        if not weather.fault_gap_ms_max:
            return
        names = list(self.nodes)
        victims = rng.sample(names, rng.randint(1, len(names)))
        leader = self.leader()
        if leader is not None and rng.random() < 0.5:
            victims = [leader]
        match rng.choice(weather.faults):
            case "cut":
                self.isolate(victims)
            case "depose":
                self.isolate([leader] if leader is not None else [])
            case "one-way":
                self.cut = {(a, b) for a in names for b in names if a != b and rng.random() < 0.3}
            case "heal":
                self.heal()
            case "kill":
                for victim in victims:
                    self.crash(victim)
                    self.after(rng.uniform(1, weather.down_ms_max) * MS, partial(self.start, victim))
            case "pause":
                for victim in victims[:2]:
                    self.pause(victim)
                    self.after(rng.uniform(1, weather.down_ms_max) * MS, partial(self.resume, victim))
            case "clock":
                for victim in victims:
                    self.nodes[victim].clock_offset_ns = rng.randint(-10 * S, 10 * S)
        self.after(rng.uniform(1, weather.fault_gap_ms_max) * MS, self._attack)

    # --- clients ------------------------------------------------------------------------------------------------------

    def call(
        self, call: Call, node: NodeId, timeout_ms: int = 1000, then: Callable[[], None] = lambda: None
    ) -> Attempt:
        """Send `call` to `node` first, in a session of its own; `then` is done when it has its outcome."""
        attempt = Attempt(call, self.now_ns)
        self.attempts.append(attempt)

        def complete(outcome: Outcome) -> None:
            if attempt.outcome is None:
                attempt.outcome, attempt.completed_ns = outcome, self.now_ns
                then()

        session = self.target.session("kv", len(self.attempts), PLAIN)

        def answered(reply: msgspec.Struct | NoReply) -> None:
            if attempt.outcome is None:
                go_on(session.on_reply(reply))

        def go_on(answer: Ask | Outcome) -> None:
            if isinstance(answer, Outcome):
                complete(answer)
                return
            name = self.nodes[answer.node or node]
            self.after(self._clients.random() * 2 * MS, lambda: self._request(name, answer.body, answered))

        def give_up() -> None:
            if attempt.outcome is None:
                outcome = session.on_reply(NoReply("timeout"))
                assert isinstance(outcome, Outcome)
                complete(outcome)

        go_on(session.begin(call))
        self.after(timeout_ms * MS, give_up)
        return attempt

    def _request(self, node: _Node, body: msgspec.Struct, answered: Callable[[Any], None]) -> None:
        if node.core is None:
            answered(NoReply("not-sent"))
            return
        node.request_count += 1
        node.waiting[node.request_count] = lambda body: self.after(
            self._clients.random() * 2 * MS, lambda: answered(body)
        )
        self._step(node, Request(node.request_count, body))

    def clients(self, count: int, calls: Callable[[random.Random], Call], until_ns: int) -> None:
        """`count` clients that call one thing after the other, each on a random node, until `until_ns`."""

        def next_call() -> None:
            if self.now_ns < until_ns:
                self.call(calls(self._clients), self._clients.choice(list(self.nodes)), then=pause)

        def pause() -> None:
            self.after(self._clients.random() * 20 * MS, next_call)

        for _ in range(count):
            pause()


_RESET = NoReply("reset")
