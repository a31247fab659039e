"""The simulated network: one `Link` for each ordered pair of nodes.

A datagram link loses, repeats and reorders. A stream link is what TCP makes of the same wire: messages arrive once
and in order or the connection is reset; a lost packet is sent again late and holds up those behind it; what is sent
during a cut waits, and after it is delivered or lost with the connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any

import msgspec

from harness.environments.sim.delays import QUANTILES, quantiles_ns
from harness.environments.sim.options import SimOptions
from harness.environments.sim.world import World
from harness.errors import HarnessError
from histories.units import NS_PER_MS, NS_PER_S
from targets.core import Received

if TYPE_CHECKING:
    from harness.environments.sim.node import Node

RETRANSMIT_NS = 200 * NS_PER_MS
"""Least retransmission time-out of TCP on Linux."""

STREAM_WAITS_NS_MAX = 2_000 * NS_PER_MS
"""A stream's packet that would be held up longer, by losses or lateness, is given up with its connection: the nodes' HTTP client
opens another when an answer does not come. Everything sent since would wait behind it, until long after the heal. So is a message
that alone would take a link of low rate longer, such as a piece of a snapshot."""

QUEUE_WAITS_NS_MAX = 500 * NS_PER_MS
"""A packet is lost that would wait longer than that for its turn on a link of low rate: queues are finite, and half a second is an
overfull one of a router. Else a cluster that sends more than the link takes would be seconds apart, and long after the heal too."""

HELD_MAX = 1024
"""Messages that wait on one held link; more are lost, as when a sender's buffer is full."""

REORDER_NS_MAX = 30 * NS_PER_MS
"""By how much a reordered message may be late: many times the usual delay, less than an election time-out."""

LATE_NS_MIN, LATE_NS_MAX = 500 * NS_PER_MS, 5_000 * NS_PER_MS
"""Bounds of how late a late packet is: longer than an election, and up to several terms."""

FLOOD_MESSAGES, FLOOD_NS = 1 << 18, 100 * NS_PER_MS
"""So many messages within so short a time are a flood: nodes answer one message by several, without end. A real network would lose
them; a simulated run would never end, and take all memory. The busiest sound clusters send a hundredth of that."""

KINDS = ("slow", "loss", "duplicate", "reorder", "late", "corrupt", "rate")

Packet = tuple[Received, int, int]
"""The event for the receiver, the receiver's incarnation when it was sent, and its number in the message log (or 0)."""


class Disturbance(msgspec.Struct):
    """What one link does to the packets that pass; all zero: nothing."""

    slow_ns: int = 0
    jitter_ns: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    late: float = 0.0
    corrupt: float = 0.0
    bytes_per_s: float = 0.0


