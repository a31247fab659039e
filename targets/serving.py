"""The HTTP server of a node: routes, status codes and errors. The node decides what a request means.

aiohttp's low-level server, without its application layer: 65 us of CPU an exchange against 75, measured with 200-byte bodies.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from targets.journal import Journal
from targets.target import Address
from targets.timekeeping import NodeClock, Timers
from targets.transport import OP_HEADER
from targets.wire import BadBody, Codec, Wire, encode

BODY_BYTES_MAX = 16 * 2**20
SOURCE_HEADER = "Themis-Node"
"""Names the peer that sends."""
_OP_HEADER = OP_HEADER.decode()

_ANSWER_TIMEOUT_S = 10.0
"""What the core does not answer within this gets a 504; clients and peers give up long before."""


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
    wire: Wire
    clock: NodeClock
    timers: Timers
    journal: Journal | None
    peers: frozenset[str]

    def receive(self, source: str, path: str, body: bytes) -> asyncio.Future[bytes] | None: ...
    def request(self, body: bytes, op: int | None = None) -> asyncio.Future[bytes]: ...
    def status(self) -> dict[str, object]: ...


async def serve(node: Served, address: Address) -> asyncio.Server:
    """Listen and answer. Raises OSError when the address cannot be bound."""
    loop = asyncio.get_running_loop()
    face = _Face(node)

    def make_request(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES_MAX)

    server = web.Server(face.handle, request_factory=make_request, access_log=None, auto_decompress=False)
    return await loop.create_server(server, address.host, address.port, backlog=1024, reuse_address=True)


class _Face:
    def __init__(self, node: Served) -> None:
        self._node = node
        self._clock_codec = Codec(ClockSetting)
        self._epoch_codec = Codec(EpochSetting)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to one request, whatever it is."""
        path = request.path
        is_known = path in self._node.wire.routes or path in (self._node.client_path, "/clock", "/epoch")
        if path == "/status":
            if request.method != "GET":
                return _error(405, f"{path} takes GET, not {request.method}")
            return _json(encode(self._node.status()))
        if not is_known:
            return _error(404, f"no route {path}")
        if request.method != "POST":
            return _error(405, f"{path} takes POST, not {request.method}")
        try:
            return await self._post(path, request)
        except BadBody as error:
            return _error(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
        except TimeoutError:
            return _error(504, "no answer in time")

    async def _post(self, path: str, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if path in self._node.wire.routes:
            source = request.headers.get(SOURCE_HEADER)
            if source is None:
                raise BadBody(f"header {SOURCE_HEADER}: missing; it names the node that sends")
            if source not in self._node.peers:
                raise BadBody(f"header {SOURCE_HEADER}: {source!r} is not a peer of this node")
            answer = self._node.receive(source, path, body)
            return web.Response(status=204) if answer is None else _json(await _in_time(answer))
        if path == self._node.client_path:
            op = request.headers.get(_OP_HEADER, "")
            return _json(await _in_time(self._node.request(body, int(op) if op.isdecimal() else None)))
        if path == "/clock":
            self._set_clock(self._clock_codec.decode(body))
        elif self._node.journal is not None:
            self._node.journal.begin(self._epoch_codec.decode(body).epoch_ns)
        clock = self._node.clock
        return _json(encode({"clock_ns": clock.now_ns(), "clock_rate": clock.rate}))

    def _set_clock(self, setting: ClockSetting) -> None:
        clock = self._node.clock
        if setting.rate is not None:
            try:
                clock.set_rate(setting.rate)
            except ValueError as error:
                raise BadBody(str(error)) from None
        if setting.offset_ns is not None:
            clock.set_offset_ns(setting.offset_ns)
        self._node.timers.clock_changed()


async def _in_time(answer: asyncio.Future[bytes]) -> bytes:
    """The answer, or TimeoutError. Without asyncio.timeout, which costs more than the rest of the handler."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(_ANSWER_TIMEOUT_S, _give_up, answer)
    try:
        return await answer
    finally:
        timer.cancel()


def _give_up(answer: asyncio.Future[bytes]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _error(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=encode({"error": text}), content_type="application/json")
