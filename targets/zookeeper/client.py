"""Calls to ZooKeeper by kazoo, as an application beside a node makes them.

A client whose home is n1 has its session at n1. Each call under way has a session for itself, as each process of an application
has: requests of one session wait for each other. A session whose answer did not come in time is given up, as by a process that
ends.

Locks and queues are the recipes of ZooKeeper's own documentation, without its watches: who cannot have the lock is told so.

Source: https://zookeeper.apache.org/doc/r3.8.0/recipes.html and
https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkGuarantees.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from kazoo.exceptions import BadVersionError, ConnectionLoss, KazooException, NodeExistsError, NoNodeError

from targets.session import Call, Outcome
from targets.target import Address, Ports
from targets.zookeeper.session import Session

SEEN_MAX = 100
"""Nodes whose version is kept: more than a workload uses at a time."""
CONNECT_S_MAX = 0.5
"""How long a call waits for a session that is not connected: an election lasts as long, with the target's own ticks."""

READS = frozenset({"read"})
"""The ops that change nothing."""


class Conversation(Protocol):
    """What the client needs of a session: targets.zookeeper.session.Session."""

    async def connected(self, within_s: float) -> bool:
        """Whether it is connected, or becomes so within this time."""
        ...

    async def ask(self, request: str, *arguments: Any, **named: Any) -> Any:
        """The result of the request. Raises KazooException."""
        ...

    async def end(self) -> None:
        """The session is over."""
        ...


Open = Callable[[Address, float], Conversation]
"""(server, time-out of the session in s) -> a session that connects."""


