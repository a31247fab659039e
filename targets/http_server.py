"""A lean HTTP/1.1 server for routes with short JSON bodies. Everything that a stranger may hold of it is bounded.

It takes a request line, headers, and a body with a Content-Length, one request at a time on each connection. It refuses everything
else in a sentence (400, 408, 411, 413, 417, 431, 503) and closes the connection. Whatever a stranger sends, it raises nothing and
logs no traceback. `parse_head` is pure; `Server` owns the sockets.

Time is counted in ticks of about a second, and not read from a clock: a node that was paused and goes on must not give up at once
what arrived meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import re
import resource
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

import msgspec

HEAD_BYTES_MAX = 16 * 2**10
HEADERS_MAX = 64
BODY_BYTES_MAX = 16 * 2**20
READ_AHEAD_BYTES_MAX = 64 * 2**10
"""What a client may send beyond the request that is being answered before it is no longer read."""

TICK_S = 1.0
REQUEST_TICKS_MAX = 5
"""How long a request may take to arrive once it has begun; a large body has a tick more for each BYTES_PER_TICK."""
BYTES_PER_TICK = 256 * 2**10
IDLE_TICKS_MAX = 75
"""How long a connection may be open without a request."""
UNPROVEN_TICKS_MAX = 10
"""The same, of one that has not had any request answered."""
ANSWER_TICKS_MAX = 10
"""What the node does not answer within this gets a 504; clients and peers give up long before."""
UNREAD_TICKS_MAX = 10
"""How long an answer may wait to be taken."""
CONNECTIONS_OF_HOST_MAX = 1024
"""Of strangers, by address; who has shown the run's secret is none. Beyond it, the one that was idle longest gives way."""

LARGE_BODY_BYTES = 64 * 2**10
LARGE_BODIES_BYTES_MAX = 64 * 2**20
"""Of the large bodies that are being read at one time, all together; a request beyond it gets a 503."""
UNREAD_BYTES_MAX = 256 * 2**20
"""Of the responses that clients do not take, all together; beyond it the one that has waited longest is given up."""
DESCRIPTORS_KEPT = 64
"""For files and for connections to peers, of those that the process may open."""

_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_SINGLE = frozenset({"content-length", "host", "themis-secret", "themis-node", "themis-op"})
"""Headers that make no sense twice."""

_log = logging.getLogger("themis.node")


