"""TCP proxies between nodes; all of them live in the supervisor's process. Every byte between nodes passes here.

Two layouts say where a node is dialled (docs/decisions/local-one-address-for-each-node.md):

    by link   Each node has a listener for each other node, so that the port tells who dials. Two nodes name a third by different
              addresses. For our own nodes, which never tell each other addresses.
    by node   Each node has one host, 127.x.y.z, and one listener for each of its ports: all nodes name it alike. Who dials is
              looked up in the kernel's table of sockets. For programs outside the project, which may compare addresses.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, cast

from harness.environments.local.link_flows import Connection, Endpoint, Link, Path
from nemesis.capabilities import NodeId, Reach
from targets.target import Address, Ports

CONNECTIONS_MAX = 1024
"""Connections through one listener; the oldest is closed for a new one beyond it."""
PROBE = b"\r\n"
"""What a probe sends: an empty line, which servers that take lines or HTTP skip."""
PROBE_WAIT_S = 0.25
"""A probe whose bytes are not there by then did not get through; open paths take about a millisecond."""
PROBE_WAIT_S_MAX = 2.0

KINDS: Final = frozenset({"slow", "loss", "reorder", "rate"})

OUTSIDE: NodeId = ""
"""The source of a connection that no node made, such as a client's: no fault of the network acts on it."""

FindSource = Callable[[Address, Address], NodeId | None]
"""(the dialling end, the dialled end) of a connection -> the node that dials, or OUTSIDE; None when nobody can be found."""


class Gate:
    """A listener before one port of one node. find_source: which node dials; one that cannot be found is turned away."""

    def __init__(
        self, node: NodeId, target: Address, find_source: FindSource, paths: Callable[[Link], tuple[Path, Path]]
    ) -> None:
        self.node = node
        self.target = target
        self._find_source = find_source
        self._paths = paths
        self._connections: dict[Connection, None] = {}
        self._server: asyncio.Server | None = None
        self.watched: dict[int, tuple[NodeId, Connection | None]] = {}
        """Local port of a probe -> the node in whose name it is made, and its connection, once that stands."""

    async def open(self, host: str) -> Address:
        """Listen on a free port of `host`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Accepted(self), host, 0, backlog=256)
        port: int = self._server.sockets[0].getsockname()[1]
        self.address = Address(host, port)
        return self.address

    def close(self) -> None:
        """Listen no more, and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()

    def connect(self, dialling: Address) -> Connection | None:
        """The connection of the one who dials from there; None when it is to be turned away."""
        watched = self.watched.get(dialling.port)
        source = self._find_source(dialling, self.address) if watched is None else watched[0]
        if source is None:
            return None
        connection = Connection(self.target, *self._paths((source, self.node)), self._discard)
        self._connections[connection] = None
        if watched is not None:
            self.watched[dialling.port] = (source, connection)
        if len(self._connections) > CONNECTIONS_MAX:
            next(iter(self._connections)).abort()
        return connection

    def connection_count(self, source: NodeId) -> int:
        """How many of this node's connections stand."""
        return sum(connection.forth.path.link[0] == source for connection in self._connections)

    def _discard(self, connection: Connection) -> None:
        self._connections.pop(connection, None)


