"""One session with one ZooKeeper server, by kazoo, for a coroutine.

kazoo has threads of its own: one that owns the connection, and one that tells results. Nothing here waits for them but by a future
of the event loop, so that a session that hangs holds up nobody else.

Source: https://kazoo.readthedocs.io/en/latest/async_usage.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException

from targets.target import Address

RECONNECT_S = 0.2
"""Between two attempts to connect. kazoo waits up to a minute by itself, long after the server is back."""

_LOG = logging.getLogger("targets.zookeeper.kazoo")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # kazoo tells every lost connection, on the terminal of whoever does not ask otherwise.


class Session:
    """A session that connects by itself, and again when the connection is lost. Belongs to one event loop.

    timeout_s: how long the servers keep the session, and its ephemeral nodes, without a sign of life. When it has expired, kazoo
    begins a new one at the same server.
    """

    def __init__(self, server: Address, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._client = KazooClient(
            hosts=str(server),
            timeout=timeout_s,
            connection_retry={"max_tries": -1, "delay": RECONNECT_S, "backoff": 1, "max_delay": RECONNECT_S},
            logger=_LOG,
        )
        self._client.add_listener(self._on_state)
        self._client.start_async()

    async def connected(self, within_s: float) -> bool:
        """Whether it is connected, or becomes so within this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._connected.wait()
        return self._connected.is_set()

    async def ask(self, request: str, *arguments: Any, **named: Any) -> Any:
        """The result of kazoo's request of this name ("get", "create"). Raises KazooException. One that is cancelled may still be
        carried out."""
        answered: asyncio.Future[Any] = self._loop.create_future()

        def tell(result: Any) -> None:  # In a thread of kazoo.
            self._in_loop(_settle, answered, result)

        getattr(self._client, f"{request}_async")(*arguments, **named).rawlink(tell)
        return await answered

    async def end(self) -> None:
        """The session is over, and so are its ephemeral nodes; at a server that does not answer, the session expires instead."""
        ended: asyncio.Future[Any] = self._loop.create_future()

        def work() -> None:
            with contextlib.suppress(KazooException, OSError):  # The server does not answer.
                self._client.stop()
                self._client.close()
            self._in_loop(_settle, ended, None)

        threading.Thread(target=work, name="kazoo-end", daemon=True).start()
        await ended

    def _on_state(self, state: str) -> None:  # In a thread of kazoo.
        is_connected = state == KazooState.CONNECTED
        self._in_loop(self._connected.set if is_connected else self._connected.clear)

    def _in_loop(self, do: Callable[..., object], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(do, *arguments)


def _settle(answered: asyncio.Future[Any], result: Any) -> None:
    """The future has what kazoo's result holds, or the error in it. One that was cancelled stays so."""
    if answered.done():
        return
    if result is None:
        answered.set_result(None)
    elif result.exception is not None:
        answered.set_exception(result.exception)
    else:
        answered.set_result(result.value)
