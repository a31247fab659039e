"""One address for each node: who dials is looked up, links are cut one by one all the same, and what goes past them is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.base import Deployment
from harness.environments.local import socket_owners
from harness.environments.local.environment import LocalEnvironment
from harness.environments.local.link_proxies import OUTSIDE, Network
from harness.environments.local.socket_owners import SocketOwners
from harness.errors import HarnessError
from harness.tests.outside import OutsideTarget
from targets.target import Address, Place

pytestmark = pytest.mark.real

HOST = "127.0.0.1"
CLIENT = """
import socket, sys
host, port, family = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if family == "6":
    made = socket.socket(socket.AF_INET6)
    made.connect(("::ffff:" + host, port))
else:
    made = socket.create_connection((host, port))
print(made.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def process(address: Address, family: str = "4", **environment: str) -> Iterator[tuple[int, int]]:
    """A process in a session of its own that is connected to the address: its pid and its own port."""
    argv = [sys.executable, "-c", CLIENT, address.host, str(address.port), family]
    made = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}, start_new_session=True
    )
    assert made.stdout is not None
    try:
        yield made.pid, int(made.stdout.readline())
    finally:
        made.communicate()


@pytest.fixture
def listening() -> Iterator[Address]:
    with socket.create_server((HOST, 0)) as server:
        yield Address(*server.getsockname())


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("is_kernel_asked", [True, False], ids=["sock_diag", "table"])
def test_the_process_that_dials_is_found(
    listening: Address, family: str, is_kernel_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_kernel_asked:
        monkeypatch.setattr(socket_owners, "_asked", lambda *_: "")
    with process(listening, family) as (pid, port):
        dialling = Address(HOST, port)
        assert SocketOwners("run", lambda: {"n2": pid}).find_source(dialling, listening) == "n2"
        assert SocketOwners("run", dict).find_source(dialling, listening) == OUTSIDE
    assert SocketOwners("run", dict).find_source(dialling, listening) is None, "it is gone"


def test_the_kernel_answers_where_this_runs(listening: Address) -> None:
    """Else every new connection between nodes would cost a look at the whole table."""
    with process(listening) as (_, port):
        assert socket_owners._asked(Address(HOST, port), listening)


def test_a_child_that_left_the_session_is_known_by_its_label(listening: Address) -> None:
    with process(listening, THEMIS_RUN="run", THEMIS_NODE="n3") as (_, port):
        dialling = Address(HOST, port)
        assert SocketOwners("run", dict).find_source(dialling, listening) == "n3"
        assert SocketOwners("another", dict).find_source(dialling, listening) == OUTSIDE


def test_a_connection_past_the_links_is_seen(listening: Address) -> None:
    with process(listening) as (pid, _):
        owners = SocketOwners("run", lambda: {"n1": pid})
        assert owners.bypasses({"n1": [], "n2": [listening]}) == [("n1", "n2", listening)]
        assert owners.bypasses({"n1": [listening], "n2": []}) == [], "a node may dial itself"


def test_two_nodes_dial_one_address_and_only_one_is_cut_off() -> None:
    async def test() -> None:
        received: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        target = Address(*server.sockets[0].getsockname())
        dialled_by: dict[int, str] = {}
        network = Network(
            {node: {"peer": target} for node in ("a", "b", "c")},
            "seed",
            lambda dialling, _: dialled_by.get(dialling.port),
        )
        await network.open({"a": "127.9.9.1", "b": "127.9.9.2", "c": "127.9.9.3"})
        try:
            assert network.dialled["a"]["c"] == network.dialled["b"]["c"] == network.dialled["c"]["c"]
            address = network.dialled["a"]["c"]["peer"]
            assert address.host == "127.9.9.3"
            network.cut([("a", "c")])

            writers: list[asyncio.StreamWriter] = []  # One that nobody holds closes its connection.

            async def send(source: str | None) -> asyncio.StreamReader:
                made = socket.socket()
                made.bind((HOST, 0))
                if source is not None:
                    dialled_by[made.getsockname()[1]] = source
                made.setblocking(False)
                await asyncio.get_running_loop().sock_connect(made, (address.host, address.port))
                reader, writer = await asyncio.open_connection(sock=made)
                writers.append(writer)
                writer.write(f"{source}\n".encode())
                return reader

            held = await send("a")
            for source in ("b", OUTSIDE, "c"):
                async with asyncio.timeout(10):
                    assert await (await send(source)).read() == b""
            assert received == [b"b\n", b"\n", b"c\n"], "who dials itself, and who is no node, is never cut off"
            with contextlib.suppress(ConnectionResetError):
                assert await (await send(None)).read() == b"", "who cannot be told is turned away"
            assert {(source, to): reach for source, to, reach, _ in await network.probe()} == {
                link: "cut" if link == ("a", "c") else "answers" for link in network.links
            }
            network.cut([])
            async with asyncio.timeout(10):
                assert await held.read() == b""
            assert b"a\n" in received
            assert b"None\n" not in received
            for writer in writers:
                writer.close()
        finally:
            network.close()
            server.close()

    asyncio.run(test())


class Direct(OutsideTarget):
    """Names the members by where they listen: what faults of the network do not see."""

    def files(self, place: Place, options: Any, bugs: frozenset[str]) -> dict[str, str]:
        found = dict(super().files(place, options, bugs))
        self.listening[place.node] = place.listen["peer"]
        for node, address in self.listening.items():
            found = {name: text.replace(str(place.nodes[node]["peer"]), str(address)) for name, text in found.items()}
        return found

    def __init__(self) -> None:
        self.listening: dict[str, Address] = {}

    async def after_up(self, places: Any, options: Any) -> None:
        """By n2, so that it dials n1."""
        await super().after_up({"n2": places["n2"]}, options)


def test_a_program_whose_nodes_dial_past_the_links_is_refused(tmp_path: Path) -> None:
    target = Direct()
    deployment = Deployment(
        run_id=f"direct-{os.getpid()}",
        directory=tmp_path,
        target=target,
        options=target.option_type(),
        bugs=frozenset(),
        nodes=("n1", "n2", "n3"),
        seed=1,
    )
    environment = LocalEnvironment(deployment)
    try:
        with pytest.raises(
            HarnessError, match=r"n2 is connected to n1 at 127\.0\.0\.1:\d+, where n1 listens, .*place\.nodes"
        ):
            environment.up()
    finally:
        environment.down()
