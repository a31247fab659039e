"""Effects are performed in order, and nothing behind a Persist before it is durable (targets.core, rules 1, 2 and 4)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine

import msgspec

from histories.tracing import Custom
from targets.core import CancelTimer, Effect, Halt, Persist, Reply, Send, SetTimer, Trace
from targets.outbox import Answer, Outbox, Performed
from targets.tests.echo import Note, Put


class Disk:
    """Lets the test say when a sync ends, and whether it fails."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.checkpoints: list[bool] = []
        self.failure: OSError | None = None
        self._allowed = threading.Semaphore(0)

    def append(self, batch: list[bytes], is_checkpoint: bool) -> None:
        self.batches.append(batch)
        self.checkpoints.append(is_checkpoint)
        assert self._allowed.acquire(timeout=10)
        if self.failure is not None:
            raise self.failure

    def sync(self) -> None:
        self._allowed.release()


class Bench:
    def __init__(self) -> None:
        self.disk = Disk()
        self.done: list[Performed | SetTimer | CancelTimer | int | str] = []
        self.on_durable: Callable[[int], None] = self.done.append
        self.outbox = Outbox(
            append=self.disk.append,
            perform=self.done.append,
            set_timer=self.done.append,
            on_durable=lambda token: self.on_durable(token),
            on_failure=self.done.append,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (what is waited for happens in the outbox, which has no event)
                await asyncio.sleep(0.001)


def run(test: Callable[[Bench], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await test(bench)
        finally:
            for _ in range(10):
                bench.disk.sync()
            bench.outbox.close()

    asyncio.run(main())


def send(text: str) -> Send:
    return Send("n2", Note(text))


def put(key: str, token: int | None = None) -> Persist:
    return Persist(Put(key, 1), token)


def test_what_stands_before_a_persist_is_done_at_once_and_the_rest_when_it_is_durable() -> None:
    async def test(bench: Bench) -> None:
        reply, trace = Reply(1, Note("r")), Trace(Custom("t"))
        bench.outbox.put([send("a"), put("k", token=7), send("b"), reply, trace])
        assert bench.done == [send("a")]
        await bench.until(lambda: len(bench.disk.batches) == 1)
        assert bench.done == [send("a")], "written is not durable"
        bench.disk.sync()
        await bench.until(lambda: len(bench.done) > 1)
        assert bench.done == [send("a"), send("b"), reply, trace, 7]
        assert bench.outbox.is_idle

    run(test)


def test_a_halt_waits_for_nothing_and_ends_the_step() -> None:
    async def test(bench: Bench) -> None:
        bench.outbox.put([put("k"), send("a"), Halt("h"), send("b")])
        assert bench.done == [Halt("h")]

    run(test)


def test_later_steps_wait_behind_a_persist_that_is_not_durable() -> None:
    async def test(bench: Bench) -> None:
        bench.outbox.put([put("k")])
        later: list[Effect | Answer] = [send("later"), Answer(3, Note("x"))]
        bench.outbox.put(later)
        await bench.until(lambda: len(bench.disk.batches) == 1)
        assert bench.done == []
        bench.disk.sync()
        await bench.until(lambda: bool(bench.done))
        assert bench.done == later

    run(test)


def test_records_that_come_during_a_sync_share_the_next_one() -> None:
    async def test(bench: Bench) -> None:
        bench.outbox.put([put("a"), send("a")])
        bench.outbox.put([put("b"), send("b")])
        await bench.until(lambda: len(bench.disk.batches) == 1)
        for key in "cde":
            bench.outbox.put([put(key), send(key)])
        bench.disk.sync()
        await bench.until(lambda: len(bench.disk.batches) == 2)
        assert bench.done == [send("a"), send("b")]
        bench.disk.sync()
        await bench.until(lambda: len(bench.done) == 5)
        assert bench.done == [send(key) for key in "abcde"]
        found = [[msgspec.json.decode(record)["key"] for record in batch] for batch in bench.disk.batches]
        assert found == [["a", "b"], ["c", "d", "e"]]

    run(test)


def test_a_checkpoint_takes_the_place_of_the_records_that_wait_with_it() -> None:
    async def test(bench: Bench) -> None:
        bench.outbox.put([put("a"), send("a")])
        await bench.until(lambda: len(bench.disk.batches) == 1)
        whole = Persist(Put("all", 1), 7, is_checkpoint=True)
        bench.outbox.put([put("b"), send("b"), whole, send("c"), put("d"), send("d")])
        bench.disk.sync()
        await bench.until(lambda: len(bench.disk.batches) == 2)
        assert bench.done == [send("a")]
        bench.disk.sync()
        await bench.until(lambda: len(bench.done) == 5)
        assert bench.done == [send("a"), send("b"), send("c"), send("d"), 7]
        found = [[msgspec.json.decode(record)["key"] for record in batch] for batch in bench.disk.batches]
        assert found == [["a"], ["all", "d"]]
        assert bench.disk.checkpoints == [False, True]

    run(test)


def test_what_sync_done_brings_comes_behind_what_was_waiting() -> None:
    async def test(bench: Bench) -> None:
        bench.on_durable = lambda token: bench.outbox.put([send(f"durable {token}")])
        bench.outbox.put([put("a", token=1)])
        bench.outbox.put([send("first")])
        await bench.until(lambda: len(bench.disk.batches) == 1)
        bench.disk.sync()
        await bench.until(lambda: len(bench.done) == 2)
        assert bench.done == [send("first"), send("durable 1")]

    run(test)


def test_timers_do_not_wait_for_the_disk() -> None:
    async def test(bench: Bench) -> None:
        bench.outbox.put([put("a"), SetTimer("t", 5), CancelTimer("u"), send("a")])
        assert bench.done == [SetTimer("t", 5), CancelTimer("u")]

    run(test)


def test_a_failed_sync_drops_what_waited_and_every_later_persist_fails_too() -> None:
    async def test(bench: Bench) -> None:
        bench.disk.failure = OSError("no space")
        bench.outbox.put([send("a"), put("k", token=1), send("b")])
        bench.disk.sync()
        await bench.until(lambda: len(bench.done) == 2)
        assert bench.done == [send("a"), "no space"]
        bench.outbox.put([send("c"), put("l"), send("d")])
        await bench.until(lambda: len(bench.done) == 4)
        assert bench.done[2:] == [send("c"), "no space"]
        assert len(bench.disk.batches) == 1

    run(test)
