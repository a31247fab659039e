"""Reads nodes' clocks over the network, by the shortest of several round trips, and makes offsets and rates of such readings."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping

import msgspec

from nemesis.capabilities import NodeId
from targets.timekeeping import Reading

ClockReading = tuple[int, int]
"""A clock minus true time, and when that was so on the monotonic clock; both in ns."""


READINGS = 3


class Exchange(msgspec.Struct, frozen=True):
    """A reading over the network: what the clock showed, and the monotonic times between which it was read."""

    clock_ns: int
    asked_ns: int
    answered_ns: int

    @property
    def took_ns(self) -> int:
        """The round trip. The error of the reading is at most half of it."""
        return self.answered_ns - self.asked_ns

    @property
    def middle_ns(self) -> int:
        """When the clock was read, as near as one can tell."""
        return (self.asked_ns + self.answered_ns) // 2

    def reading(self, origin: Reading) -> ClockReading:
        """The clock against true time, which counts from `origin`."""
        return self.clock_ns - origin.wall_ns - (self.middle_ns - origin.monotonic_ns), self.middle_ns


def shortest(ask: Callable[[], Exchange], enough_ns: int = 0, readings: int = READINGS) -> Exchange:
    """Of several readings the one with the shortest round trip; no reading follows one that took no longer than `enough_ns`."""
    best = ask()
    for _ in range(readings - 1):
        if best.took_ns > enough_ns:
            best = min(best, ask(), key=lambda exchange: exchange.took_ns)
    return best


def shortest_of_each(
    ask: Callable[[Collection[NodeId]], Mapping[NodeId, Exchange]], nodes: Collection[NodeId]
) -> dict[NodeId, Exchange]:
    """The shortest reading of each of several nodes that are asked at once; a node that does not answer is left out, and not asked
    again."""
    best: dict[NodeId, Exchange] = {}
    asked = sorted(nodes)
    for _ in range(READINGS):
        answers = ask(asked)
        asked = [node for node in asked if node in answers]
        for node in asked:
            best[node] = min(best.get(node, answers[node]), answers[node], key=lambda exchange: exchange.took_ns)
    return best


class ClockReader(ABC):
    """The measuring half of nemesis.capabilities.Clocks. apart_s: the time between the two readings that give a rate; the longer it
    is, the more exact is the rate."""

    apart_s = 0.3

    @abstractmethod
    def _read(self) -> Mapping[NodeId, ClockReading | None]:
        """Each node's clock now; None where it cannot be read."""

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        """Each node's clock minus the controller's, measured now; None where it cannot be read."""
        return {node: None if reading is None else reading[0] for node, reading in self._read().items()}

    def rates(self) -> Mapping[NodeId, float | None]:
        """How many seconds each node's clock runs in one of the controller's; None where it cannot be read."""
        first = self._read()
        time.sleep(self.apart_s)
        second = self._read()
        rates: dict[NodeId, float | None] = {}
        for node, then in first.items():
            now = second[node]
            rates[node] = None if then is None or now is None else 1 + (now[0] - then[0]) / (now[1] - then[1])
        return rates