class Link:
    """The way from one node to another.

    Invariant: `is_plain` exactly when nothing disturbs it, so that the common case is one comparison.
    """

    __slots__ = (
        "busy_until_ns",
        "delays_ns",
        "disturbance",
        "held",
        "is_cut",
        "is_held",
        "is_plain",
        "is_stream",
        "last_ns",
        "network",
        "random",
        "source",
        "target",
        "world",
    )

    def __init__(self, network: Network, source: str, delays_ns: tuple[int, ...]) -> None:
        self.network = network
        self.world = network.world
        self.random: Callable[[], float] = network.rng.random
        self.source = source
        self.target: Node
        self.delays_ns = delays_ns
        self.is_stream = network.is_stream
        self.is_cut = False
        self.is_held = False
        self.is_plain = True
        self.disturbance = Disturbance()
        self.held: list[Packet] = []
        self.last_ns = 0
        self.busy_until_ns = 0

    def send(self, message: msgspec.Struct) -> None:
        """The message is on its way, or lost."""
        world = self.world
        target = self.target
        network = self.network
        network.sent_count += 1
        if not network.sent_count % FLOOD_MESSAGES:
            network.look_for_flood(self.source)
        number = 0 if world.messages is None else self._log_send(message)
        packet = (Received(self.source, message), target.incarnation, number)
        if self.is_plain:
            when_ns = world.now_ns + self.delays_ns[int(self.random() * QUANTILES)]
            if self.is_stream:
                if when_ns <= self.last_ns:
                    when_ns = self.last_ns + 1
                self.last_ns = when_ns
            heappush(world.heap, (when_ns, world.next_seq(), self._arrive, packet))
        else:
            self._send_disturbed(packet)

    def _send_disturbed(self, packet: Packet) -> None:
        world = self.world
        draw = self.random
        how = self.disturbance
        when_ns = world.now_ns
        if how.bytes_per_s:
            if self.busy_until_ns - when_ns > QUEUE_WAITS_NS_MAX:
                self._log_drop(packet, "queue is full")
                return
            size_bytes = len(msgspec.json.encode(packet[0].message))
            takes_ns = int(size_bytes * 1e9 / how.bytes_per_s)
            when_ns = max(when_ns, self.busy_until_ns) + min(takes_ns, STREAM_WAITS_NS_MAX)
            self.busy_until_ns = when_ns
            if takes_ns > STREAM_WAITS_NS_MAX:
                self._log_drop(packet, "takes too long on the link")
                return
        when_ns += self.delays_ns[int(draw() * QUANTILES)]
        if how.slow_ns or how.jitter_ns:
            when_ns += max(0, how.slow_ns + int((2 * draw() - 1) * how.jitter_ns))
        sent_ns = when_ns
        for why, probability in (("lost", how.loss), ("checksum does not match", how.corrupt)):
            tries = 0
            while probability and draw() < probability:
                self.network.count(why)
                if not self.is_stream:
                    self._log_drop(packet, why)
                    return
                when_ns += RETRANSMIT_NS << tries
                tries += 1
                if when_ns - sent_ns > STREAM_WAITS_NS_MAX:
                    self._log_drop(packet, "connection reset")
                    return
        if how.late and draw() < how.late:
            self.network.count("late")
            when_ns += _lateness_ns(draw())
        if how.reorder and draw() < how.reorder:  # A stream holds back what is behind it, as TCP does.
            self.network.count("reordered")
            when_ns += int(draw() * REORDER_NS_MAX)
        if self.is_stream:
            if when_ns - sent_ns > STREAM_WAITS_NS_MAX:
                self._log_drop(packet, "connection reset")
                return
            when_ns = max(when_ns, self.last_ns + 1)
            self.last_ns = when_ns
        else:
            if how.duplicate and draw() < how.duplicate:
                self.network.count("duplicated")
                world.at(when_ns + int(draw() * REORDER_NS_MAX), self._arrive, packet)
        world.at(when_ns, self._arrive, packet)

    def _arrive(self, packet: Packet) -> None:
        if self.is_cut or self.is_held:
            self._stopped(packet)
            return
        target = self.target
        event, incarnation, number = packet
        if target.state == "dead":
            self._log_drop(packet, "no process listens")
            return
        if self.is_stream and incarnation != target.incarnation:
            self._log_drop(packet, "connection reset")
            return
        if (target.state == "paused" or target.step_cost_ns) and target.is_put_off(self._arrive, packet):
            return
        if number:
            self._log_delivery(packet)
        target.step(event)

    def _stopped(self, packet: Packet) -> None:
        """A packet reached the place where the link is cut or held."""
        if (self.is_held or self.is_stream) and len(self.held) < HELD_MAX:
            self.held.append(packet)
            if packet[2]:
                self._log(packet, "hold")
        else:
            self._log_drop(packet, "link is cut")

    def cut(self, is_cut: bool) -> None:
        """From now on nothing arrives, or again everything; a stream's waiting messages are then delivered or reset."""
        if is_cut == self.is_cut:
            return
        self.is_cut = is_cut
        if not is_cut and not self.is_held:
            self._let_go(survives=self.random() < 0.5)

    def hold(self, is_held: bool) -> None:
        """Keep all that arrives, or release it in order."""
        if is_held == self.is_held:
            return
        self.is_held = is_held
        if not is_held and not self.is_cut:
            self._let_go(survives=True)

    def _let_go(self, survives: bool) -> None:
        # All at once: a later one that is still on its way must not overtake.
        held, self.held = self.held, []
        for packet in held:
            if survives:
                self.world.at(self.world.now_ns, self._arrive, packet)
            else:
                self._log_drop(packet, "connection reset")

    # --- message log ----------------------------------------------------------------------------------------------

    def _log_send(self, message: msgspec.Struct) -> int:
        messages = self.world.messages
        assert messages is not None
        number = messages.next_number()
        what = type(message).__name__
        messages.add(
            self.world.now_ns, "send", self.source, peer=self.target.name, what=what, number=number, body=message
        )
        return number

    def _log_delivery(self, packet: Packet) -> None:
        assert self.world.messages is not None
        what = type(packet[0].message).__name__
        self.world.messages.add(
            self.world.now_ns, "deliver", self.target.name, peer=self.source, what=what, number=packet[2]
        )

    def _log_drop(self, packet: Packet, why: str) -> None:
        self.network.count("dropped: " + why)
        if packet[2]:
            self._log(packet, "drop", why)

    def _log(self, packet: Packet, kind: Any, why: str = "") -> None:
        assert self.world.messages is not None
        what = type(packet[0].message).__name__
        self.world.messages.add(
            self.world.now_ns, kind, self.source, peer=self.target.name, what=what, number=packet[2], why=why
        )


