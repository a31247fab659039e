"""How wrong each node's clock was through a run: measured once a second, kept as a series beside the verdict."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from checkers import Verdict
from checkers.evidence import ClockSample, ClockSeries
from nemesis.capabilities import Clocks, FaultError

CHECKER = "clocks"
INTERVAL_S = 1.0

_log = logging.getLogger("themis")


@contextmanager
def sampling(clocks: Clocks | None, interval_s: float = INTERVAL_S) -> Iterator[list[ClockSample]]:
    """A list that grows by one sample each `interval_s` while the block runs; it stays empty where clocks cannot be read."""
    samples: list[ClockSample] = []
    if clocks is None:
        yield samples
        return
    over = threading.Event()
    began_ns = time.monotonic_ns()

    def watch() -> None:
        while not over.wait(interval_s):
            try:
                offsets = clocks.offsets_ns()
            except (FaultError, OSError) as error:
                _log.info("the clocks could not be read: %s", error)
                continue
            samples.append(ClockSample(time.monotonic_ns() - began_ns, dict(offsets)))

    thread = threading.Thread(target=watch, name="clock-series", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join(timeout=10)


def series(samples: Sequence[ClockSample]) -> Verdict:
    """The samples as evidence; always VALID: a wrong clock is a fault, not an anomaly."""
    known = [abs(offset) for sample in samples for offset in sample.offset_ns.values() if offset is not None]
    return Verdict.valid(
        CHECKER,
        evidence=ClockSeries(tuple(samples)),
        stats={"samples": len(samples), "offset_ns_max": max(known, default=0)},
    )
