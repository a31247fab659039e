"""What a node answers: routes, status codes and errors. The node decides what a request means, targets/http_server.py what is one.

The client route and `GET /status` are open. Peer routes, `/clock` and `/epoch` are for those who show the run's secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from histories.json_text import REQUEST_DEPTH_MAX
from targets import secret, wire_log
from targets.gateway import Gateway
from targets.http_server import Answer, Head, Reply, Server, refusal
from targets.journal import Journal
from targets.target import Address, ClientRoute
from targets.timekeeping import NodeClock, Timers
from targets.transport import OP_HEADER, SOURCE_HEADER
from targets.wire import BadBody, Codec, Wire, encode

_OP = OP_HEADER.decode().lower()
_SOURCE = SOURCE_HEADER.lower()
_MESSAGE = wire_log.HEADER.lower()


class ClockSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /clock. offset_ns: against true time, at once. rate: from now on. An absent field changes nothing."""

    offset_ns: int | None = None
    rate: float | None = None


class EpochSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /epoch: when the run began, as true time in ns of the wall clock."""

    epoch_ns: int


class Served(Protocol):
    """What the server needs of a node."""

    client_path: str
    client_routes: dict[tuple[str, str], ClientRoute]
    wire: Wire
    clock: NodeClock
    timers: Timers
    journal: Journal | None
    peers: frozenset[str]
    secret: str | None
    gateway: Gateway | None

    def receive(self, source: str, path: str, body: bytes, number: int = 0) -> asyncio.Future[bytes] | None: ...
    def request(self, body: bytes, op: int | None = None) -> asyncio.Future[bytes]: ...
    def request_by(self, route: ClientRoute, body: bytes) -> asyncio.Future[bytes]: ...
    def status(self) -> dict[str, object]: ...


async def serve(node: Served, address: Address) -> Server:
    """Listen and answer. Raises OSError when the address cannot be bound."""
    server = Server(Routes(node).answer, lambda head: secret.is_shown(head.headers, node.secret))
    try:
        await server.listen(address.host, address.port)
    except OSError:
        server.close()
        raise
    return server


class Routes:
    """Answers each request, whatever it is."""

    def __init__(self, node: Served) -> None:
        self._node = node
        self._clock_codec = Codec(ClockSetting, REQUEST_DEPTH_MAX)
        self._epoch_codec = Codec(EpochSetting, REQUEST_DEPTH_MAX)
        self._posts: dict[str, Callable[[Head, bytes], Answer]] = {
            "/clock": self._protected(self._set_clock),
            "/epoch": self._protected(self._set_epoch),
            **dict.fromkeys(node.wire.routes, self._protected(self._receive)),
            node.client_path: self._request,
        }

    def answer(self, head: Head, body: bytes) -> Answer:
        """The response to one request, or what will give it."""
        path = head.path
        if path == "/status":
            if head.method != "GET":
                return refusal(405, f"{path} takes GET, not {head.method}")
            return Reply(200, encode(self._node.status()))
        route = self._node.client_routes.get((head.method, path)) if self._node.client_routes else None
        if route is not None:
            try:
                return self._node.request_by(route, body)
            except BadBody as error:
                return refusal(400, str(error))
        post = self._posts.get(path)
        if post is None:
            takes = [method for method, known in self._node.client_routes if known == path]
            return (
                refusal(405, f"{path} takes {takes[0]}, not {head.method}")
                if takes
                else refusal(404, f"no route {path:.200}")
            )
        if head.method != "POST":
            return refusal(405, f"{path} takes POST, not {head.method}")
        try:
            return post(head, body)
        except BadBody as error:
            return refusal(400, str(error))

    def _protected(self, post: Callable[[Head, bytes], Answer]) -> Callable[[Head, bytes], Answer]:
        """The same for those who show the run's secret; 403 for all others."""

        def checked(head: Head, body: bytes) -> Answer:
            if secret.is_shown(head.headers, self._node.secret):
                return post(head, body)
            if self._node.secret is None:
                return refusal(403, f"the node was started without {secret.FILE_VARIABLE}, and takes this from nobody")
            wrong = "not this run's" if secret.HEADER.lower() in head.headers else "missing"
            return refusal(
                403, f"header {secret.HEADER}: {wrong}; only the run's controller and its nodes may ask this"
            )

        return checked

    def _receive(self, head: Head, body: bytes) -> Answer:
        source = head.headers.get(_SOURCE)
        if source is None:
            raise BadBody(f"header {SOURCE_HEADER}: missing; it names the node that sends")
        if source not in self._node.peers:
            raise BadBody(f"header {SOURCE_HEADER}: {source[:200]!r} is not a peer of this node")
        number = head.headers.get(_MESSAGE, "")
        is_number = number.isascii() and number.isdecimal() and len(number) < 17
        return self._node.receive(source, head.path, body, int(number) if is_number else 0) or Reply(204)

    def _request(self, head: Head, body: bytes) -> Answer:
        op = head.headers.get(_OP, "")
        answer = self._node.request(body, int(op) if op.isascii() and op.isdecimal() and len(op) < 19 else None)
        gateway = self._node.gateway
        if gateway is None or secret.is_shown(head.headers, self._node.secret):
            return answer
        return asyncio.get_running_loop().create_task(gateway.carry(body, answer))

    def _set_clock(self, head: Head, body: bytes) -> Answer:
        setting, clock = self._clock_codec.decode(body), self._node.clock
        if setting.rate is not None:
            try:
                clock.set_rate(setting.rate)
            except ValueError as error:
                raise BadBody(str(error)) from None
            self._node.timers.rate_changed()
        if setting.offset_ns is not None:
            clock.set_offset_ns(setting.offset_ns)
        return self._clock()

    def _set_epoch(self, head: Head, body: bytes) -> Answer:
        setting = self._epoch_codec.decode(body)
        if self._node.journal is not None:
            self._node.journal.begin(setting.epoch_ns)
        return self._clock()

    def _clock(self) -> Reply:
        clock = self._node.clock
        return Reply(200, encode({"clock_ns": clock.now_ns(), "clock_rate": clock.rate}))
