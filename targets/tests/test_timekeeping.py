"""A node's clock can be shifted and slowed, and timers follow it."""

from __future__ import annotations

import asyncio
import time

import pytest

from targets.timekeeping import NodeClock, Reading, Timers

MS = 1_000_000


def clock() -> NodeClock:
    return NodeClock(Reading.now())


def test_an_untouched_clock_reads_true_time() -> None:
    node = clock()
    before_ns = node.true_ns()
    assert before_ns <= node.now_ns() <= node.true_ns()
    assert abs(node.now_ns() - time.time_ns()) < 1000 * MS


def test_two_clocks_with_the_same_origin_agree() -> None:
    origin = Reading.now()
    assert Reading.parse(str(origin)) == origin
    first, second = NodeClock(origin), NodeClock(Reading.parse(str(origin)))
    before_ns = first.now_ns()
    assert before_ns <= second.now_ns() <= first.now_ns()


def test_an_offset_is_against_true_time_and_zero_restores_it() -> None:
    node = clock()
    node.set_offset_ns(10**12)
    node.set_offset_ns(-(10**12))
    assert abs(node.now_ns() - node.true_ns() + 10**12) < 100 * MS
    node.set_offset_ns(0)
    assert abs(node.now_ns() - node.true_ns()) < 100 * MS


def test_a_rate_changes_the_speed_without_a_jump() -> None:
    node = clock()
    before_ns = node.now_ns()
    node.set_rate(100.0)
    true_ns = node.true_ns()
    assert node.now_ns() - before_ns < 1000 * MS
    while node.true_ns() - true_ns < 5 * MS:
        pass
    assert node.now_ns() - before_ns > 490 * MS
    node.set_rate(1.0)
    ahead_ns = node.now_ns() - node.true_ns()
    assert ahead_ns > 480 * MS, "what it gained it keeps"
    node.set_offset_ns(0)
    assert abs(node.now_ns() - node.true_ns()) < 100 * MS


@pytest.mark.parametrize("rate", [0.0, -1.0, 1001.0, float("nan"), float("inf")])
def test_a_senseless_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"rate: .* is not between"):
        clock().set_rate(rate)


class Watch:
    def __init__(self, node: NodeClock) -> None:
        self.fired: list[tuple[str, int]] = []
        self.node = node
        self._news = asyncio.Event()
        self.timers = Timers(node, self._fire)

    def _fire(self, name: str) -> None:
        self.fired.append((name, self.node.now_ns()))
        self._news.set()

    async def next(self) -> tuple[str, int]:
        async with asyncio.timeout(10):
            while not self.fired:
                self._news.clear()
                await self._news.wait()
        return self.fired.pop(0)


def test_timers_fire_in_order_and_never_early() -> None:
    async def main() -> None:
        watch = Watch(clock())
        began_ns = watch.node.now_ns()
        watch.timers.set("late", 30 * MS)
        watch.timers.set("soon", 10 * MS)
        watch.timers.set("never", 15 * MS)
        watch.timers.cancel("never")
        watch.timers.cancel("unknown")
        name, at_ns = await watch.next()
        assert name == "soon"
        assert at_ns - began_ns >= 10 * MS
        name, at_ns = await watch.next()
        assert name == "late"
        assert at_ns - began_ns >= 30 * MS
        assert watch.fired == []

    asyncio.run(main())


def test_a_timer_that_is_set_again_forgets_its_old_time() -> None:
    async def main() -> None:
        watch = Watch(clock())
        began_ns = watch.node.now_ns()
        watch.timers.set("moved later", 5 * MS)
        watch.timers.set("moved later", 40 * MS)
        watch.timers.set("moved sooner", 10_000 * MS)
        watch.timers.set("moved sooner", 10 * MS)
        assert (await watch.next())[0] == "moved sooner"
        name, at_ns = await watch.next()
        assert name == "moved later"
        assert at_ns - began_ns >= 40 * MS

    asyncio.run(main())


def test_a_clock_that_jumps_neither_makes_timers_due_nor_puts_them_off() -> None:
    """As on real machines, where timers run on the monotonic clock."""

    async def main() -> None:
        watch = Watch(clock())
        watch.timers.set("hour", 3600 * 1000 * MS)
        watch.timers.set("soon", 50 * MS)
        watch.node.set_offset_ns(-3600 * 1000 * MS)
        watch.timers.set("now", 10 * MS)
        assert (await watch.next())[0] == "now"
        assert (await watch.next())[0] == "soon"
        watch.node.set_offset_ns(3600 * 1000 * MS)
        watch.timers.set("last", 10 * MS)
        assert (await watch.next())[0] == "last"
        assert watch.fired == []

    asyncio.run(main())


def test_delays_run_at_the_rate_of_the_clock() -> None:
    async def main() -> None:
        watch = Watch(clock())
        watch.timers.set("minute", 60_000 * MS)
        watch.node.set_rate(1000.0)
        watch.timers.rate_changed()
        true_ns = watch.node.true_ns()
        await watch.next()
        assert 59 * MS < watch.node.true_ns() - true_ns < 10_000 * MS

    asyncio.run(main())