class Network:
    """All links, and what was done to them."""

    def __init__(self, world: World, options: SimOptions, names: Sequence[str]) -> None:
        self.world = world
        self.rng: random.Random = world.rng("network")
        self.is_stream = options.transport == "stream"
        self.counts: dict[str, int] = {}
        self.sent_count = 0
        """Messages that nodes sent each other, lost ones too."""
        self._looked_ns = -FLOOD_NS
        self._base = Disturbance(
            loss=options.loss, duplicate=options.duplicate, reorder=options.reorder, corrupt=options.corrupt
        )
        self._in_force: dict[str, dict[tuple[str, str], dict[str, float]]] = {}
        assert options.delay_ms_mean is not None, "drawn by the environment"
        self.links: dict[str, dict[str, Link]] = {}
        """source -> destination -> link"""
        for source in names:
            self.links[source] = {}
            for target in names:
                if target != source:
                    mean_ms = options.link_delay_ms.get(f"{source}>{target}", options.delay_ms_mean)
                    least_ms = min(options.delay_ms_min, mean_ms)
                    delays_ns = quantiles_ns(options.delay, int(least_ms * NS_PER_MS), int(mean_ms * NS_PER_MS))
                    self.links[source][target] = Link(self, source, delays_ns)
        self._refresh()

    def connect(self, nodes: Sequence[Node]) -> None:
        """Give each link its receiver."""
        for node in nodes:
            for targets in self.links.values():
                if node.name in targets:
                    targets[node.name].target = node

    def look_for_flood(self, source: str) -> None:
        """Called each FLOOD_MESSAGES messages. Raises HarnessError at a flood, which ends the run."""
        now_ns = self.world.now_ns
        took_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        if took_ns < FLOOD_NS:
            span = f"{took_ns / NS_PER_S:.3f} s of virtual time, up to {now_ns / NS_PER_S:.3f} s"
            self.world.fail(
                HarnessError(
                    f"the nodes flood the network: {FLOOD_MESSAGES:,} messages in {span}; the last is of {source}"
                )
            )

    def count(self, what: str) -> None:
        """One more of what befell a packet."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def cut_exactly(self, pairs: set[tuple[str, str]]) -> None:
        """These (source, destination) links are cut and no others."""
        for source, targets in self.links.items():
            for target, link in targets.items():
                link.cut((source, target) in pairs)

    def hold(self, pairs: Sequence[tuple[str, str]]) -> None:
        """These links keep whatever arrives until `release`."""
        for source, target in pairs:
            self.links[source][target].hold(True)

    def release(self) -> None:
        """Every held link delivers what it kept, in order."""
        for targets in self.links.values():
            for link in targets.values():
                link.hold(False)

    def disturb(self, kind: str, links: Sequence[tuple[str, str]], parameters: dict[str, float]) -> None:
        """These links are disturbed in this way, and of this kind no others."""
        self._in_force[kind] = dict.fromkeys(links, parameters)
        self._refresh()

    def undisturb(self) -> None:
        """Only what the options ask for the whole run is left."""
        self._in_force = {}
        self._refresh()

    def _refresh(self) -> None:
        none = Disturbance()
        for source, targets in self.links.items():
            for target, link in targets.items():
                how = msgspec.structs.replace(self._base)
                for kind, pairs in self._in_force.items():
                    parameters = pairs.get((source, target))
                    if parameters is not None:
                        _add(how, kind, parameters)
                link.disturbance = how
                link.is_plain = how == none

    def in_force(self) -> dict[str, list[list[str]]]:
        """kind -> the links that are disturbed so, read from the links themselves; what the options set is not in
        it."""
        found: dict[str, list[list[str]]] = {}
        base = _kinds(self._base)
        for source, targets in self.links.items():
            for target, link in targets.items():
                here = _kinds(link.disturbance)
                for kind in KINDS:
                    if here[kind] != base[kind]:
                        found.setdefault(kind, []).append([source, target])
        return found


def _lateness_ns(draw: float) -> int:
    """How late a late packet is: half are less than a second late, one in ten is LATE_NS_MAX late (Pareto's law, cut off)."""
    return min(LATE_NS_MAX, int(LATE_NS_MIN / (1 - draw)))


def _add(how: Disturbance, kind: str, parameters: dict[str, float]) -> None:
    match kind:
        case "slow":
            how.slow_ns += int(parameters.get("delay_ms", 0) * NS_PER_MS)
            how.jitter_ns += int(parameters.get("jitter_ms", 0) * NS_PER_MS)
        case "loss":
            how.loss = min(1.0, how.loss + parameters["probability"])
        case "duplicate":
            how.duplicate = min(1.0, how.duplicate + parameters["probability"])
        case "reorder":
            how.reorder = min(1.0, how.reorder + parameters["probability"])
        case "late":
            how.late = min(1.0, how.late + parameters["probability"])
        case "corrupt":
            how.corrupt = min(1.0, how.corrupt + parameters["probability"])
        case "rate":
            how.bytes_per_s = parameters["bytes_per_s"]
        case _:
            raise AssertionError(f"{kind} is none of {', '.join(KINDS)}")


def _kinds(how: Disturbance) -> dict[str, tuple[float, ...]]:
    return {
        "slow": (how.slow_ns, how.jitter_ns),
        "loss": (how.loss,),
        "duplicate": (how.duplicate,),
        "reorder": (how.reorder,),
        "late": (how.late,),
        "corrupt": (how.corrupt,),
        "rate": (how.bytes_per_s,),
    }
