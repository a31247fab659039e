"""The rows: what Porcupine and a throw-away prototype needed for them is what they are compared with.

Porcupine: its newest version, Go 1.27, a 2-core machine, 8 GiB. Prototype: C++, the check only. Seconds; None: not decided
within a minute, or out of memory. Ours is from History in memory to verdict.
"""

from __future__ import annotations

import msgspec

from checkers.bench.generate import Variant


class Row(msgspec.Struct, frozen=True):
    """One history, and the seconds that others needed for one like it. spare: see generate.cas_register."""

    operations: int
    processes: int
    crashed: float
    variant: Variant
    porcupine_s: float | None = None
    prototype_s: float | None = None
    spare: bool = False

    @property
    def name(self) -> str:
        """What the table calls it; * where no crashed operation can explain the stale read."""
        variant = {"valid": "valid", "middle": "stale in the middle", "end": "stale near the end"}[self.variant]
        sure = " *" if self.spare else ""
        return f"{self.operations:,} ops, {self.processes} processes, {self.crashed:.1%} crashed, {variant}{sure}"


GRID = (
    Row(1_000, 20, 0, "valid", 0.51, 0.001),
    Row(1_000, 20, 0, "middle", 49.5, 0.03),
    Row(1_000, 20, 0, "end", None, 0.2),
    Row(1_000, 20, 0.01, "end", None, 0.9),
    Row(10_000, 5, 0.001, "end", 47.8, 0.05),
    Row(10_000, 20, 0, "valid", None, 0.03),
    Row(100_000, 5, 0, "valid", 0.75, 0.03),
    Row(100_000, 5, 0, "middle", 4.8, 0.04),
    Row(100_000, 5, 0, "end", None, 0.07),
    Row(100_000, 10, 0, "valid", None, 0.03),
    Row(100_000, 10, 0, "middle", None, 0.15),
    Row(10_000, 20, 0, "middle", None, 0.4),
    Row(1_000, 40, 0, "valid", None, 0.5),
    Row(1_000, 40, 0, "middle", None, 21),
    Row(1_000_000, 5, 0, "valid", None, 0.2),
    Row(1_000_000, 5, 0, "middle", None, 0.35),
    Row(10_000, 5, 0.01, "middle", None, None),
    Row(10_000, 5, 0.01, "middle", None, None, spare=True),
    Row(10_000, 20, 0.01, "middle", None, None, spare=True),
)

_KINDS: tuple[tuple[float, Variant], ...] = ((0.0, "valid"), (0.0, "end"), (0.001, "end"))

GROWTH = tuple(
    Row(10**power, 5, crashed, variant, spare=variant != "valid")
    for crashed, variant in _KINDS
    for power in (3, 4, 5, 6)
)
"""Fixed concurrency, growing length: the time for one operation should not grow with it."""
