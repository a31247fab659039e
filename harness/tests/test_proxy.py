"""Links between nodes: what is cut does not pass, what heals arrives, and a probe tells which is which."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine

import pytest

from harness.environments.local.link_flows import HELD_BYTES_MAX
from harness.environments.local.link_proxies import Network
from targets.target import Address

HOST = "127.0.0.1"
HEAL_S = 10.0


class Server:
    """A node's listener: keeps what each connection brought, and answers each line with `got LINE`."""

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self.ended: list[bool] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> Address:
        self.server = await asyncio.start_server(self._serve, HOST, 0)
        return Address(HOST, self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        index = len(self.received)
        self.received.append(bytearray())
        self.ended.append(False)
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received[index] += data
                for line in data.split(b"\n"):
                    if line.startswith(b"ask"):
                        writer.write(b"got " + line + b"\n")
        self.ended[index] = True
        writer.close()

    def close(self) -> None:
        self.server.close()
        for writer in self._writers:
            writer.close()


class Bench:
    """Three nodes and the network between them."""

    def __init__(self) -> None:
        self.servers = {node: Server() for node in ("a", "b", "c")}
        self.open_writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        listening = {node: {"http": await server.open()} for node, server in self.servers.items()}
        self.network = Network(listening, "seed")
        await self.network.open(dict.fromkeys(self.servers, HOST))
        self.ports = {(a, b): self.network.dialled[a][b]["http"].port for a, b in self.network.links}

    async def connect(self, source: str, to: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(HOST, self.ports[source, to])
        self.open_writers.append(writer)
        return reader, writer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(HEAL_S):
            while not condition():  # noqa: ASYNC110 (many places may make it true)
                await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Long enough for whatever may pass to have passed."""
        await asyncio.sleep(0.05)

    def close(self) -> None:
        for writer in self.open_writers:
            writer.close()
        for server in self.servers.values():
            server.close()
        self.network.close()


def run(test: Callable[[Bench], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.open()
        try:
            await test(bench)
        finally:
            bench.close()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_bytes_pass_both_ways_and_an_end_of_file_too() -> None:
    async def test(bench: Bench) -> None:
        reader, writer = await bench.connect("a", "b")
        writer.write(b"ask 1\n")
        assert await reader.readline() == b"got ask 1\n"
        writer.write(b"ask 2\n")
        writer.write_eof()
        assert await reader.read() == b"got ask 2\n"
        assert bytes(bench.servers["b"].received[0]) == b"ask 1\nask 2\n"
        await bench.until(lambda: not any(map(bench.network.connection_count, bench.network.links)))

    run(test)


def test_a_cut_holds_the_request_and_a_heal_delivers_it_in_order() -> None:
    async def test(bench: Bench) -> None:
        reader, writer = await bench.connect("a", "b")
        writer.write(b"ask 1\n")
        await reader.readline()
        bench.network.cut([("a", "b")])
        for number in (2, 3):
            writer.write(b"ask %d\n" % number)
            await bench.quiet()
        assert bytes(bench.servers["b"].received[0]) == b"ask 1\n"
        bench.network.cut([])
        assert await reader.readexactly(20) == b"got ask 2\ngot ask 3\n"

    run(test)


def test_a_cut_of_the_way_back_lets_the_request_arrive_and_holds_the_answer() -> None:
    async def test(bench: Bench) -> None:
        bench.network.cut([("b", "a")])
        reader, writer = await bench.connect("a", "b")
        writer.write(b"ask 1\n")
        await bench.until(lambda: bool(bench.servers["b"].received) and len(bench.servers["b"].received[0]) == 6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.05)
        bench.network.cut([])
        assert await reader.readline() == b"got ask 1\n"

    run(test)


def test_a_cut_is_for_connections_of_both_makers_and_for_no_other_link() -> None:
    async def test(bench: Bench) -> None:
        bench.network.cut([("a", "b")])
        reader, writer = await bench.connect("b", "a")  # a's answer to b travels from a to b.
        writer.write(b"ask 1\n")
        await bench.until(lambda: bool(bench.servers["a"].received) and len(bench.servers["a"].received[0]) == 6)
        for source, to in (("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")):
            other_reader, other_writer = await bench.connect(source, to)
            other_writer.write(b"ask\n")
            assert await other_reader.readline() == b"got ask\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.05)

    run(test)


def test_a_connection_that_was_given_up_during_the_cut_was_never_made() -> None:
    async def test(bench: Bench) -> None:
        bench.network.cut([("a", "b")])
        _, writer = await bench.connect("a", "b")
        writer.write(b"ask 1\n")
        await bench.quiet()
        writer.close()
        await bench.until(lambda: bench.network.connection_count(("a", "b")) == 0)
        bench.network.cut([])
        reader, writer = await bench.connect("a", "b")
        writer.write(b"ask 2\n")
        await reader.readline()
        assert [bytes(received) for received in bench.servers["b"].received] == [b"ask 2\n"]

    run(test)


def test_what_was_under_way_when_its_sender_closed_arrives_after_the_heal() -> None:
    async def test(bench: Bench) -> None:
        reader, writer = await bench.connect("a", "b")
        writer.write(b"ask 1\n")
        await reader.readline()
        bench.network.cut([("a", "b")])
        writer.write(b"late")
        await bench.quiet()
        writer.close()
        await bench.quiet()
        assert bench.servers["b"].ended == [False]
        bench.network.cut([])
        await bench.until(lambda: bench.servers["b"].ended[0])
        assert bytes(bench.servers["b"].received[0]) == b"ask 1\nlate"

    run(test)


def test_a_dead_destination_resets_unless_its_answer_could_not_come() -> None:
    async def test(bench: Bench) -> None:
        bench.servers["b"].close()
        reader, _ = await bench.connect("a", "b")
        assert await asyncio.wait_for(reader.read(), HEAL_S) == b""
        bench.network.cut([("b", "a")])
        reader, _ = await bench.connect("a", "b")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.05)
        bench.network.cut([])
        assert await asyncio.wait_for(reader.read(), HEAL_S) == b""

    run(test)


def test_what_a_cut_holds_is_bounded_and_nothing_of_it_is_lost() -> None:
    async def test(bench: Bench) -> None:
        _, writer = await bench.connect("a", "b")
        await bench.until(lambda: bool(bench.servers["b"].received))
        bench.network.cut([("a", "b")])
        data = random.Random(1).randbytes(16 * 2**20)
        sending = asyncio.create_task(send(writer, data))
        path = bench.network.paths["a", "b"]
        flow = next(iter(path.flows))
        await bench.until(lambda: flow.queued_bytes > HELD_BYTES_MAX)
        await bench.quiet()
        assert flow.queued_bytes < 2 * HELD_BYTES_MAX + 2**18
        assert not sending.done()
        bench.network.cut([])
        await sending
        await bench.until(lambda: len(bench.servers["b"].received[0]) == len(data))
        assert bytes(bench.servers["b"].received[0]) == data

    async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    run(test)


def test_the_probe_measures_what_the_grudge_cut() -> None:
    async def test(bench: Bench) -> None:
        rng = random.Random(5)
        links = bench.network.links
        for _ in range(12):
            cut = rng.sample(links, rng.randint(0, len(links)))
            bench.network.cut(cut)
            found = {(source, to): reach for source, to, reach, _ in await bench.network.probe()}
            assert found == {link: "cut" if link in cut else "answers" for link in links}
        bench.network.cut([("a", "b")])
        bench.servers["b"].close()
        found = {(source, to): reach for source, to, reach, _ in await bench.network.probe()}
        assert found == dict.fromkeys(links, "answers") | {("a", "b"): "cut", ("c", "b"): "down"}

    run(test)


def test_slow_delays_and_keeps_the_order_until_it_is_calm() -> None:
    async def test(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        reader, writer = await bench.connect("a", "b")
        bench.network.disturb("slow", [("a", "b")], {"delay_ms": 60, "jitter_ms": 30})
        began_s = loop.time()
        for number in range(20):
            writer.write(b"ask %d\n" % number)
            await asyncio.sleep(0.001)
        for number in range(20):
            assert await reader.readline() == b"got ask %d\n" % number
        assert loop.time() - began_s >= 0.03
        times = {(source, to): ms for source, to, _, ms in await bench.network.probe()}
        slow_ms, open_ms = times["a", "b"], times["c", "b"]
        assert slow_ms is not None
        assert open_ms is not None
        assert slow_ms >= 30
        bench.network.disturb("slow", [("a", "b")], {"delay_ms": 3_600_000})
        writer.write(b"ask x\n")
        await bench.quiet()
        bench.network.calm()
        assert await reader.readline() == b"got ask x\n"

    run(test)


def test_rate_limits_what_a_link_carries_in_all() -> None:
    async def test(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        bench.network.disturb("rate", [("a", "b")], {"bytes_per_s": 1_000_000})
        began_s = loop.time()
        for _ in range(2):
            _, writer = await bench.connect("a", "b")
            writer.write(bytes(100_000))
        received = bench.servers["b"].received
        await bench.until(lambda: sum(map(len, received)) == 200_000)
        assert 0.19 < loop.time() - began_s < 5

    run(test)


def test_loss_delays_or_resets_and_never_corrupts() -> None:
    async def test(bench: Bench) -> None:
        bench.network.disturb("loss", [("a", "b")], {"probability": 0.2})
        reader, writer = await bench.connect("a", "b")
        for number in range(10):
            writer.write(b"ask %d\n" % number)
            await asyncio.sleep(0.001)
        for number in range(10):
            assert await asyncio.wait_for(reader.readline(), 30) == b"got ask %d\n" % number
        bench.network.disturb("loss", [("a", "b")], {"probability": 1.0})
        writer.write(b"ask lost\n")
        assert await asyncio.wait_for(reader.read(), HEAL_S) == b"", "reset after too many losses"
        assert b"lost" not in bench.servers["b"].received[0]

    run(test)


def test_reorder_lets_connections_overtake_each_other() -> None:
    async def test(bench: Bench) -> None:
        connections = [await bench.connect("a", "b") for _ in range(20)]
        await bench.until(lambda: len(bench.servers["b"].received) == 20)
        arrived: list[int] = []
        bench.network.disturb("reorder", [("a", "b")], {"probability": 0.5})
        for number, (_, writer) in enumerate(connections):
            writer.write(b"ask %d\n" % number)

        async def answer(reader: asyncio.StreamReader) -> None:
            arrived.append(int((await reader.readline()).split()[-1]))

        await asyncio.gather(*(answer(reader) for reader, _ in connections))
        assert sorted(arrived) == list(range(20))
        assert arrived != sorted(arrived)

    run(test)


def test_the_state_is_told_as_data() -> None:
    async def test(bench: Bench) -> None:
        bench.network.cut([("a", "b")])
        bench.network.disturb("slow", [("a", "c")], {"delay_ms": 5})
        bench.network.disturb("loss", [("a", "c"), ("c", "a")], {"probability": 0.1})
        bench.network.disturb("loss", [("a", "c")], {"probability": 0.2})
        state = {(path["source"], path["destination"]): path for path in bench.network.state()}
        assert [link for link, path in state.items() if path["is_cut"]] == [("a", "b")]
        assert {link: path["bad"] for link, path in state.items() if path["bad"]} == {
            ("a", "c"): {"loss": {"probability": 0.2}, "slow": {"delay_ms": 5}}
        }

    run(test)
