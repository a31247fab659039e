"""An HTTP server for tests, as wrong as they want it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from targets.target import Address

Answer = Callable[[dict[str, Any]], bytes | None]
"""What a server writes for a body; None: it closes the connection."""


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Server:
    """On loopback; answers what `answer` makes of each body."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.connection_count = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> Address:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Address("127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                assert head.startswith("post /")
                length = int(head.partition("content-length: ")[2].partition("\r")[0])
                body = json.loads(await reader.readexactly(length))
                self.bodies.append(body)
                answer = self.answer(body)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()

    def close(self) -> None:
        self.server.close()
        for writer in self._writers:
            writer.close()