class ZooKeeperClient:
    """Implements ProgramClient, for the interfaces kv, queue and lock. Belongs to one event loop.

    is_synced: before it answers a read of kv, the home node syncs with the leader; otherwise the answer may be old.
    """

    def __init__(
        self,
        nodes: Mapping[str, Ports],
        *,
        interface: str,
        is_synced: bool,
        session_timeout_s: float,
        open_session: Open = Session,
    ) -> None:
        self._servers = {node: ports["client"] for node, ports in nodes.items()}
        self._interface = interface
        self._is_synced = is_synced
        self._session_timeout_s = session_timeout_s
        self._open = open_session
        self._idle: dict[str, list[Conversation]] = {node: [] for node in nodes}
        self._held: dict[tuple[Any, Any], Holding] = {}
        """By lock and owner."""
        self._seen: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        """Path -> the latest value of that node that was seen, and its version; of the latest nodes."""
        self._ending: set[asyncio.Task[None]] = set()

    async def call(self, call: Call, node: str) -> Outcome:
        """Put the call to this node; see ProgramClient."""
        try:
            return await (self._release(call) if call.f == "release" else self._put(call, node))
        except ConnectionLoss as error:
            raise ConnectionError("the connection was lost before the answer") from error
        except KazooException as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Outcome("fail" if call.f in READS else "info", call.value, said)

    async def close(self) -> None:
        """No session is left."""
        for sessions in self._idle.values():
            while sessions:
                self._give_up(sessions.pop())
        while self._held:
            self._give_up(self._held.popitem()[1].session)
        await asyncio.gather(*self._ending)

    async def _put(self, call: Call, node: str) -> Outcome:
        """The outcome in a session of its own, which is free afterwards unless a lock is held by it."""
        idle = self._idle[node]
        session = idle.pop() if idle else self._open(self._servers[node], self._session_timeout_s)
        lock = ""
        try:
            if not await session.connected(CONNECT_S_MAX):
                outcome = Outcome("fail", call.value, ["not-sent", f"no session with {node}"])
            elif call.f == "acquire":
                outcome, lock = await self._acquire(call, session)
            else:
                outcome = await self._carry(call, session)
        except BaseException:  # A request may be under way: nothing else shall wait behind it.
            self._give_up(session)
            raise
        if lock:
            if former := self._held.get((call.key, call.value)):  # It had expired.
                self._give_up(former.session)
            self._held[call.key, call.value] = Holding(node, session, lock)
        else:
            idle.append(session)
        return outcome

    async def _carry(self, call: Call, session: Conversation) -> Outcome:
        path = f"/{self._interface}/{call.key}"
        match call.f:
            case "read":
                return Outcome("ok", (await self._read(session, path))[0])
            case "write":
                self._note(path, call.value, await _write(session, path, _text(call.value)))
                return Outcome("ok", call.value)
            case "cas":
                return await self._cas(call, session, path)
            case "enqueue":
                await _create_below(session, path, f"{path}/e-", _text(call.value), sequence=True)
                return Outcome("ok", call.value)
            case "dequeue":
                return await self._dequeue(session, path)
        raise ValueError(f"the interface {self._interface} of zookeeper has no {call.f}")

    async def _read(self, session: Conversation, path: str) -> tuple[Any, int]:
        """The value of the node at this path and its version, None and -1 where there is no node."""
        if self._is_synced:
            await session.ask("sync", "/")
        try:
            data, stat = await session.ask("get", path)
        except NoNodeError:
            return None, -1
        value = json.loads(data)
        self._note(path, value, stat.version)
        return value, stat.version

    def _note(self, path: str, value: Any, version: int) -> None:
        """The node was seen with this value."""
        if path not in self._seen or self._seen[path][1] < version:
            self._seen[path] = value, version
            self._seen.move_to_end(path)
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    async def _cas(self, call: Call, session: Conversation, path: str) -> Outcome:
        """Set the node if it still has the version with which the expected value was seen; look first where it was not seen."""
        old, new = call.value
        mismatch = Outcome("fail", call.value, "cas-mismatch", is_refused=True)
        value, version = self._seen.get(path, (None, -1))
        if value != old:
            value, version = await self._read(session, path)
        if value != old:
            return mismatch
        try:
            if version < 0:
                await session.ask("create", path, _text(new))
                self._note(path, new, 0)
            else:
                stat = await session.ask("set", path, _text(new), version=version)
                self._note(path, new, stat.version)
        except (BadVersionError, NodeExistsError, NoNodeError):
            self._seen.pop(path, None)
            return mismatch
        return Outcome("ok", call.value)

    async def _dequeue(self, session: Conversation, path: str) -> Outcome:
        """Take the element of the lowest number. One that is gone was taken by somebody else, and what comes later has a higher
        number: so the next one was the first at the moment when it is deleted."""
        while True:
            await session.ask(
                "sync", "/"
            )  # Whatever `reads` is: an old list of elements may be empty where the queue is not.
            try:
                elements = await session.ask("get_children", path)
            except NoNodeError:
                elements = []
            if not elements:
                return Outcome("ok", None)
            for element in sorted(elements):
                try:
                    data, _ = await session.ask("get", f"{path}/{element}")
                    await session.ask("delete", f"{path}/{element}")
                except NoNodeError:
                    continue
                return Outcome("ok", json.loads(data))

    async def _acquire(self, call: Call, session: Conversation) -> tuple[Outcome, str]:
        """The outcome, and the ephemeral node by which the lock is held, "" where it is not. The owner of the lowest number has the
        lock. The token is the id of the transaction that made the node."""
        below = f"/lock/{call.key}"
        lock, stat = await _create_below(
            session, below, f"{below}/l-", _text(call.value), ephemeral=True, sequence=True, include_data=True
        )
        rivals = await session.ask("get_children", below)
        if min(rivals) == lock.rpartition("/")[2]:
            return Outcome("ok", stat.czxid), lock
        await session.ask("delete", lock)
        return Outcome("fail", call.value, "held", is_refused=True), ""

    async def _release(self, call: Call) -> Outcome:
        """Delete the node by which the lock is held, in the session that made it. Where that is in doubt the session is ended, so
        that the lock is free sooner or later. Without a connection nothing is sent, and the lock stays held: by an owner who
        cannot know whether the session has expired."""
        holding = self._held.get((call.key, call.value))
        refused = Outcome("fail", call.value, "not-held", is_refused=True)
        if holding is None:
            return refused
        if not await holding.session.connected(CONNECT_S_MAX):
            return Outcome("fail", call.value, ["not-sent", f"no session with {holding.home}"])
        del self._held[call.key, call.value]
        try:
            await holding.session.ask("delete", holding.path)
        except NoNodeError:  # The session had expired, and the lock with it.
            outcome = refused
        except BaseException:
            self._give_up(holding.session)
            raise
        else:
            outcome = Outcome("ok", call.value)
        self._idle[holding.home].append(holding.session)
        return outcome

    def _give_up(self, session: Conversation) -> None:
        """End the session, behind the caller's back: a server that does not answer holds nobody up."""
        ending = asyncio.get_running_loop().create_task(session.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class Holding(msgspec.Struct, frozen=True):
    """A lock that is held: the session, its node of the cluster, and its ephemeral node."""

    home: str
    session: Conversation
    path: str


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


async def _write(session: Conversation, path: str, data: bytes) -> int:
    """Set the node, or make it; return its version. The request that is refused changes nothing."""
    while True:
        try:
            stat = await session.ask("set", path, data)
        except NoNodeError:
            pass
        else:
            version: int = stat.version
            return version
        try:
            await session.ask("create", path, data)
        except NodeExistsError:
            continue
        return 0


async def _create_below(session: Conversation, parent: str, path: str, data: bytes, **how: bool) -> Any:
    """What kazoo says of the node that is made, below a parent that is made if need be."""
    try:
        return await session.ask("create", path, data, **how)
    except NoNodeError:
        with contextlib.suppress(NodeExistsError):
            await session.ask("create", parent)
        return await session.ask("create", path, data, **how)
