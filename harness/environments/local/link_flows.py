"""What passes between two nodes: a path, the flows of bytes on it, and the two halves of a connection through a proxy.

A *path* (source, destination) is
one direction of travel: it carries what the source sends on its own connections to the destination, and what it answers on
the destination's connections to it. While a path is cut, its bytes are held, in order, as TCP would retransmit them: nothing
is refused or reset. When it heals they arrive, if the connection still stands; a connection that was opened during the cut
and given up by its maker was never made, as no SYN would have passed.

Bad paths: slow delays each chunk by delay_ms plus or minus jitter_ms. loss lets a chunk wait for a retransmission (200 ms,
doubling, RFC 6298) with this probability, again each time; after five losses in a row the connection is reset. reorder holds
a chunk back with this probability so that other connections overtake it; one connection keeps its order, as TCP promises.
rate lets a path carry so many bytes a second in all. They add up.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import cast

import msgspec

from targets.target import Address

Link = tuple[str, str]
"""(source, destination)."""

HELD_BYTES_MAX = 256 * 1024
"""What one direction of one connection holds before its sender is made to wait."""
RETRANSMISSION_S = 0.2
LOSSES_MAX = 5
REORDER_S = 0.02
"""How far a reordered chunk is held back: several times a round trip on one machine."""


class Path:
    """One direction between two nodes: whether bytes pass, and how badly."""

    def __init__(self, link: Link, rng: Random) -> None:
        self.link = link
        self.is_cut = False
        self.bad: dict[str, Mapping[str, float]] = {}
        self.passed_bytes = 0
        self.flows: set[Flow] = set()
        self._rng = rng
        self._rate_free_s = 0.0

    @property
    def is_clear(self) -> bool:
        """Bytes pass at once."""
        return not self.is_cut and not self.bad

    @property
    def slow_s_max(self) -> float:
        """The longest that `slow` delays a chunk."""
        slow = self.bad.get("slow", {})
        return (slow.get("delay_ms", 0.0) + slow.get("jitter_ms", 0.0)) / 1000

    def delay_s(self, now_s: float, byte_count: int) -> float | None:
        """How long this chunk takes; None when the connection is reset."""
        delay_s = 0.0
        if slow := self.bad.get("slow"):
            jitter_ms = slow.get("jitter_ms", 0.0)
            delay_s += max(0.0, slow["delay_ms"] + self._rng.uniform(-jitter_ms, jitter_ms)) / 1000
        if loss := self.bad.get("loss"):
            losses = 0
            while self._rng.random() < loss["probability"]:
                if losses == LOSSES_MAX:
                    return None
                delay_s += RETRANSMISSION_S * 2**losses
                losses += 1
        if (reorder := self.bad.get("reorder")) and self._rng.random() < reorder["probability"]:
            delay_s += self._rng.uniform(0, 2 * REORDER_S)
        if rate := self.bad.get("rate"):
            self._rate_free_s = max(now_s, self._rate_free_s) + byte_count / rate["bytes_per_s"]
            delay_s = max(delay_s, self._rate_free_s - now_s)
        return delay_s

    def changed(self) -> None:
        """Let what may pass now pass."""
        for flow in tuple(self.flows):
            flow.pump()


class _End(msgspec.Struct, frozen=True):
    """The sender has no more to send. is_reset: its connection broke, or it will not read either."""

    is_reset: bool


class Flow:
    """One direction of one connection: what came from `source` and is to be written to `sink`."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.connection = connection
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.delivered_bytes = 0
        self.is_ended = False
        self._queue: deque[tuple[float, bytes | _End]] = deque()
        self.queued_bytes = 0
        self._is_sink_full = False
        self._is_source_paused = False
        self._timer: asyncio.TimerHandle | None = None
        path.flows.add(self)

    def feed(self, data: bytes) -> None:
        """The source sent this."""
        sink = self.sink
        if sink is not None and not self._queue and self.path.is_clear:
            self.delivered_bytes += len(data)
            self.path.passed_bytes += len(data)
            sink.write(data)
            return
        due_s = 0.0
        if self.path.bad:
            now_s = self.connection.loop.time()
            delay_s = self.path.delay_s(now_s, len(data))
            if delay_s is None:
                self.connection.abort()
                return
            due_s = max(now_s + delay_s, self._queue[-1][0] if self._queue else 0.0)
        self._queue.append((due_s, data))
        self.queued_bytes += len(data)
        if self.queued_bytes > HELD_BYTES_MAX:
            self._set_source_paused(True)
        self.pump()

    def end(self, is_reset: bool) -> None:
        """The source sends no more."""
        if not self.is_ended:
            self._queue.append((self._queue[-1][0] if self._queue else 0.0, _End(is_reset)))
            self.pump()

    def pump(self) -> None:
        """Write what may be written now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.path.is_cut or self.is_ended:
            return
        if self.sink is None:
            self.connection.need_sink(self)
            return
        now_s = self.connection.loop.time()
        while self._queue:
            due_s, item = self._queue[0]
            if due_s > now_s and self.path.bad:
                self._timer = self.connection.loop.call_at(due_s, self.pump)
                return
            self._queue.popleft()
            if isinstance(item, _End):
                self.is_ended = True
                self.connection.ended(self, item.is_reset)
                return
            self.queued_bytes -= len(item)
            self.delivered_bytes += len(item)
            self.path.passed_bytes += len(item)
            self.sink.write(item)
        self._set_source_paused(self._is_sink_full)

    def set_sink_full(self, is_full: bool) -> None:
        """The sink's buffer is over or under its mark."""
        self._is_sink_full = is_full
        self._set_source_paused(is_full or self.queued_bytes > HELD_BYTES_MAX)

    def has_arrived(self, byte_count: int) -> bool:
        """So many bytes were written to the sink, and its kernel has acknowledged them, or it has closed the connection."""
        return self.delivered_bytes >= byte_count and (self.sink is None or _is_acknowledged(self.sink))

    def discard(self) -> None:
        """The connection is gone."""
        self.path.flows.discard(self)
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_source_paused(self, is_paused: bool) -> None:
        if is_paused is self._is_source_paused or self.source is None or self.source.is_closing():
            return
        self._is_source_paused = is_paused
        if is_paused:
            self.source.pause_reading()
        else:
            self.source.resume_reading()


