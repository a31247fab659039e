"""A lean HTTP/1.1 client: keep-alive connections to one address, one exchange at a time on each, answers by callback.

It speaks to servers that answer with a Content-Length (ours do, and most that hold JSON) and refuses anything else as
`BadResponse`. aiohttp's client does far more, at six times the CPU an exchange (125 against 20 us, measured with 200-byte
bodies): five nodes, their proxies and twenty clients share two cores here, so this is where the throughput comes from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec

from targets.target import Address

RESPONSE_BYTES_MAX = 64 * 2**20
_HEAD_BYTES_MAX = 64 * 2**10


class Response(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response, whole."""

    status: int
    body: bytes


class BadResponse(Exception):
    """The answer is not an HTTP/1.1 response with a length."""


class Disconnected(ConnectionError):
    """The connection was closed before the response was whole."""


Done = Callable[[Response | Exception], None]
"""Called exactly once for each exchange: the response, or BadResponse, Disconnected, TimeoutError, or another OSError."""


SOURCE_HEADER = "Themis-Node"
"""Names the peer that sends."""

OP_HEADER = b"Themis-Op"
"""Names the index of the invocation in the history, for the node's trace."""


def post(path: str, host: str, headers: str = "") -> bytes:
    """The head of a POST with a JSON body, up to its length: `head + b"%d\\r\\n\\r\\n" % len(body) + body`.

    headers: whole further lines, each ended by CR LF.
    """
    fixed = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Type: application/json\r\nContent-Length: "
    return fixed.encode("ascii")


def with_body(head: bytes, body: bytes, headers: bytes = b"") -> bytes:
    """A whole request, from `post` and its body. headers: whole further lines."""
    return b"%b%d\r\n%b\r\n%b" % (head, len(body), headers, body)


def get(path: str, host: str) -> bytes:
    """A whole GET."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii")


class Connection(asyncio.Protocol):
    """One connection: `ask` it, wait for `done`, ask again if it is still open."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keeps_alive = True

    @property
    def is_open(self) -> bool:
        """It can be asked, or is being."""
        return self._transport is not None

    def ask(self, request: bytes, timeout_s: float, done: Done) -> None:
        """Send a whole request; `done` is called once, never before this returns. An exchange must not be under way."""
        assert self._done is None, "an exchange is under way"
        assert self._transport is not None, "the connection is closed"
        self._done = done
        self._timer = self._loop.call_later(timeout_s, self._time_out)
        self._transport.write(request)

    def close(self) -> None:
        """Close at once; an exchange under way ends as Disconnected."""
        self._abort()
        self._finish(Disconnected("closed"))

    def forget(self) -> None:
        """Close at once, and never call `done`: nobody waits for it any more."""
        self._done = None
        self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._done is None:  # Nobody asked.
            self.close()
            return
        self._buffer = data if not self._buffer else self._buffer + data
        try:
            response = self._parse()
        except BadResponse as error:
            self._abort()
            self._finish(error)
            return
        if response is not None:
            self._buffer = b""
            if not self._keeps_alive:
                self._abort()
            self._finish(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(Disconnected("the connection was closed" if exc is None else str(exc)))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _time_out(self) -> None:
        self._abort()
        self._finish(TimeoutError("no response in time"))

    def _finish(self, result: Response | Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done, self._done = self._done, None
        if done is not None:
            done(result)

    def _parse(self) -> Response | None:
        """The response in the buffer, None while it is not whole. Raises BadResponse."""
        buffer = self._buffer
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            if len(buffer) > _HEAD_BYTES_MAX or not buffer.startswith(b"HTTP/1.1 "[: len(buffer)]):
                raise BadResponse("not an HTTP/1.1 response")
            return None
        head = buffer[:head_end].lower()
        if not head.startswith(b"http/1.1 ") or not head[9:12].isdigit():
            raise BadResponse("not an HTTP/1.1 response")
        status = int(head[9:12])
        length = 0
        if status not in (204, 304):
            at = head.find(b"\r\ncontent-length:")
            digits = head[at + 17 :].partition(b"\r")[0].strip()
            if at < 0 or not digits.isdigit() or len(digits) > 18:
                raise BadResponse("the response has no Content-Length")
            length = int(digits)
            if length > RESPONSE_BYTES_MAX:
                raise BadResponse(f"a response of {length} bytes")
        self._keeps_alive = b"\r\nconnection: close" not in head
        end = head_end + 4 + length
        if len(buffer) < end:
            return None
        if len(buffer) > end:
            raise BadResponse("more bytes than the response has")
        return Response(status, buffer[head_end + 4 :])


class _Queued(msgspec.Struct, frozen=True, gc=False):
    request: bytes
    done: Done
    expires_s: float


class Pool:
    """Connections to one address: each exchange takes an idle one, opens one while there are few, or waits its turn.

    The exchanges that wait are bounded in number and in age: the oldest is dropped first (its `done` gets a TimeoutError). After a
    failed connect the pool refuses every exchange for `backoff_s`, so that a dead peer costs little.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        connections_max: int = 4,
        waiting_max: int = 64,
        waiting_s_max: float = 0.5,
        backoff_s: float = 0.05,
    ) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._connections_max = connections_max
        self._waiting_max = waiting_max
        self._waiting_s_max = waiting_s_max
        self._backoff_s = backoff_s
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Queued] = deque()
        self._refused_until_s = 0.0
        self._refusal: OSError = ConnectionRefusedError("not connected")

    def ask(self, request: bytes, done: Done) -> None:
        """Send a whole request when a connection is free; `done` is called exactly once, perhaps before this returns."""
        connection = self._take()
        if connection is not None:
            self._start(connection, request, done)
            return
        now_s = self._loop.time()
        if not self._all and not self._connecting and now_s < self._refused_until_s:
            done(self._refusal)
            return
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft().done(TimeoutError("dropped: too many were waiting"))
        self._waiting.append(_Queued(request, done, now_s + self._waiting_s_max))
        if len(self._all) + len(self._connecting) < self._connections_max:
            self._open()

    def close(self) -> None:
        """Close every connection; every exchange under way ends as Disconnected."""
        for task in tuple(self._connecting):
            task.cancel()
        waiting, self._waiting = self._waiting, deque()
        for queued in waiting:
            queued.done(Disconnected("closed"))
        for connection in tuple(self._all):
            connection.close()
        self._all.clear()
        self._idle.clear()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._all.discard(connection)
        return None

    def _start(self, connection: Connection, request: bytes, done: Done) -> None:
        def finished(result: Response | Exception) -> None:
            self._free(connection)
            done(result)

        connection.ask(request, self._timeout_s, finished)

    def _free(self, connection: Connection) -> None:
        if not connection.is_open:
            self._all.discard(connection)
            if self._waiting and not self._all and not self._connecting:
                self._open()
            return
        now_s = self._loop.time()
        while self._waiting:
            queued = self._waiting.popleft()
            if queued.expires_s >= now_s:
                self._start(connection, queued.request, queued.done)
                return
            queued.done(TimeoutError("dropped: waited too long for a connection"))
        self._idle.append(connection)

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        address = self.address
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await self._loop.create_connection(Connection, address.host, address.port)
        except OSError as error:  # TimeoutError is one.
            self._refusal = error
            self._refused_until_s = self._loop.time() + self._backoff_s
            if not self._all:
                waiting, self._waiting = self._waiting, deque()
                for queued in waiting:
                    queued.done(error)
            return
        self._all.add(connection)
        self._free(connection)
