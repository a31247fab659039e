"""The routes of a node under fuzz, against the real server on a real socket, with the core, the log and the journal of a node in
this process. What is sent is a request that a client, a peer or the controller could send, changed like any other bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from harness.tests.fuzzing.mutation import mutated
from targets import machine_registry, registry, secret
from targets.http_server import Server
from targets.node import Node, Settings
from targets.raft.log import Entry
from targets.raft.messages import AppendEntries, PreVote, RequestVote
from targets.serving import serve
from targets.target import Address, CoreTarget
from targets.wal import WriteAheadLog
from targets.wire import encode

SECRET = "the-secret-under-fuzz"
ANSWER_TIMEOUT_S = 20.0
COMMANDS: Mapping[str, Sequence[bytes]] = {
    "kv": (
        b'{"f":"write","key":"a","value":[1,{"b":[2.5,null]}]}',
        b'{"f":"read","key":"a"}',
        b'{"f":"cas","key":1,"value":[[1],{"b":2}]}',
        b'{"f":"append","key":"a","value":"x"}',
        b'{"f":"txn","value":[["r","a",null],["append","b",3],["w",null,{}]]}',
    ),
    "counter": (b'{"f":"add","key":"a","value":3}', b'{"f":"read","key":"a"}'),
    "set": (b'{"f":"add","key":"a","value":3}', b'{"f":"read","key":"a"}'),
    "queue": (b'{"f":"enqueue","key":"a","value":3}', b'{"f":"dequeue","key":"a"}'),
    "stack": (
        b'{"f":"push","key":"a","value":"x"}',
        b'{"f":"pop","key":"a"}',
        b'{"f":"peek","key":"a"}',
    ),
    "priority-queue": (
        b'{"f":"enqueue","key":"a","value":[3,"x"]}',
        b'{"f":"enqueue","key":"a","value":[-15,1]}',
        b'{"f":"dequeue","key":"a"}',
        b'{"f":"peek","key":"a"}',
    ),
    "lock": (b'{"f":"acquire","key":"a","value":"me"}', b'{"f":"release","key":"a","value":"me"}'),
    "bank": (
        b'{"f":"open","value":{"0":5,"b":7}}',
        b'{"f":"transfer","value":{"from":0,"to":"b","amount":3}}',
        b'{"f":"read"}',
    ),
    "consensus": (b'{"f":"propose","key":"a","value":[1,"x"]}', b'{"f":"learn","key":"a"}'),
}
"""Interface -> requests of its client route."""


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: n1", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def names() -> list[str]:
    """Every kind of route under fuzz."""
    return [*COMMANDS, "peers", "control", "status"]


def examples(kind: str) -> Sequence[bytes]:
    """Whole requests of this kind."""
    shown = f"{secret.HEADER}: {SECRET}"
    if kind in COMMANDS:
        return [request("POST", f"/{kind}", body, f"Themis-Op: {n}") for n, body in enumerate(COMMANDS[kind])]
    if kind == "control":
        bodies = (("/clock", b'{"offset_ns":5,"rate":1.5}'), ("/clock", b"{}"), ("/epoch", b'{"epoch_ns":1}'))
        return [request("POST", path, body, shown) for path, body in bodies]
    if kind == "status":
        return [
            request("GET", "/status"),
            request("GET", "/status?x=1", b"", "Connection: close", "Expect: 100-continue"),
        ]
    command = msgspec.json.decode(COMMANDS["kv"][0], type=machine_registry.find("kv").command_type)
    messages: Sequence[tuple[str, msgspec.Struct]] = (
        ("/raft/append_entries", AppendEntries(1, "n2", 0, 0, (Entry(1, command), Entry(1, None)), 1, 1)),
        ("/raft/append_entries", AppendEntries(3, "n2", 1, 1, (Entry(3, command),), 2, 2)),
        ("/raft/request_vote", RequestVote(2, "n2", 9, 1)),
        ("/raft/pre_vote", PreVote(2, "n2", 9, 1)),
    )
    return [request("POST", path, encode(message), "Themis-Node: n2", shown) for path, message in messages]


@contextlib.asynccontextmanager
async def serving(kind: str, directory: Path) -> AsyncIterator[tuple[Node, Server, int]]:
    """A Raft node that serves on a port of its own: alone, and so its own leader; with two silent peers for their routes."""
    target = registry.find("raft")
    assert isinstance(target, CoreTarget)
    settings = Settings(
        target=target,
        node="n1",
        listen=Address("127.0.0.1", 0),
        peers={"n2": Address("127.0.0.1", 1), "n3": Address("127.0.0.1", 1)} if kind == "peers" else {},
        data_dir=directory,
        log_dir=directory,
        options=target.option_type(),
        bugs=frozenset(),
        seed="0",
        interface=kind if kind in COMMANDS else "kv",
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
    """All that the server says to these bytes, until it closes or has nothing more to say. Raises TimeoutError when it hangs."""
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


async def fuzz(kind: str, seeds: Sequence[int] | range, directory: Path, until_s: float | None = None) -> int:
    """How many inputs were sent. Raises AssertionError at the first that broke the node: it ended, logged an error, gave a 500,
    hung, or does not answer the next honest request."""
    watch = Traceback()
    logging.getLogger().addHandler(watch)
    sent = 0
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
    try:
        async with serving(kind, directory) as (node, server, port):
            for seed in seeds:
                if until_s is not None and time.process_time() > until_s:
                    break
                text = mutated(random.Random(f"{kind}/{seed}"), examples(kind))
                said = await exchange(port, text)
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
    return sent


def main(kind: str, cpu_seconds: float, first_seed: int) -> int:
    """Fuzz routes of this kind for so much CPU time; returns the exit status."""
    import uvloop

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30,) * 2)
    sent = 0
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while time.process_time() < cpu_seconds:
            seeds = range(
                first_seed + sent, first_seed + sent + 20_000
            )  # Then a new node: the log of one would fill the disk.
            sent += runner.run(fuzz(kind, seeds, Path(directory, str(sent)), cpu_seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"route {kind}: {sent:,} inputs, peak {peak} MiB, {cpu_seconds:g} s CPU: nothing")
    return 0
