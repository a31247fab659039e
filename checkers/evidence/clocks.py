"""Evidence of the clocks: how wrong each node's was through the run."""

from __future__ import annotations

from checkers.evidence.kind import Kind, Part


class ClockSample(Part, frozen=True):
    """time: ns since just before the first op. offset_ns: each node's clock minus the controller's; None: it did not
    answer."""

    time: int
    offset_ns: dict[str, int | None]


class ClockSeries(Kind, frozen=True, tag="clocks"):
    """samples: in order of time."""

    samples: tuple[ClockSample, ...]
