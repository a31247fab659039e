"""The routes of a node under fuzz, against the real server on a real socket, with the core, the log and the journal of a node in
this process. What is sent is a request that a client, a peer or the controller could send, changed like any other bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from harness.tests.fuzzing.mutation import mutated
from harness.tests.fuzzing.route_kinds import SECRET, Kind, kinds, request
from targets import registry
from targets.http_server import Server
from targets.node import Node
from targets.node_arguments import Settings
from targets.serving import serve
from targets.target import Address, CoreTarget
from targets.wal import WriteAheadLog

ANSWER_TIMEOUT_S = 20.0


@contextlib.asynccontextmanager
async def serving(kind: Kind, directory: Path) -> AsyncIterator[tuple[Node, Server, int]]:
    """A node of this kind that serves on a port of its own."""
    target = registry.find(kind.target)
    assert isinstance(target, CoreTarget)
    names = [f"n{number}" for number in range(1, 2 + kind.peers)]
    settings = Settings(
        target=target,
        node=kind.node,
        listen=Address("127.0.0.1", 0),
        peers={name: Address("127.0.0.1", 1) for name in names if name != kind.node},
        data_dir=directory,
        log_dir=directory,
        options=msgspec.convert(kind.options, target.option_type),
        bugs=frozenset(),
        seed="0",
        interface=kind.interface,
        secret=SECRET,
    )
    log = WriteAheadLog(directory / "wal.log", target.formats(settings.interface).record)
    node = Node(settings, log)
    server = await serve(node, settings.listen)
    node.start()
    try:
        yield node, server, server.port
    finally:
        server.close()
        node.close()


async def exchange(port: int, text: bytes) -> bytes:
    """All that the server says to these bytes, until it closes or has nothing more to say. Raises TimeoutError when it hangs
    twice: once it may have been this process that stood still, on a busy machine."""
    try:
        return await _exchange(port, text)
    except TimeoutError:
        return await _exchange(port, text)


async def _exchange(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        writer.write_eof()  # No more will come: the server need not wait for the rest.
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                return await reader.read()
    finally:
        writer.transport.abort()
    return b""


class Traceback(logging.Handler):
    """Keeps what is logged with an exception, or as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


async def fuzz(name: str, seeds: Sequence[int], directory: Path, until_s: float | None = None) -> tuple[int, float]:
    """How many inputs were sent to routes of the kind of this name, and the seconds that the slowest answer took.

    Raises AssertionError at the first that broke the node: it ended, logged an error, gave a 500, hung, or does not answer the next
    honest request.
    """
    kind = kinds()[name]
    watch = Traceback()
    logging.getLogger().addHandler(watch)
    sent = 0
    slowest_s = 0.0
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
    try:
        async with serving(kind, directory) as (node, server, port):
            for seed in seeds:
                if until_s is not None and time.process_time() > until_s:
                    break
                text = mutated(random.Random(f"{name}/{seed}"), kind.examples)
                began_s = time.monotonic()
                try:
                    said = await exchange(port, text)
                except TimeoutError:
                    raise AssertionError(seed, text[:300], f"no answer within {ANSWER_TIMEOUT_S:g} s, twice") from None
                slowest_s = max(slowest_s, time.monotonic() - began_s)
                sent += 1
                assert not said or said.startswith(b"HTTP/1.1 "), (seed, text[:300], said[:300])
                assert b"HTTP/1.1 500" not in said, (seed, text[:300], said[:300])
                assert not node.ended.done(), (seed, text[:300], node.ended.result())
                assert not watch.found and not failures, (seed, text[:300], watch.found, failures)  # noqa: PT018
                if sent % 50 == 0:
                    status = await exchange(port, request("GET", "/status", b"", "Connection: close"))
                    assert status.startswith(b"HTTP/1.1 200 "), (seed, status[:300])
            assert server.body_bytes == 0
    finally:
        logging.getLogger().removeHandler(watch)
    return sent, slowest_s


def main(name: str, cpu_seconds: float, first_seed: int) -> int:
    """Fuzz routes of this kind for so much CPU time; returns the exit status."""
    import uvloop

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30,) * 2)
    sent = 0
    slowest_s = 0.0
    until_s = time.process_time() + cpu_seconds
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while time.process_time() < until_s:
            # Then a new node: the log of one would fill the disk.
            seeds = range(first_seed + sent, first_seed + sent + 20_000)
            place = Path(directory, str(sent))
            more, slow_s = runner.run(fuzz(name, seeds, place, until_s))
            sent, slowest_s = sent + more, max(slowest_s, slow_s)
            shutil.rmtree(place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"route {name}: {sent:,} inputs, peak {peak} MiB, slowest {slowest_s:.2f} s, {cpu_seconds:g} s CPU: nothing")
    return 0