class Refused(Exception):
    """The request is refused with this status, in these words."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Head(msgspec.Struct, frozen=True, gc=False):
    """A request without its body. path: without its query. headers: by name in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    length: int
    keeps_alive: bool
    expects_continue: bool


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A response whose body is JSON, or empty."""

    status: int
    body: bytes = b""


Answer = Reply | asyncio.Future[bytes]
"""A future gives the body of a 200; TimeoutError in it is a 504."""
Answering = Callable[[Head, bytes], Answer]


def parse_head(text: bytes) -> Head:
    """The head of a request: what comes before the empty line. **Raises** Refused."""
    lines = text.split(b"\r\n")
    found = _LINE.fullmatch(lines[0])
    if found is None:
        raise Refused(400, "not an HTTP/1.1 request")
    if len(lines) > HEADERS_MAX:
        raise Refused(431, f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise Refused(400, "a header that is none")
        name = header[1].decode("ascii").lower()
        if name in headers and name in _SINGLE:
            raise Refused(400, f"header {name}: there are two")
        headers[name] = header[2].strip(b" \t").decode("latin-1")
    if "transfer-encoding" in headers:
        raise Refused(411, "a body needs a Content-Length; transfer encodings are not taken")
    digits = headers.get("content-length", "0")
    if not (digits.isascii() and digits.isdecimal()):
        raise Refused(400, "header content-length: not a number")
    if len(digits) > 18 or int(digits) > BODY_BYTES_MAX:
        raise Refused(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    expects = headers.get("expect", "").lower()
    if expects not in ("", "100-continue"):
        raise Refused(417, "header expect: only 100-continue is known")
    connection = headers.get("connection", "").lower()
    keeps_alive = connection != "close" if found[3] == b"1" else connection == "keep-alive"
    path = found[2].partition(b"?")[0].decode("ascii")
    return Head(found[1].decode("ascii"), path, headers, int(digits), keeps_alive, bool(expects))


def response(reply: Reply, keeps_alive: bool) -> bytes:
    """The bytes of a response."""
    ending = b"\r\n" if keeps_alive else b"Connection: close\r\n\r\n"
    if reply.status == 204:
        return b"HTTP/1.1 204 No Content\r\n" + ending
    head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b"
    return head % (reply.status, _PHRASES[reply.status].encode(), len(reply.body), ending) + reply.body


def refusal(status: int, why: str) -> Reply:
    """A response that says why."""
    return Reply(status, msgspec.json.encode({"error": why}))


class Server:
    """The connections of one listening address."""

    def __init__(self, answer: Answering, is_known: Callable[[Head], bool]) -> None:
        """answer: what each request gets; it raises Refused, or nothing. is_known: whether a request shows the run's secret."""
        self.answer = answer
        self.is_known = is_known
        self.connections: dict[Connection, None] = {}
        """In the order in which they were opened."""
        self.strangers: Counter[str] = Counter()
        """How many connections of each address have not shown the secret."""
        self.body_bytes = 0
        """Of the large bodies that are being read."""
        self._connections_max = max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - DESCRIPTORS_KEPT)
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Server | None = None
        self._timer = self._loop.call_later(TICK_S, self._tick)

    async def listen(self, host: str, port: int) -> None:
        """Take connections. **Raises** OSError when the address cannot be bound."""
        self._listening = await self._loop.create_server(
            lambda: Connection(self), host, port, backlog=1024, reuse_address=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._listening is not None, "it does not listen"
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """No connection is left, and no new one is taken."""
        self._timer.cancel()
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self.connections):
            connection.abort()

    def admit(self, connection: Connection, host: str) -> bool:
        """Whether there is room for one more connection of this address; the one that was idle longest may give way."""
        is_full = len(self.connections) >= self._connections_max
        if is_full or self.strangers[host] >= CONNECTIONS_OF_HOST_MAX:
            idle = (other for other in self.connections if other.is_idle and (is_full or other.host == host))
            oldest = max(idle, key=lambda other: other.ticks, default=None)
            if oldest is None:
                return False
            oldest.abort()
        self.connections[connection] = None
        self.strangers[host] += 1
        return True

    def gone(self, connection: Connection) -> None:
        """This connection is closed."""
        if connection in self.connections:
            del self.connections[connection]
            if not connection.is_known:
                self.known(connection)

    def reserve(self, length: int) -> None:
        """A body of this length will be read. **Raises** Refused when there are too many at once."""
        if length > LARGE_BODY_BYTES:
            if self.body_bytes + length > LARGE_BODIES_BYTES_MAX:
                raise Refused(503, "too many large bodies at once")
            self.body_bytes += length

    def release(self, length: int) -> None:
        """The body of this length was read, or will not be."""
        if length > LARGE_BODY_BYTES:
            self.body_bytes -= length

    def unread(self) -> None:
        """One more client does not take its response."""
        waiting = {connection: connection.unread_bytes for connection in self.connections if connection.unread_bytes}
        if sum(waiting.values()) > UNREAD_BYTES_MAX:
            max(waiting, key=lambda connection: connection.ticks).abort()

    def known(self, connection: Connection) -> None:
        """This connection is no stranger's, or no more."""
        self.strangers[connection.host] -= 1
        if not self.strangers[connection.host]:
            del self.strangers[connection.host]

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        for connection in tuple(self.connections):
            connection.tick()


