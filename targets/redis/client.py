"""Calls to Redis by redis-py, as an application makes them: to the one server, or to the master that Sentinel names.

A client whose home is n1 stands for a process beside n1: it asks n1's Sentinel where the master is, and goes there. redis-py tries
again by itself unless it is told not to; it is told, since an INCRBY or RPUSH that is tried again may count twice.

Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/ and https://redis.io/commands/wait/.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from targets.session import Call, Outcome
from targets.target import Ports

MASTER = "themis"
"""The name under which every Sentinel watches the master."""
CONNECT_S_MAX = 0.5
"""To connect, and for a Sentinel to answer: it is on this machine or beside it."""

READS = frozenset({"read", "contains"})
"""The ops that change nothing."""

NEVER_DONE = ("READONLY", "NOREPLICAS", "MISCONF", "LOADING", "MASTERDOWN", "NOAUTH", "WRONGTYPE", "OOM", "BUSY")
"""How an error begins by which a server says that it has not carried out the command (redis.io/docs, "errors")."""

CAS = """
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] or (not held and ARGV[1] == 'null') then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return 0
"""
"""Compare and set, in one step: a script is carried out without another command between (redis.io/docs, "EVAL")."""

ACQUIRE = """
local taken
if tonumber(ARGV[2]) > 0 then
  taken = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
else
  taken = redis.call('SET', KEYS[1], ARGV[1], 'NX')
end
if taken then
  return redis.call('INCR', KEYS[2])
end
return 0
"""
"""The documented lock (SET NX PX), which also counts up a fencing token."""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""
"""The documented release: only of a lock that still holds the owner's value."""


class TooFewReplicas(Exception):
    """WAIT ended before so many replicas had the write, which the master has all the same."""


