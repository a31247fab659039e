"""The arithmetic of clocks: exact, and the same for the simulation and for real nodes."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from targets.skewed_clock import SkewedClock
from targets.timekeeping import NodeClock, Reading

RATES = (1.0, 0.5, 2.0, 1.05, 0.9999999, 1000.0, 0.001)


def changes(rng: random.Random) -> list[tuple[int, str, Any]]:
    """(true ns, what, value) in order of time."""
    now_ns = rng.randrange(10**12)
    found: list[tuple[int, str, Any]] = []
    for _ in range(rng.randint(1, 12)):
        now_ns += rng.randrange(10**11)
        change = ("rate", rng.choice(RATES)) if rng.random() < 0.5 else ("offset", rng.randint(-(10**11), 10**11))
        found.append((now_ns, *change))
    return found


@pytest.mark.parametrize("seed", range(50))
def test_it_reads_what_fractions_say_and_its_monotonic_clock_never_jumps(seed: int) -> None:
    rng = random.Random(seed)
    clock = SkewedClock()
    rate, local, monotonic, at_ns = Fraction(1), Fraction(0), Fraction(0), 0
    for changed, (now_ns, what, value) in enumerate(changes(rng), 1):
        local += (now_ns - at_ns) * rate
        monotonic += (now_ns - at_ns) * rate
        at_ns = now_ns
        assert abs(clock.local_ns(now_ns) - local) <= changed, "one ns is rounded off at a change"
        assert abs(clock.monotonic_ns(now_ns) - monotonic) <= changed
        before_ns = clock.monotonic_ns(now_ns)
        if what == "rate":
            rate = Fraction(clock.rate_ppb, 10**9)
            clock.set_rate(now_ns, value)
            rate = Fraction(clock.rate_ppb, 10**9)
            assert rate == Fraction(round(value * 10**9), 10**9)
        else:
            clock.set_offset(now_ns, value)
            local = Fraction(now_ns + value)
            assert clock.local_ns(now_ns) == now_ns + value
        assert clock.monotonic_ns(now_ns) == before_ns
        due_ns = before_ns + rng.randrange(10**10)
        true_ns = clock.true_ns(due_ns)
        assert clock.monotonic_ns(true_ns) >= due_ns > clock.monotonic_ns(true_ns - 1)


def test_a_real_nodes_clock_is_this_one_in_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    true_ns = 0
    monkeypatch.setattr(Reading, "true_ns", lambda _self: true_ns)
    for seed in range(20):
        plan = changes(random.Random(seed))
        true_ns = plan[0][0]
        real, exact = NodeClock(Reading(0, 0), offset_ns=7, rate=1.5), SkewedClock()
        exact.set_rate(true_ns, 1.5)
        exact.set_offset(true_ns, 7)
        for now_ns, what, value in plan:
            true_ns = now_ns
            if what == "rate":
                real.set_rate(value)
                exact.set_rate(now_ns, value)
            else:
                real.set_offset_ns(value)
                exact.set_offset(now_ns, value)
            true_ns += 12_345
            assert real.now_ns() == exact.local_ns(true_ns)
            assert real.monotonic_ns() == exact.monotonic_ns(true_ns)
            assert real.rate == value if what == "rate" else real.rate == exact.rate_ppb / 1e9