class _Accepted(asyncio.Protocol):
    """The side of the one who dials: becomes the endpoint of a connection as soon as it is known who that is."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        connection = None if peer is None else self._gate.connect(Address(peer[0], peer[1]))
        if connection is None:
            transport.abort()
            return
        endpoint = Endpoint(connection.forth, connection.back)
        transport.set_protocol(endpoint)
        endpoint.connection_made(transport)
        connection.forth.pump()  # Connects to the destination, unless the path is cut.


class Network:
    """All links between the nodes. Belongs to one event loop.

    targets: where each node listens. find_source: who dials, for the layout by node; None: the layout by link.
    """

    def __init__(self, targets: Mapping[NodeId, Ports], seed: str, find_source: FindSource | None = None) -> None:
        self.nodes = tuple(sorted(targets))
        self.links: tuple[Link, ...] = tuple((a, b) for a in self.nodes for b in self.nodes if a != b)
        self.paths = {link: Path(link, Random(f"{seed}/{link[0]}/{link[1]}")) for link in self.links}
        self.dialled: dict[NodeId, dict[NodeId, dict[str, Address]]] = {}
        """Source -> destination -> its ports, as the source dials them; filled in by `open`."""
        self._targets = targets
        self._find_source = find_source
        self._by_link: dict[Link, list[Gate]] = {}

    async def open(self, hosts: Mapping[NodeId, str]) -> None:
        """Listen on these hosts of the nodes."""
        for source in self.nodes:
            self.dialled[source] = {source: dict(self._targets[source])}
        if self._find_source is None:
            for source, to in self.links:
                opened = await self._open(to, hosts[to], lambda *_, source=source: source)
                self._by_link[source, to] = list(opened.values())
                self.dialled[source][to] = {name: gate.address for name, gate in opened.items()}
            return
        for to in self.nodes:
            opened = await self._open(to, hosts[to], self._find_source)
            for source in self.nodes:
                self.dialled[source][to] = {name: gate.address for name, gate in opened.items()}
                if source != to:
                    self._by_link[source, to] = list(opened.values())

    async def _open(self, node: NodeId, host: str, find_source: FindSource) -> dict[str, Gate]:
        opened = {}
        for name, target in self._targets[node].items():
            opened[name] = Gate(node, target, find_source, self._paths_of)
            await opened[name].open(host)
        return opened

    def close(self) -> None:
        """Nobody is listened to any more, and no connection stands."""
        for gates in self._by_link.values():
            for gate in gates:
                gate.close()

    def cut(self, links: Sequence[Link]) -> None:
        """Exactly these are cut."""
        cut = set(links)
        for link, path in self.paths.items():
            path.is_cut = link in cut
        for path in self.paths.values():
            path.changed()

    def disturb(self, kind: str, links: Sequence[Link], parameters: Mapping[str, float]) -> None:
        """Exactly these links are disturbed in this way; other kinds stay."""
        assert kind in KINDS
        for link, path in self.paths.items():
            path.bad.pop(kind, None)
            if link in set(links):
                path.bad[kind] = parameters
            path.changed()

    def calm(self) -> None:
        """No link is disturbed."""
        for path in self.paths.values():
            path.bad.clear()
            path.changed()

    def connection_count(self, link: Link) -> int:
        """How many connections stand that the source made to the destination."""
        return sum(gate.connection_count(link[0]) for gate in self._by_link[link])

    def state(self) -> list[dict[str, object]]:
        """Each path: whether it is cut, what disturbs it, bytes passed, connections of its source."""
        return [
            {
                "source": link[0],
                "destination": link[1],
                "is_cut": path.is_cut,
                "bad": {kind: dict(parameters) for kind, parameters in sorted(path.bad.items())},
                "passed_bytes": path.passed_bytes,
                "connections": self.connection_count(link),
            }
            for link, path in self.paths.items()
        ]

    async def probe(self) -> list[tuple[NodeId, NodeId, Reach, float | None]]:
        """(source, destination, reach, milliseconds until the bytes were there) for each link, measured now: a connection
        through the link carries an empty line, and the destination's kernel must acknowledge it."""
        return list(await asyncio.gather(*(self._probe(link) for link in self.links)))

    async def _probe(self, link: Link) -> tuple[NodeId, NodeId, Reach, float | None]:
        loop = asyncio.get_running_loop()
        path, gate = self.paths[link], self._by_link[link][0]
        began_s = loop.time()
        # Only how long to be patient comes from memory; what is reported is what was seen.
        wait_s = PROBE_WAIT_S if path.is_cut else PROBE_WAIT_S_MAX + path.slow_s_max
        with socket.socket() as probe:
            probe.setblocking(False)
            probe.bind((gate.address.host, 0))
            port = probe.getsockname()[1]
            gate.watched[port] = (link[0], None)
            try:
                await loop.sock_connect(probe, (gate.address.host, gate.address.port))
                await loop.sock_sendall(probe, PROBE)
                while loop.time() - began_s < wait_s:
                    connection = gate.watched[port][1]
                    if connection is not None:
                        if connection.is_refused:
                            return (*link, "down", None)
                        if connection.forth.has_arrived(len(PROBE)):
                            return (*link, "answers", round((loop.time() - began_s) * 1000, 1))
                    await asyncio.sleep(0.002)
            except ConnectionError:
                pass  # A lossy link reset it: not there.
            finally:
                del gate.watched[port]
        return (*link, "cut", None)

    def _paths_of(self, link: Link) -> tuple[Path, Path]:
        """Forth and back. What no node, or the node itself, dials has paths of its own, which are always clear."""
        source, to = link
        if (source, to) in self.paths:
            return self.paths[source, to], self.paths[to, source]
        return Path((source, to), Random(0)), Path((to, source), Random(0))
