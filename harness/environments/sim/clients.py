"""Simulated clients: carry what sessions ask to a node and the answer back, and tell them when their time has passed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import heappush
from typing import Any

import msgspec

from harness.clients.sessions import PendingCall, SessionFailed, SessionRunner
from harness.environments.sim.delays import QUANTILES, quantiles_ns
from harness.environments.sim.node import Node
from harness.environments.sim.options import SimOptions
from harness.environments.sim.world import World
from histories.op import NEMESIS, Op
from histories.units import NS_PER_MS, NS_PER_S
from targets.session import Call, NoReply, Outcome

LATE = NoReply("late")

Finished = Callable[[Op, Outcome, str], None]
"""Told how an invocation ended, and which node was asked last."""


class Flight(PendingCall):
    """One call under way. Invariant: once it has an outcome, whatever still arrives for it is ignored."""

    __slots__ = ("finished", "op", "request_id")

    def __init__(self, op: Op, process: int, home: str, finished: Finished) -> None:
        PendingCall.__init__(self, process, Call(op.f, op.key, op.value), home)
        self.op = op
        self.finished = finished
        self.request_id = 0


class Question:
    """What a fault asks of a node. is_over: it has answered, or its process is gone; `reply`: the answer."""

    __slots__ = ("is_over", "op", "reply", "request_id")

    def __init__(self) -> None:
        self.op = _NO_OP
        self.request_id = 0
        self.is_over = False
        self.reply: msgspec.Struct | None = None


_NO_OP = Op(index=-1, type="invoke", process=NEMESIS, f="question", value=None, time=0)
"""The history has no invocation of it."""


class Clients:
    """Carries what sessions ask over client links, which no nemesis touches: they are the harness' own."""

    def __init__(self, world: World, options: SimOptions, timeout_s: float) -> None:
        self._world = world
        self._draw = world.rng("clients").random
        mean_ns = int(options.client_delay_ms * NS_PER_MS)
        self._delays_ns = quantiles_ns(options.delay, min(int(options.delay_ms_min * NS_PER_MS), mean_ns), mean_ns)
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._deadlines: deque[tuple[int, int, Callable[[Flight], None], Flight]] = deque()
        """When the time of each flight has passed, in order, as entries of the event queue that are not in it. Most flights are
        over before, and a queue full of entries that do nothing would cost all others time."""
        self._queued_count = 0
        """Deadlines in the event queue. Invariant: that of the oldest flight that is not over is among them."""
        self._names: Sequence[str] = ()
        self._nodes: Mapping[str, Node] = {}

    def connect(self, nodes: Sequence[Node], runner: SessionRunner) -> None:
        """Calls go to these nodes, as the sessions of `runner` ask."""
        self._names = [node.name for node in nodes]
        self._nodes = {node.name: node for node in nodes}
        self._runner = runner

    def start(self, op: Op, process: int, finished: Finished) -> None:
        """Ask the home node of `process`; `finished` is called exactly once, at the latest after the time-out.

        Raises SessionFailed, as whatever brings an answer may, once the op is finished as `info`.
        """
        flight = Flight(op, process, self._names[process % len(self._names)], finished)
        world = self._world
        deadline = (world.now_ns + self._timeout_ns, world.next_seq(), self._timed_out, flight)
        if self._queued_count:
            self._deadlines.append(deadline)
        else:
            self._queue(deadline)
        try:
            self._runner.begin(flight)
        except SessionFailed as error:
            self._break(flight, error)
        else:
            self._go_on(flight)

    @property
    def nodes_count(self) -> int:
        """A process asks the node of its number first, modulo this."""
        return len(self._names)

    def new_process(self) -> int:
        """A process that has asked nothing yet."""
        return self._runner.new_process()

    def _go_on(self, flight: Flight) -> None:
        """Carry the next Ask, or finish the op."""
        if flight.outcome is not None:
            flight.finished(flight.op, flight.outcome, flight.node)
            return
        world = self._world
        flight.request_id = 0
        when_ns = world.now_ns + self._delays_ns[int(self._draw() * QUANTILES)]
        if flight.pause_s:
            when_ns += int(flight.pause_s * NS_PER_S)
        heappush(world.heap, (when_ns, world.next_seq(), self._reached, flight))
        if flight.patience_s is not None:
            late_ns = when_ns + int(flight.patience_s * NS_PER_S)
            heappush(world.heap, (late_ns, world.next_seq(), self._late, (flight, flight.asks_count)))

    def _later(self, flight: Flight, reply: Any) -> None:
        world = self._world
        when_ns = world.now_ns + self._delays_ns[int(self._draw() * QUANTILES)]
        heappush(world.heap, (when_ns, world.next_seq(), self._told, (flight, flight.asks_count, reply)))

    def _reached(self, flight: Flight) -> None:
        if flight.outcome is not None:
            return
        node = self._nodes[flight.node]
        if self._world.messages is not None:
            what = f"{flight.call.f} by {flight.op.process}"
            self._world.messages.add(self._world.now_ns, "request", flight.node, what=what, body=flight.body)
        if node.state == "dead":
            self._later(flight, NoReply("not-sent", "connection refused"))
        else:
            node.request(flight, flight.body)

    def _late(self, argument: tuple[Flight, int]) -> None:
        """The patience of an Ask has passed: the session may ask elsewhere. An Ask that has not reached its node is waited for."""
        flight, ask_number = argument
        if flight.outcome is not None or ask_number != flight.asks_count:
            return
        if not flight.request_id:
            assert flight.patience_s is not None
            self._world.at(self._world.now_ns + int(flight.patience_s * NS_PER_S), self._late, argument)
            return
        self._nodes[flight.node].flights.pop(flight.request_id, None)
        self._told((flight, ask_number, LATE))

    def put(self, node: Node, body: msgspec.Struct) -> Question:
        """Ask the node at once, for a fault, which looks at the question again later."""
        question = Question()
        if self._world.messages is not None:
            self._world.messages.add(self._world.now_ns, "request", node.name, what="by the nemesis", body=body)
        if node.state == "dead":
            question.is_over = True
        else:
            node.request(question, body)
        return question

    def answer(self, flight: Flight | Question, body: Any) -> None:
        """A node answered."""
        if flight.__class__ is Question:
            flight.reply, flight.is_over = body, True
            return
        assert isinstance(flight, Flight)
        if self._world.messages is not None:
            what = f"to {flight.op.process}"
            self._world.messages.add(self._world.now_ns, "reply", flight.node, what=what, body=body)
        self._later(flight, body)

    def reset(self, flight: Flight | Question, why: str) -> None:
        """The process that held the call is gone."""
        if isinstance(flight, Question):
            flight.is_over = True
            return
        self._later(flight, NoReply("reset", why))

    def _told(self, argument: tuple[Flight, int, Any]) -> None:
        flight, ask_number, reply = argument
        try:
            is_news = self._runner.answered(flight, ask_number, reply)
        except SessionFailed as error:
            self._break(flight, error)
        else:
            if is_news:
                self._go_on(flight)

    def _queue(self, deadline: tuple[int, int, Callable[[Flight], None], Flight]) -> None:
        heappush(self._world.heap, deadline)
        self._queued_count += 1

    def queue_next_deadline(self) -> None:
        """The next deadline is in the event queue where nothing else there comes before it, also that of a flight that is over: who
        goes on with the next thing that happens goes on then."""
        deadlines, heap, now_ns = self._deadlines, self._world.heap, self._world.now_ns
        while deadlines and deadlines[0][0] < now_ns:
            deadlines.popleft()
        if deadlines and not (heap and heap[0] < deadlines[0]):
            self._queue(deadlines.popleft())

    def _timed_out(self, flight: Flight) -> None:
        self._queued_count -= 1
        if not self._queued_count:
            deadlines, now_ns = self._deadlines, self._world.now_ns
            while deadlines and deadlines[0][0] < now_ns:
                deadlines.popleft()
            for number, deadline in enumerate(deadlines):
                if deadline[3].outcome is None:
                    del deadlines[number]
                    self._queue(deadline)
                    break
        if flight.outcome is not None:
            return
        self._nodes[flight.node].flights.pop(flight.request_id, None)
        try:
            self._runner.timed_out(flight)
        except SessionFailed as error:
            self._break(flight, error)
        else:
            self._go_on(flight)

    def _break(self, flight: Flight, error: SessionFailed) -> None:
        """The op is over as `info`, and so is the run."""
        self._go_on(flight)
        self._world.fail(error)
