"""A node's clocks: what they read, and when the monotonic one will read so much."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from targets.skewed_clock import SkewedClock

TIMES = st.integers(0, 10**12)


@settings(deadline=None)
@given(TIMES, st.integers(-(10**10), 10**10), st.sampled_from([0.01, 0.3, 0.8, 1.0, 1.25, 3.7, 100.0]), TIMES)
def test_a_deadline_is_the_first_moment_at_which_the_clock_reads_it(
    set_ns: int, offset_ns: int, rate: float, later_ns: int
) -> None:
    clock = SkewedClock()
    clock.set_offset(set_ns, offset_ns)
    clock.set_rate(set_ns, rate)
    deadline_ns = clock.monotonic_ns(set_ns) + later_ns
    due_ns = clock.true_ns(deadline_ns)
    assert clock.monotonic_ns(due_ns) >= deadline_ns
    assert clock.monotonic_ns(due_ns - 1) < deadline_ns


@settings(deadline=None)
@given(TIMES, st.integers(-(10**10), 10**10), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 1.0, 2.0]))
def test_a_new_rate_changes_what_comes_and_not_what_is(set_ns: int, offset_ns: int, first: float, then: float) -> None:
    clock = SkewedClock()
    clock.set_offset(set_ns, offset_ns)
    clock.set_rate(set_ns, first)
    now_ns = set_ns + 10_000
    reads_ns = clock.local_ns(now_ns)
    clock.set_rate(now_ns, then)
    assert clock.local_ns(now_ns) == reads_ns
    assert clock.local_ns(now_ns + 1_000) == reads_ns + round(1_000 * then)


def test_an_offset_is_against_true_time_whatever_the_clock_read_before() -> None:
    clock = SkewedClock()
    clock.set_rate(0, 2.0)
    clock.set_offset(1_000, -5)
    assert clock.local_ns(1_000) == 995
    assert clock.local_ns(1_500) == 1_995
