"""HTTP between the harness and its nodes: calls of clients in the driver's loop, and questions from any thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from harness.clients.sessions import PendingCall, SessionRunner
from histories.json_text import MESSAGE_DEPTH_MAX, decoded
from histories.printing import line
from targets import secret
from targets.session import Call, NoReply, Outcome, Session
from targets.target import Address, Formats
from targets.transport import OP_HEADER, BadResponse, Connection, Response, get, post, with_body
from targets.wire import BadBody, Codec, encode

LATE = NoReply("late")


class Clients:
    """Carries what sessions ask to the nodes over keep-alive connections. Belongs to one event loop.

    A call has a connection to itself, so that no slow call holds up another; the next call uses an idle connection again.
    """

    def __init__(
        self,
        interface: str,
        formats: Formats,
        open_session: Callable[[int], Session],
        nodes: Mapping[str, Address],
        timeout_s: float,
        shared: str | None = None,
    ) -> None:
        """shared: the run's secret, by which a node knows its clients from strangers, who may hold few connections."""
        self._runner = SessionRunner(open_session, formats.request, tuple(nodes))
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._heads = {node: post(f"/{interface}", node, secret.header(shared)) for node in nodes}
        self._reply: Codec[Any] = Codec(formats.reply)
        self._idle: dict[str, list[Connection]] = {node: [] for node in nodes}
        self._loop = asyncio.get_running_loop()

    async def call(self, call: Call, process: int, home: str, op: int | None = None) -> tuple[Outcome, str]:
        """How the call ended, and the node that was asked last. op: the index of its invocation, for the nodes' traces.

        Raises SessionFailed; the call is then `info`.
        """
        runner = self._runner
        pending = PendingCall(process, call, home)
        deadline_s = self._loop.time() + self._timeout_s
        runner.begin(pending)
        while pending.outcome is None:
            assert pending.body is not None
            if pending.pause_s:
                await asyncio.sleep(min(pending.pause_s, max(deadline_s - self._loop.time(), 0)))
            until_s = deadline_s
            if pending.patience_s is not None:
                until_s = min(deadline_s, self._loop.time() + pending.patience_s)
            reply = await self._ask(pending.node, encode(pending.body), op, until_s)
            if isinstance(reply, NoReply) and reply.why == "timeout" and until_s < deadline_s:
                reply = LATE
            if self._loop.time() < deadline_s or not isinstance(reply, NoReply):
                runner.answered(pending, pending.asks_count, reply)
            else:
                runner.timed_out(pending, reply)
        return pending.outcome, pending.node

    def close(self) -> None:
        """Close every idle connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
            connections.clear()

    async def _ask(self, node: str, body: bytes, op: int | None, deadline_s: float) -> msgspec.Struct | NoReply:
        header = b"" if op is None else b"%b: %d\r\n" % (OP_HEADER, op)
        result = await self._exchange(node, with_body(self._heads[node], body, header), deadline_s)
        if not isinstance(result, Response):
            return result
        if result.status != 200:
            return NoReply("bad-reply", f"status {result.status}: {line(result.body[:200].decode(errors='replace'))}")
        try:
            reply: msgspec.Struct = self._reply.decode(result.body)
        except BadBody as error:
            return NoReply("bad-reply", str(error))
        return reply

    async def _exchange(self, node: str, request: bytes, deadline_s: float) -> Response | NoReply:
        connection = self._take(node)
        if connection is None:
            try:
                async with asyncio.timeout_at(deadline_s):
                    address = self._nodes[node]
                    _, connection = await self._loop.create_connection(Connection, address.host, address.port)
            except TimeoutError:
                return NoReply("not-sent", "no connection in time")
            except OSError as error:
                return NoReply("not-sent", error.strerror or type(error).__name__)
        answer: asyncio.Future[Response | Exception] = self._loop.create_future()
        try:
            connection.ask(request, max(deadline_s - self._loop.time(), 0.001), answer.set_result)
            result = await answer
        except asyncio.CancelledError:
            connection.forget()
            raise
        if isinstance(result, Response):
            if connection.is_open:
                self._idle[node].append(connection)
            return result
        match result:
            case TimeoutError():
                return NoReply("timeout")
            case BadResponse():
                return NoReply("bad-reply", str(result))
            case _:
                return NoReply("reset", str(result))

    def _take(self, node: str) -> Connection | None:
        idle = self._idle[node]
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None


class _Answer(msgspec.Struct, frozen=True):
    """An answer and the monotonic times between which it was given."""

    response: Response
    asked_ns: int
    answered_ns: int


async def _ask_one(address: Address, request: bytes, timeout_s: float) -> _Answer | None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Response | Exception] = loop.create_future()
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(Connection, address.host, address.port)
    except OSError:  # TimeoutError is one.
        return None
    asked_ns = time.monotonic_ns()
    try:
        connection.ask(request, timeout_s, answer.set_result)
        result = await answer
    finally:
        connection.forget()
    return _Answer(result, asked_ns, time.monotonic_ns()) if isinstance(result, Response) else None


async def _ask_all(
    addresses: Mapping[str, Address], requests: Mapping[str, bytes], timeout_s: float
) -> dict[str, _Answer | None]:
    answers = await asyncio.gather(*(_ask_one(addresses[node], requests[node], timeout_s) for node in requests))
    return dict(zip(requests, answers, strict=True))


def _decoded(answer: _Answer | None) -> dict[str, Any] | None:
    if answer is None or answer.response.status != 200:
        return None
    try:
        value = decoded(msgspec.json.decode, answer.response.body, MESSAGE_DEPTH_MAX)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


class TimedStatus(msgspec.Struct, frozen=True):
    """A status, and the monotonic times between which it was given."""

    status: dict[str, Any]
    asked_ns: int
    answered_ns: int


def ask_statuses(addresses: Mapping[str, Address], timeout_s: float = 1.0) -> dict[str, TimedStatus]:
    """The status of each node that answers in time. May be called from any thread without a running loop."""
    requests = {node: get("/status", node) for node in addresses}
    answers = asyncio.run(_ask_all(addresses, requests, timeout_s))
    return {
        node: TimedStatus(status, answer.asked_ns, answer.answered_ns)
        for node, answer in answers.items()
        if answer is not None and (status := _decoded(answer)) is not None
    }


def tell(
    addresses: Mapping[str, Address],
    path: str,
    bodies: Mapping[str, Mapping[str, Any]],
    shared: str,
    timeout_s: float = 3.0,
) -> dict[str, dict[str, Any] | None]:
    """POST a JSON body to each of these nodes and return its answer; None for a node that does not answer 200 in time.

    shared: the run's secret.
    """
    shown = secret.header(shared)
    requests = {node: with_body(post(path, node, shown), encode(body)) for node, body in bodies.items()}
    return {node: _decoded(answer) for node, answer in asyncio.run(_ask_all(addresses, requests, timeout_s)).items()}


def put(
    requests: Mapping[int, tuple[Address, msgspec.Struct]], path: str, reply: Any, timeout_s: float, shared: str
) -> dict[int, msgspec.Struct]:
    """POST each request to its address, all at once; the replies, of the type `reply`, that came in time. shared: the run's
    secret."""
    shown = secret.header(shared)
    addresses = {str(number): address for number, (address, _) in requests.items()}
    bodies = {
        str(number): with_body(post(path, str(address), shown), encode(body))
        for number, (address, body) in requests.items()
    }
    codec: Codec[Any] = Codec(reply)
    found = {}
    for number, answer in asyncio.run(_ask_all(addresses, bodies, timeout_s)).items():
        if answer is not None and answer.response.status == 200:
            with suppress(BadBody):
                found[int(number)] = codec.decode(answer.response.body)
    return found
