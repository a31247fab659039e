"""What is made of readings of the nodes' clocks, however they were had."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from nemesis.capabilities import NodeId

ClockReading = tuple[int, int]
"""A clock minus true time, and when that was so on the monotonic clock; both in ns."""


class ClockReader(ABC):
    """The measuring half of nemesis.capabilities.Clocks. apart_s: between the two readings that tell a rate: the longer, the less
    it is off."""

    apart_s = 0.3

    @abstractmethod
    def _read(self) -> Mapping[NodeId, ClockReading | None]:
        """Each node's clock now; None where it cannot be read."""

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        """See Clocks."""
        return {node: None if reading is None else reading[0] for node, reading in self._read().items()}

    def rates(self) -> Mapping[NodeId, float | None]:
        """See Clocks."""
        first = self._read()
        time.sleep(self.apart_s)
        second = self._read()
        rates: dict[NodeId, float | None] = {}
        for node, then in first.items():
            now = second[node]
            rates[node] = None if then is None or now is None else 1 + (now[0] - then[0]) / (now[1] - then[1])
        return rates
