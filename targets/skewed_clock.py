"""The arithmetic of a node's own clocks, exact in integers: what they read at a true time, for the simulation and for real nodes.

A node has two, as a machine does. Its clock can be set and so jumps; its monotonic clock never jumps, and timers run on it. Both
run at one rate, which may be wrong: no node can tell how fast its own crystal swings.
"""

from __future__ import annotations

BILLION = 1_000_000_000


class SkewedClock:
    """reading = base + (true - base_true) * rate, for either clock.

    Invariant: `is_plain` exactly when the rate is 1; then local = true + offset_ns, and monotonic = true + drift_ns, what wrong
    rates have added so far.
    """

    __slots__ = (
        "base_local_ns",
        "base_monotonic_ns",
        "base_true_ns",
        "drift_ns",
        "is_plain",
        "offset_ns",
        "rate_ppb",
    )

    def __init__(self) -> None:
        self.base_true_ns = 0
        self.base_local_ns = 0
        self.base_monotonic_ns = 0
        self.rate_ppb = BILLION
        self.is_plain = True
        self.offset_ns = 0
        self.drift_ns = 0

    def local_ns(self, true_ns: int) -> int:
        """What the clock reads at `true_ns`."""
        if self.is_plain:
            return true_ns + self.offset_ns
        return self.base_local_ns + (true_ns - self.base_true_ns) * self.rate_ppb // BILLION

    def monotonic_ns(self, true_ns: int) -> int:
        """What the monotonic clock reads at `true_ns`."""
        if self.is_plain:
            return true_ns + self.drift_ns
        return self.base_monotonic_ns + (true_ns - self.base_true_ns) * self.rate_ppb // BILLION

    def true_ns(self, monotonic_ns: int) -> int:
        """The first true time at which the monotonic clock reads at least `monotonic_ns`, as it runs now."""
        if self.is_plain:
            return monotonic_ns - self.drift_ns
        return self.base_true_ns - (-(monotonic_ns - self.base_monotonic_ns) * BILLION // self.rate_ppb)

    def set_offset(self, now_ns: int, offset_ns: int) -> None:
        """From `now_ns` on the clock reads true time plus `offset_ns`, plus what its rate adds from here. Timers do not see it."""
        self._rebase(now_ns, now_ns + offset_ns, self.rate_ppb)

    def set_rate(self, now_ns: int, rate: float) -> None:
        """From `now_ns` on both clocks run `rate` seconds a second, from what they read then. `rate` is greater than 0."""
        rate_ppb = round(rate * BILLION)
        assert rate_ppb > 0, f"a clock that stands still or runs backwards ({rate}) has no next deadline"
        self._rebase(now_ns, self.local_ns(now_ns), rate_ppb)

    def _rebase(self, true_ns: int, local_ns: int, rate_ppb: int) -> None:
        monotonic_ns = self.monotonic_ns(true_ns)
        self.base_true_ns, self.base_local_ns, self.base_monotonic_ns = true_ns, local_ns, monotonic_ns
        self.rate_ppb = rate_ppb
        self.is_plain = rate_ppb == BILLION
        self.offset_ns = local_ns - true_ns
        self.drift_ns = monotonic_ns - true_ns
