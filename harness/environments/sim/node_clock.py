"""A node's own clock: piecewise linear in true time. It can be set, and can run fast or slow."""

from __future__ import annotations

BILLION = 1_000_000_000


class NodeClock:
    """local = base_local + (true - base_true) * rate.

    Invariant: `is_plain` exactly when the rate is 1; then local = true + offset_ns.
    """

    __slots__ = ("base_local_ns", "base_true_ns", "is_plain", "offset_ns", "rate_ppb")

    def __init__(self) -> None:
        self.base_true_ns = 0
        self.base_local_ns = 0
        self.rate_ppb = BILLION
        self.is_plain = True
        self.offset_ns = 0

    def local_ns(self, true_ns: int) -> int:
        """What the clock reads at `true_ns`."""
        if self.is_plain:
            return true_ns + self.offset_ns
        return self.base_local_ns + (true_ns - self.base_true_ns) * self.rate_ppb // BILLION

    def true_ns(self, local_ns: int) -> int:
        """The first true time at which the clock reads at least `local_ns`, as it runs now."""
        if self.is_plain:
            return local_ns - self.offset_ns
        return self.base_true_ns - (-(local_ns - self.base_local_ns) * BILLION // self.rate_ppb)

    def set_offset(self, now_ns: int, offset_ns: int) -> None:
        """From now on the clock reads true time plus `offset_ns`, plus what its rate adds from here."""
        self._rebase(now_ns, now_ns + offset_ns, self.rate_ppb)

    def set_rate(self, now_ns: int, rate: float) -> None:
        """From now on the clock runs `rate` seconds a second, from what it reads now. `rate` is greater than 0."""
        rate_ppb = round(rate * BILLION)
        assert rate_ppb > 0, f"a clock that stands still or runs backwards ({rate}) has no next deadline"
        self._rebase(now_ns, self.local_ns(now_ns), rate_ppb)

    def _rebase(self, true_ns: int, local_ns: int, rate_ppb: int) -> None:
        self.base_true_ns, self.base_local_ns, self.rate_ppb = true_ns, local_ns, rate_ppb
        self.is_plain = rate_ppb == BILLION
        self.offset_ns = local_ns - true_ns