class Endpoint(asyncio.Protocol):
    """One socket of a connection. incoming: what it receives goes there. outgoing: what is written to it came there."""

    def __init__(self, incoming: Flow, outgoing: Flow) -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.incoming.source = self.outgoing.sink = cast(asyncio.Transport, transport)
        _send_at_once(transport)

    def data_received(self, data: bytes) -> None:
        self.incoming.feed(data)

    def eof_received(self) -> bool:
        self.incoming.connection.source_ended(self.incoming, is_reset=False)
        return True  # The other direction may still have something to say.

    def connection_lost(self, exc: Exception | None) -> None:
        self.incoming.source = self.outgoing.sink = None
        self.incoming.connection.source_ended(self.incoming, is_reset=True)

    def pause_writing(self) -> None:
        self.outgoing.set_sink_full(True)

    def resume_writing(self) -> None:
        self.outgoing.set_sink_full(False)


class Connection:
    """A connection that a node made through a link, and the one that the link makes for it to the destination."""

    def __init__(self, target: Address, forth: Path, back: Path, gone: Callable[[Connection], None]) -> None:
        """target: where the destination listens. gone: told when the connection is closed."""
        self.loop = asyncio.get_running_loop()
        self.forth = Flow(forth, self)
        self.back = Flow(back, self)
        self.is_refused = False
        self._target = target
        self._gone = gone
        self._upstream: asyncio.Task[None] | None = None
        self._is_closed = False

    def need_sink(self, flow: Flow) -> None:
        """`flow` may pass and has nowhere to go yet."""
        if flow is self.forth and self._upstream is None and not self._is_closed:
            self._upstream = self.loop.create_task(self._connect())

    def source_ended(self, flow: Flow, is_reset: bool) -> None:
        """`flow`'s source closed its half, or is gone."""
        if flow is self.forth and flow.sink is None and flow.path.is_cut:
            self.abort()  # Given up before it was made.
        else:
            flow.end(is_reset)

    def ended(self, flow: Flow, is_reset: bool) -> None:
        """The end of `flow` has arrived."""
        if is_reset or (self.forth.is_ended and self.back.is_ended):
            self.abort()
        elif flow.sink is not None and not flow.sink.is_closing():
            flow.sink.write_eof()

    def abort(self) -> None:
        """Close both sides at once."""
        if self._is_closed:
            return
        self._is_closed = True
        self._gone(self)
        if self._upstream is not None:
            self._upstream.cancel()
        for flow in (self.forth, self.back):
            flow.is_ended = True
            if flow.sink is not None:
                # A close lets what was written go out first; a peer that does not read is cut short by the kernel.
                flow.sink.close()
            flow.discard()

    async def _connect(self) -> None:
        address = self._target
        try:
            await self.loop.create_connection(lambda: Endpoint(self.back, self.forth), address.host, address.port)
        except OSError:
            self.is_refused = True
            self.back.end(is_reset=True)
            return
        self.forth.pump()


def _send_at_once(transport: asyncio.BaseTransport) -> None:
    found = transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_acknowledged(transport: asyncio.Transport) -> bool:
    """Nothing that was written to this connection waits for the other kernel's acknowledgement (Linux: SIOCOUTQ)."""
    if transport.is_closing():
        return True
    if transport.get_write_buffer_size():
        return False
    found = transport.get_extra_info("socket")
    unacknowledged: int = struct.unpack("i", fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return unacknowledged == 0
