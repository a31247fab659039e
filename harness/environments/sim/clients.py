"""Simulated clients: carry what sessions ask to a node and the answer back, and tell them when their time has passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappush
from typing import Any

from harness.clients.sessions import PendingCall, SessionFailed, SessionRunner
from harness.environments.sim.delays import QUANTILES, quantiles_ns
from harness.environments.sim.node import Node
from harness.environments.sim.options import SimOptions
from harness.environments.sim.world import World
from histories.op import Op
from histories.units import NS_PER_MS, NS_PER_S
from targets.session import Call, NoReply, Outcome

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


class Clients:
    """Carries what sessions ask over client links, which no nemesis touches: they are the harness' own."""

    def __init__(self, world: World, options: SimOptions, timeout_s: float) -> None:
        self._world = world
        self._draw = world.rng("clients").random
        mean_ns = int(options.client_delay_ms * NS_PER_MS)
        self._delays_ns = quantiles_ns(options.delay, min(int(options.delay_ms_min * NS_PER_MS), mean_ns), mean_ns)
        self._timeout_ns = int(timeout_s * NS_PER_S)
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
        heappush(world.heap, (world.now_ns + self._timeout_ns, world.next_seq(), self._timed_out, flight))
        try:
            self._runner.begin(flight)
        except SessionFailed as error:
            self._break(flight, error)
        else:
            self._go_on(flight)

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
        heappush(world.heap, (when_ns, world.next_seq(), self._reached, flight))

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

    def answer(self, flight: Flight, body: Any) -> None:
        """A node answered."""
        if self._world.messages is not None:
            what = f"to {flight.op.process}"
            self._world.messages.add(self._world.now_ns, "reply", flight.node, what=what, body=body)
        self._later(flight, body)

    def reset(self, flight: Flight, why: str) -> None:
        """The process that held the call is gone."""
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

    def _timed_out(self, flight: Flight) -> None:
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
