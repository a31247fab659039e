"""A client's call ends as what came back allows: followed redirects, a refusal, silence, a broken connection, nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.clients.node_http import Clients
from harness.tests.http_server import Answer, Server, response
from targets.session import Call, Outcome
from targets.target import Address
from targets.tests.echo import TARGET
from targets.topology import PLAIN


def told(value: Any = None, node: str | None = None) -> bytes:
    return response(json.dumps({"value": value, "node": node}).encode())


def run(answer: Answer, test: Callable[[Clients, Server], Coroutine[None, None, None]], timeout_s: float = 5.0) -> None:
    async def main() -> None:
        server = Server(answer)
        address = await server.open()
        nodes = {"n1": address, "n2": address, "dead": Address("127.0.0.1", 1)}
        clients = Clients(
            "kv", TARGET.formats("kv"), lambda process: TARGET.session("kv", process, PLAIN), nodes, timeout_s
        )
        try:
            await test(clients, server)
        finally:
            clients.close()
            server.close()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_calls_share_kept_connections_and_each_gets_its_own_answer() -> None:
    async def test(clients: Clients, server: Server) -> None:
        for batch in range(5):
            values = [10 * batch + number for number in range(3)]
            found = await asyncio.gather(*(clients.call(Call("read", 1, value), value, "n1") for value in values))
            assert found == [(Outcome("ok", value), "n1") for value in values]
        assert server.connection_count == 3

    run(lambda body: told(body["value"]), test)


@pytest.mark.parametrize(
    ("answer", "why", "detail"),
    [
        (None, "reset", "closed"),
        (b"", "timeout", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "timeout", ""),
        (b"SSH-2.0-OpenSSH\r\n", "bad-reply", "not an HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-reply", "no Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "bad-reply", "a response of 99999999999 bytes"),
        (told(1) + b"more", "bad-reply", "more bytes"),
        (response(b"{"), "bad-reply", "truncated"),
        (response(b'{"node": 5}'), "bad-reply", "node: Expected"),
        (response(b'{"error": "no"}', "504 Gateway Timeout"), "bad-reply", 'status 504: {"error": "no"}'),
    ],
)
def test_what_is_no_answer_is_indeterminate(answer: bytes | None, why: str, detail: str) -> None:
    async def test(clients: Clients, server: Server) -> None:
        for _ in range(2):  # The second call must not meet what the first one left.
            outcome, node = await clients.call(Call("write", 1, 7), 0, "n1")
            assert (outcome.type, outcome.value, node) == ("info", 7, "n1")
            assert outcome.error[0] == why
            assert detail in outcome.error[1]

    run(lambda body: answer, test, timeout_s=0.2 if why == "timeout" else 5.0)


def test_a_refused_connection_certainly_did_nothing() -> None:
    async def test(clients: Clients, server: Server) -> None:
        outcome, node = await clients.call(Call("write", 1, 7), 0, "dead")
        assert (outcome.type, outcome.error[0], node) == ("fail", "not-sent", "dead")

    run(lambda body: None, test)


def test_an_answer_in_pieces_is_put_together_and_a_closing_server_is_believed() -> None:
    async def test(clients: Clients, server: Server) -> None:
        for value in (1, 2):
            assert await clients.call(Call("read", 1, value), 0, "n1") == (Outcome("ok", "x" * 300_000), "n1")
        assert server.connection_count == 2

    body = json.dumps({"value": "x" * 300_000}).encode()
    run(lambda _: response(body, headers="Connection: close\r\n"), test)