class RedisClient:
    """Implements ProgramClient, for the interfaces kv, set, counter, queue and lock. Belongs to one event loop.

    is_watched: there are Sentinels to ask for the master; else the home node's server is asked. wait_replicas: how many replicas
    must have a write before it is acknowledged (0: none); WAIT gives up after wait_ms. lock_ttl_ms: 0 for locks that never
    expire.
    """

    def __init__(
        self,
        nodes: Mapping[str, Ports],
        *,
        interface: str,
        is_watched: bool,
        wait_replicas: int,
        wait_ms: int,
        lock_ttl_ms: int,
    ) -> None:
        self._interface = interface
        self._wait_replicas = wait_replicas
        self._wait_ms = wait_ms
        self._lock_ttl_ms = lock_ttl_ms
        self._sentinels: list[Sentinel] = []
        self._servers: dict[str, Redis] = {}
        for node, ports in nodes.items():
            if is_watched:
                at = ports["sentinel"]
                asked = {"socket_connect_timeout": CONNECT_S_MAX, "socket_timeout": CONNECT_S_MAX, "retry": _once()}
                make: Any = Sentinel  # redis-py does not annotate it.
                sentinel: Sentinel = make([(at.host, at.port)], sentinel_kwargs=asked)
                self._sentinels.append(sentinel)
                self._servers[node] = sentinel.master_for(
                    MASTER, socket_connect_timeout=CONNECT_S_MAX, socket_timeout=None, retry=_once()
                )
            else:
                self._servers[node] = server(ports)

    async def call(self, call: Call, node: str) -> Outcome:
        """Put the call to the master that this node knows of; see ProgramClient."""
        try:
            return await self._called(call, self._servers[node])
        except TooFewReplicas as error:
            return Outcome("info", call.value, str(error))
        except MasterNotFoundError as error:
            return Outcome("fail", call.value, ["not-sent", str(error)])
        except ResponseError as error:
            is_certain = call.f in READS or str(error).startswith(NEVER_DONE) or _code(error) in NEVER_DONE
            return Outcome("fail" if is_certain else "info", call.value, str(error))
        except (RedisConnectionError, RedisTimeoutError) as error:
            if _is_refused(error):
                return Outcome("fail", call.value, ["not-sent", str(error)])
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        """No connection is left."""
        for client in (
            *self._servers.values(),
            *(asked for sentinel in self._sentinels for asked in sentinel.sentinels),
        ):
            await client.aclose()
            await client.connection_pool.disconnect()

    async def _called(self, call: Call, redis: Redis) -> Outcome:
        key = f"{self._interface}:{call.key}"
        value = call.value
        match self._interface, call.f:
            case "kv", "read":
                held = await _awaited(redis.get(key))
                return Outcome("ok", None if held is None else json.loads(held))
            case "kv", "write":
                await self._changed(redis, "SET", key, json.dumps(value))
            case "kv", "cas":
                done = await self._changed(redis, "EVAL", CAS, 1, key, *map(json.dumps, value))
                if not done:
                    return Outcome("fail", value, "cas-mismatch", is_refused=True)
            case "set", "add":
                await self._changed(redis, "SADD", key, json.dumps(value))
            case "set", "remove":
                await self._changed(redis, "SREM", key, json.dumps(value))
            case "set", "contains":
                return Outcome("ok", bool(await _awaited(redis.sismember(key, json.dumps(value)))))
            case "set", "read":
                return Outcome("ok", sorted(json.loads(member) for member in await _awaited(redis.smembers(key))))
            case "counter", "add":
                await self._changed(redis, "INCRBY", key, value)
            case "counter", "read":
                return Outcome("ok", int(await _awaited(redis.get(key)) or 0))
            case "queue", "enqueue":
                await self._changed(redis, "RPUSH", key, json.dumps(value))
            case "queue", "dequeue":
                taken = await self._changed(redis, "LPOP", key)
                return Outcome("ok", None if taken is None else json.loads(taken))
            case "lock", "acquire":
                token = await self._changed(
                    redis, "EVAL", ACQUIRE, 2, key, f"{key}:token", json.dumps(value), self._lock_ttl_ms
                )
                if not token:
                    return Outcome("fail", value, "held", is_refused=True)
                return Outcome("ok", int(token))
            case "lock", "release":
                if not await self._changed(redis, "EVAL", RELEASE, 1, key, json.dumps(value)):
                    return Outcome("fail", value, "not-held", is_refused=True)
            case _:
                raise ValueError(f"the interface {self._interface} of redis has no {call.f}")
        return Outcome("ok", value)

    async def _changed(self, redis: Redis, *command: str | int) -> Any:
        """The answer to a command that changes something, once enough replicas have it. Raises TooFewReplicas."""
        if not self._wait_replicas:
            execute: Any = redis.execute_command  # redis-py does not annotate it.
            return await execute(*command)
        async with redis.pipeline(transaction=False) as both:  # WAIT counts for the connection that wrote.
            both.execute_command(*command)
            both.execute_command("WAIT", self._wait_replicas, self._wait_ms)
            answer, replicas = await both.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(replicas, Exception):
            raise TooFewReplicas(f"WAIT: {replicas}")
        if replicas < self._wait_replicas:
            raise TooFewReplicas(f"only {replicas} replicas had it after {self._wait_ms} ms")
        return answer


def server(ports: Ports, port: str = "client", timeout_s: float | None = None) -> Redis:
    """A client of this node's server, or of its Sentinel, that never tries again."""
    at = ports[port]
    return Redis(
        host=at.host, port=at.port, socket_connect_timeout=CONNECT_S_MAX, socket_timeout=timeout_s, retry=_once()
    )


async def _awaited(answer: Awaitable[Any] | Any) -> Any:
    """redis-py's annotations are those of its blocking client too."""
    return await answer


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _code(error: RedisError) -> str:
    """The first word of the server's answer, which redis-py takes off where it knows the error by a class."""
    return {"ReadOnlyError": "READONLY", "BusyLoadingError": "LOADING", "OutOfMemoryError": "OOM"}.get(
        type(error).__name__, ""
    )


def _is_refused(error: BaseException) -> bool:
    """Whether nobody listened there: then nothing was sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
