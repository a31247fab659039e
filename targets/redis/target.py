"""Redis as a target: one server with a policy of fsync, or a master and replicas watched by Sentinel, as Debian packages them.

What it promises: one server carries out one command at a time, and keeps what its append-only file keeps
(https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/). Replication is asynchronous, so that a fail-over loses
acknowledged writes ("Redis Sentinel + Redis as a whole is an eventually consistent system where the merge function is last failover
wins", https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/); `min-replicas-to-write` and WAIT lessen that and do
not end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from targets.core import NodeId
from targets.target import Connect, FaultModel, Place, Ports, ProgramDefaults
from targets.topology import PLAIN, Topology

if TYPE_CHECKING:  # redis-py is an extra: the target can be named, and refused, without it.
    from redis.asyncio import Redis as Server

MASTER = "themis"

START = """
for name in redis sentinel; do
  [ ! -e "$1/$name.conf" ] || [ -e "$2/$name.conf" ] || cp "$1/$name.conf" "$2/$name.conf"
done
redis-server "$2/redis.conf" & server=$!
if [ -e "$2/sentinel.conf" ]; then
  redis-server "$2/sentinel.conf" --sentinel & sentinel=$!
fi
wait -n
status=$?
kill -9 $server $sentinel 2>/dev/null
exit $status
"""
"""Starts a node's server and its Sentinel ($1: config_dir, $2: data_dir). Both write what they learn into their configuration, so
that is durable state: a node that comes back follows the master that it followed. When one of them ends, so does the node."""


COMMANDS = {
    "kv": frozenset({"read", "write", "cas"}),
    "set": frozenset({"add", "remove", "contains", "read"}),
    "counter": frozenset({"add", "read"}),
    "queue": frozenset({"enqueue", "dequeue"}),
    "lock": frozenset({"acquire", "release"}),
}
"""The ops of each interface."""


class RedisOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """fsync: of the append-only file: always, everysec, no (whenever the kernel does it); off: there is no such file, and nothing
    is kept. down_after_ms: a Sentinel holds a server for down that has not answered for so long. failover_timeout_ms: of Sentinel.
    min_replicas_to_write: a master with fewer replicas refuses writes; min_replicas_max_lag_s: what counts as one.
    wait_replicas: clients WAIT for so many replicas after each write, wait_ms at most. lock_ttl_ms: locks expire; 0: never.
    """

    fsync: Literal["always", "everysec", "no", "off"] = "always"
    down_after_ms: Annotated[int, msgspec.Meta(ge=100)] = 1000
    failover_timeout_ms: Annotated[int, msgspec.Meta(ge=1000)] = 5000
    min_replicas_to_write: Annotated[int, msgspec.Meta(ge=0)] = 0
    min_replicas_max_lag_s: Annotated[int, msgspec.Meta(ge=1)] = 2
    wait_replicas: Annotated[int, msgspec.Meta(ge=0)] = 0
    wait_ms: Annotated[int, msgspec.Meta(ge=1)] = 1000
    lock_ttl_ms: Annotated[int, msgspec.Meta(ge=0)] = 0


def _typed(options: msgspec.Struct) -> RedisOptions:
    assert isinstance(options, RedisOptions)
    return options


class Redis(ProgramDefaults):
    """Implements targets.target.Program. One node is a server by itself; more are a master, replicas, and a Sentinel on each."""

    name = "redis"
    summary = "Redis, alone or with replicas and Sentinel (the program, from Debian's redis-server)"
    interfaces = frozenset(COMMANDS)
    option_type: type[msgspec.Struct] = RedisOptions
    fault_model = FaultModel(survives=frozenset({"partition", "kill", "pause", "restart-all", "slow", "loss", "rate"}))
    ports: Sequence[str] = ("client", "sentinel")
    installed: Sequence[str] = ("redis-server", "--version")
    install = "apt-get install redis-server redis-sentinel"
    packages: Sequence[str] = ("redis-sentinel", "redis-server")
    version = r"v=(\d+)\.(\d+)"
    version_min: Sequence[int] = (7, 0)
    library: Sequence[str] = ("redis", "themis-consistency[redis]")
    asks_libc_for_time = True
    commands: Mapping[str, frozenset[str]] = COMMANDS
    reads = frozenset({"read", "contains"})
    log_alarms: Sequence[str] = (
        r"REDIS BUG REPORT",
        r"ASSERTION FAILED",
        r"Guru Meditation",
        r"Bad file format reading the append only",
    )
    """How Redis writes that it crashed, that it must not go on, and that its file is damaged."""

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Linearizable: what applications hope of it, also where Redis promises less. docs/systems.md says which runs break it."""
        return "linearizable"

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """All nodes are alike. Raises ValueError for a number of replicas that the cluster does not have."""
        chosen = _typed(options)
        for name in ("min_replicas_to_write", "wait_replicas"):
            if getattr(chosen, name) >= len(nodes):
                raise ValueError(
                    f"{name} is {getattr(chosen, name)}, and {len(nodes)} nodes have {len(nodes) - 1} replicas"
                )
        return PLAIN

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        """A shell that starts the node's programs and ends with them."""
        return ("bash", "-c", START, "redis-node", place.config_dir, place.data_dir)

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """With fsync=always it survives the loss of power too: what was acknowledged is on the disk."""
        if _typed(options).fsync != "always":
            return self.fault_model
        return FaultModel(survives=self.fault_model.survives | {"disk/lose-unsynced"})

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """The first configuration of the server and, where there are several nodes, of its Sentinel."""
        chosen = _typed(options)
        first = min(place.nodes)
        listen, advertised = place.listen["client"], place.advertised["client"]
        lines = [
            f"bind {listen.host}",
            f"port {listen.port}",
            "protected-mode no",
            f"dir {place.data_dir}",
            f"appendonly {'no' if chosen.fsync == 'off' else 'yes'}",
            f"appendfsync {'no' if chosen.fsync == 'off' else chosen.fsync}",
            'save ""',
            f"replica-announce-ip {advertised.host}",
            f"replica-announce-port {advertised.port}",
            "repl-diskless-sync-delay 0",
            "repl-timeout 5",
            "repl-ping-replica-period 1",
            f"min-replicas-to-write {chosen.min_replicas_to_write}",
            f"min-replicas-max-lag {chosen.min_replicas_max_lag_s}",
        ]
        if len(place.nodes) == 1:
            return {"redis.conf": _text(lines)}
        master = place.nodes[first]["client"]
        if place.node != first:
            lines.append(f"replicaof {master.host} {master.port}")
        at, announced = place.listen["sentinel"], place.advertised["sentinel"]
        sentinel = [
            f"bind {at.host}",
            f"port {at.port}",
            "protected-mode no",
            f"dir {place.data_dir}",
            f"sentinel announce-ip {announced.host}",
            f"sentinel announce-port {announced.port}",
            f"sentinel monitor {MASTER} {master.host} {master.port} {len(place.nodes) // 2 + 1}",
            f"sentinel down-after-milliseconds {MASTER} {chosen.down_after_ms}",
            f"sentinel failover-timeout {MASTER} {chosen.failover_timeout_ms}",
            f"sentinel parallel-syncs {MASTER} 1",
        ]
        return {"redis.conf": _text(lines), "sentinel.conf": _text(sentinel)}

    async def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> None:
        """Wait until every replica follows the master, and every Sentinel knows all others and all replicas."""
        if len(places) == 1:
            return
        others = len(places) - 1
        pending = [(node, port) for node in sorted(places) for port in ("client", "sentinel")]
        while pending:
            await asyncio.sleep(0.05)
            node, port = pending[0]
            if await _is_formed(places[node].listen, port, others):
                pending.pop(0)

    async def status(self, node: Ports) -> Mapping[str, Any]:
        """The server's role, its replication, and the epoch of the fail-over that its Sentinel knows of."""
        info = await _asked(node, "client")
        status = {
            name: info.get(name) for name in ("role", "master_link_status", "connected_slaves", "master_repl_offset")
        }
        try:
            watched = await _asked(node, "sentinel")
        except OSError:
            return {**status, "term": 0}  # A server by itself; or its Sentinel is not there yet.
        return {**status, "term": int(watched["config-epoch"]), "flags": watched["flags"]}

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The master that has replicas, by the Sentinel that knows of the latest fail-over; None where none is."""
        masters = [
            (status["term"], status["connected_slaves"] or 0, node)
            for node, status in sorted(statuses.items())
            if status["role"] == "master"
        ]
        return max(masters)[2] if masters else None

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        """A client by redis-py, which asks Sentinel for the master where there are several nodes."""
        from targets.redis.client import RedisClient

        chosen = _typed(options)

        def connect(nodes: Mapping[NodeId, Ports]) -> RedisClient:
            return RedisClient(
                nodes,
                interface=interface,
                is_watched=len(nodes) > 1,
                wait_replicas=chosen.wait_replicas,
                wait_ms=chosen.wait_ms,
                lock_ttl_ms=chosen.lock_ttl_ms,
            )

        return connect


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


async def _asked(node: Ports, port: Literal["client", "sentinel"]) -> dict[str, Any]:
    """What the server says of its replication, or its Sentinel of the master, over a connection of its own. Raises OSError."""
    from redis.exceptions import RedisError

    from targets.redis.client import server

    redis: Server = server(node, port, timeout_s=1.0)
    try:
        asked: Any = redis.info("replication") if port == "client" else redis.sentinel_master(MASTER)
        answer = await asked
    except RedisError as error:
        raise ConnectionError(f"its {port} port: {error}") from error
    finally:
        await redis.aclose()
    if not isinstance(answer, dict):
        raise ConnectionError(f"its {port} port answers {answer!r:.200}")
    found: dict[str, Any] = answer
    return found


async def _is_formed(node: Ports, port: str, others: int) -> bool:
    """Whether this server or Sentinel knows of the others."""
    try:
        if port == "client":
            info = await _asked(node, "client")
            return info.get("connected_slaves") == others or info.get("master_link_status") == "up"
        known = await _asked(node, "sentinel")
    except OSError:
        return False
    return int(known["num-other-sentinels"]) == others and int(known["num-slaves"]) == others


TARGET = Redis()
