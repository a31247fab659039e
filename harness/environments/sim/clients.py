"""Simulated clients: carry a call's body to a node and the answer back, follow redirects, give up after the time-out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappush
from typing import Any

import msgspec

from harness.environments.sim.delays import QUANTILES, quantiles_ns
from harness.environments.sim.node import Node
from harness.environments.sim.options import SimOptions
from harness.environments.sim.world import NS_PER_MS, NS_PER_S, World
from histories.op import Op
from targets.target import Call, Client, NoReply, Outcome, Redirect

REDIRECTS_MAX = 3

Finished = Callable[[Op, Outcome, str], None]
"""Told how an invocation ended, and which node was asked last."""


class Flight:
    """One call under way. Invariant: once `is_done`, whatever still arrives for it is ignored."""

    __slots__ = ("body", "call", "finished", "is_done", "node", "op", "redirects", "request_id")

    def __init__(self, op: Op, call: Call, body: msgspec.Struct, node: Node, finished: Finished) -> None:
        self.op = op
        self.call = call
        self.body = body
        self.node = node
        self.finished = finished
        self.redirects = 0
        self.request_id = 0
        self.is_done = False


class Clients:
    """Carries calls over client links, which no nemesis touches: they are the harness' own."""

    def __init__(self, world: World, options: SimOptions, timeout_s: float) -> None:
        self._world = world
        self._draw = world.rng("clients").random
        mean_ns = int(options.client_delay_ms * NS_PER_MS)
        self._delays_ns = quantiles_ns(options.delay, min(int(options.delay_ms_min * NS_PER_MS), mean_ns), mean_ns)
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self.nodes: Sequence[Node] = ()
        self.by_name: Mapping[str, Node] = {}
        self.client: Client | None = None

    def connect(self, nodes: Sequence[Node]) -> None:
        """The nodes that calls go to."""
        self.nodes = nodes
        self.by_name = {node.name: node for node in nodes}

    def start(self, op: Op, process: int, finished: Finished) -> None:
        """Ask the home node of `process`; `finished` is called exactly once, at the latest after the time-out."""
        assert self.client is not None
        call = Call(op.f, op.key, op.value)
        flight = Flight(op, call, self.client.request(call), self.nodes[process % len(self.nodes)], finished)
        world = self._world
        heappush(world.heap, (world.now_ns + self._timeout_ns, world.next_seq(), self._timed_out, flight))
        self._ask(flight)

    def _ask(self, flight: Flight) -> None:
        world = self._world
        flight.request_id = 0
        when_ns = world.now_ns + self._delays_ns[int(self._draw() * QUANTILES)]
        heappush(world.heap, (when_ns, world.next_seq(), self._reached, flight))

    def _later(self, flight: Flight, reply: Any) -> None:
        world = self._world
        when_ns = world.now_ns + self._delays_ns[int(self._draw() * QUANTILES)]
        heappush(world.heap, (when_ns, world.next_seq(), self._told, (flight, flight.redirects, reply)))

    def _reached(self, flight: Flight) -> None:
        if flight.is_done:
            return
        if self._world.messages is not None:
            what = f"{flight.call.f} by {flight.op.process}"
            self._world.messages.add(self._world.now_ns, "request", flight.node.name, what=what, body=flight.body)
        if flight.node.state == "dead":
            self._later(flight, NoReply("not-sent", "connection refused"))
        else:
            flight.node.request(flight, flight.body)

    def answer(self, flight: Flight, body: Any) -> None:
        """A node answered."""
        if self._world.messages is not None:
            what = f"to {flight.op.process}"
            self._world.messages.add(self._world.now_ns, "reply", flight.node.name, what=what, body=body)
        self._later(flight, body)

    def reset(self, flight: Flight, why: str) -> None:
        """The process that held the call is gone."""
        self._later(flight, NoReply("reset", why))

    def _told(self, argument: tuple[Flight, int, Any]) -> None:
        flight, redirects, reply = argument
        if flight.is_done or redirects != flight.redirects:
            return
        assert self.client is not None
        outcome = self.client.outcome(flight.call, reply)
        if outcome.__class__ is Redirect:
            node = self.by_name.get(outcome.node)
            if node is not None and flight.redirects < REDIRECTS_MAX:
                flight.redirects += 1
                flight.node = node
                self._ask(flight)
                return
            outcome = outcome.otherwise
        self._finish(flight, outcome)  # type: ignore[arg-type]

    def _timed_out(self, flight: Flight) -> None:
        if flight.is_done:
            return
        flight.node.flights.pop(flight.request_id, None)
        assert self.client is not None
        outcome = self.client.outcome(flight.call, NoReply("timeout"))
        self._finish(flight, outcome.otherwise if isinstance(outcome, Redirect) else outcome)

    def _finish(self, flight: Flight, outcome: Outcome) -> None:
        flight.is_done = True
        flight.finished(flight.op, outcome, flight.node.name)