class Connection(asyncio.Protocol):
    """One client's connection: reads a request, has it answered, writes the response, reads the next.

    Invariant: at most one request is being answered; its answer is `_answer`, or it has been written.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        """Of the request whose body is being read, or that is being answered."""
        self._reserved_bytes = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._is_unread = False
        """The client does not take what was written."""
        self._is_paused = False
        self._is_ending = False
        """Nothing more is read: the last response is on its way."""
        self._is_half_closed = False
        """The client sends no more."""
        self._served_count = 0
        self.host = ""
        self.is_known = False
        self.ticks = 0
        """Since the state last changed: idle, reading a request, being answered, waiting for the client to read."""

    @property
    def is_idle(self) -> bool:
        """No request has begun to arrive or is being answered, and the client has not shown the secret."""
        return not (self.is_known or self._buffer or self._head or self._is_ending)

    @property
    def unread_bytes(self) -> int:
        """What was written and the client has not taken, where that is much."""
        return self._transport.get_write_buffer_size() if self._is_unread and self._transport is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if peer else ""
        if not self._server.admit(self, self.host):
            self._transport.write(response(refusal(503, "too many connections from this address"), keeps_alive=False))
            self._is_ending = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.gone(self)
        self._buffer.clear()
        self._forget_body()
        if self._answer is not None:
            self._answer.cancel()

    def eof_received(self) -> bool:
        """The client sends no more, and may still wait for the answer to what it sent whole."""
        if self._answer is None and not self._is_unread:
            return False
        self._is_half_closed = True
        return True

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def pause_writing(self) -> None:
        self._is_unread = True
        self.ticks = 0
        self._server.unread()

    def resume_writing(self) -> None:
        self._is_unread = False
        self.ticks = 0
        self._advance()

    def data_received(self, data: bytes) -> None:
        if self._is_ending or self._transport is None:
            return
        if not self._buffer and self._head is None:
            self.ticks = 0  # A request begins.
        self._buffer += data
        self._advance()
        if (self._answer is not None or self._is_unread) and len(self._buffer) > READ_AHEAD_BYTES_MAX:
            self._pause()

    def tick(self) -> None:
        """About a second has passed."""
        self.ticks += 1
        if self._is_unread or self._is_ending:
            if self.ticks > UNREAD_TICKS_MAX:
                self.abort()
        elif self._answer is not None:
            if self.ticks > ANSWER_TICKS_MAX and not self._answer.done():
                self._answer.set_exception(TimeoutError())
        elif self._buffer or self._head is not None:
            length = 0 if self._head is None else self._head.length
            if self.ticks > REQUEST_TICKS_MAX + length // BYTES_PER_TICK:
                self._refuse(Refused(408, "the request did not arrive in time"))
        elif self.ticks > (IDLE_TICKS_MAX if self._served_count else UNPROVEN_TICKS_MAX):
            self.abort()

    def _forget_body(self) -> None:
        self._server.release(self._reserved_bytes)
        self._reserved_bytes = 0

    def _pause(self) -> None:
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _advance(self) -> None:
        """Answer the requests that are whole, one after another."""
        try:
            while self._take():
                pass
        except Refused as refused:
            self._refuse(refused)
        is_waiting = self._answer is not None or self._is_unread or self._is_ending
        if self._is_half_closed and not is_waiting:
            self._refuse(Refused(400, "the request breaks off"))

    def _take(self) -> bool:
        """Whether a whole request was taken and answered at once. **Raises** Refused for what is no request."""
        if self._answer is not None or self._is_unread or self._is_ending or self._transport is None:
            return False
        head = self._head
        if head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end > HEAD_BYTES_MAX or (end < 0 and len(self._buffer) > HEAD_BYTES_MAX):
                raise Refused(431, f"the head is larger than {HEAD_BYTES_MAX} bytes")
            if end < 0:
                return False
            head = parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            self._server.reserve(head.length)
            self._head, self._reserved_bytes = head, head.length
            if not self.is_known and self._server.is_known(head):
                self.is_known = True
                self._server.known(self)
            if head.expects_continue and len(self._buffer) < head.length:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._buffer) < head.length:
            return False
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        self._forget_body()
        answer = self._answered(head, body)
        self.ticks = 0
        if isinstance(answer, Reply):
            self._write(answer, head)
            return True
        self._answer = answer
        answer.add_done_callback(self._done)
        return False

    def _answered(self, head: Head, body: bytes) -> Answer:
        try:
            return self._server.answer(head, body)
        except Refused as refused:
            return refusal(refused.status, refused.why)
        except Exception:  # noqa: BLE001 (the node must live on, and the client must hear)
            # A mistake of ours, whatever was sent: the client learns that nobody knows what became of its request.
            _log.exception("the request %s %.100s could not be answered", head.method, head.path)
            return refusal(500, "the node made a mistake; its log says which")

    def _done(self, answer: asyncio.Future[bytes]) -> None:
        head, self._answer = self._head, None
        if answer.cancelled() or head is None or self._transport is None:
            return
        error = answer.exception()
        if error is None:
            self._write(Reply(200, answer.result()), head)
        elif isinstance(error, TimeoutError):
            self._write(refusal(504, "no answer in time"), head)
        else:
            _log.error("a request ended with %r", error)
            self._write(refusal(500, "the node made a mistake; its log says which"), head)
        self._resume()
        self._advance()

    def _write(self, reply: Reply, head: Head) -> None:
        self._head = None
        self.ticks = 0
        self._served_count += 1
        if self._transport is not None:
            keeps_alive = head.keeps_alive and not (self._is_half_closed and not self._buffer)  # Nothing follows.
            self._transport.write(response(reply, keeps_alive))
            if not keeps_alive:
                self._end()

    def _refuse(self, refused: Refused) -> None:
        if self._transport is not None and not self._is_ending:
            self._transport.write(response(refusal(refused.status, refused.why), keeps_alive=False))
            self._end()

    def _end(self) -> None:
        """Close once the last response is written. What the client still sends is dropped, or it would reset the response."""
        self._is_ending = True
        self.ticks = 0
        self._buffer.clear()
        self._forget_body()
        self._head = None
        assert self._transport is not None, "only an open connection is ended"
        self._resume()
        if self._transport.can_write_eof():
            self._transport.write_eof()
