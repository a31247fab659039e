"""ZooKeeper as a target: a tree of small values, replicated by Zab, as Debian packages it.

What it promises (https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkGuarantees): writes are linearizable; the
requests of one client take effect in its order; a read is answered by the client's own server, and may be old. A client that must
not miss what others wrote calls `sync` before it reads. That makes a stale read rare and does not exclude it: a leader answers a
sync without asking its followers, so one that has been replaced and does not know it yet answers wrongly
(https://issues.apache.org/jira/browse/ZOOKEEPER-2136). A lock by ephemeral nodes excludes nobody once its session has expired.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from targets.core import NodeId
from targets.target import Connect, FaultModel, Place, Ports, ProgramDefaults, latest_leader
from targets.topology import PLAIN, Topology

JARS = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
"""The first one's manifest names all others that the server needs."""

ALL_ADDRESSES = "0.0.0.0"
"""Others disregard it where a server tells it to them (QuorumCnxManager.InitialMessage)."""

BIND_TRIES = 20
"""A second apart: what was connected from there, while the server was down, may take a while to be gone."""

SESSION_TICKS = (2, 20)
"""A server grants no session with a shorter or longer time-out (minSessionTimeout, maxSessionTimeout in the guide)."""

START = """
[ -e "$1/myid" ] || echo "$2" >"$1/myid"
shift 2
exec java "$@"
"""
"""Starts a server ($1: its data_dir, $2: its number, which ZooKeeper reads from a file there)."""

JVM = (
    "-Xmx128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # Several servers share the processors of one machine: the quick compiler only.
    "-XX:-UsePerfData",  # It would write below /tmp.
    "-XX:+ExitOnOutOfMemoryError",
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dzookeeper.preAllocSize=1024",  # Kilobytes; the default is 64 MB for each file of the log.
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)

COMMANDS = {
    "kv": frozenset({"read", "write", "cas"}),
    "queue": frozenset({"enqueue", "dequeue"}),
    "lock": frozenset({"acquire", "release"}),
}
"""The ops of each interface."""


class ZooKeeperOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """reads: of values: plain, answered by the client's own server, perhaps old; sync: after a sync with the leader.
    tick_ms: ZooKeeper's unit of time. sync_ticks: a server that is silent for so long is given up. init_ticks: how long a follower
    may take to catch up. session_timeout_ms: a session without a sign of life expires, between 2 and 20 ticks. snapshot_count: a
    server makes a snapshot after about so many transactions.
    """

    reads: Annotated[str, msgspec.Meta(pattern="^(plain|sync)$")] = "plain"
    tick_ms: Annotated[int, msgspec.Meta(ge=50, le=10_000)] = 200
    sync_ticks: Annotated[int, msgspec.Meta(ge=2, le=100)] = 5
    init_ticks: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 20
    session_timeout_ms: Annotated[int, msgspec.Meta(ge=100)] = 2000
    snapshot_count: Annotated[int, msgspec.Meta(ge=10)] = 100_000


def _typed(options: msgspec.Struct) -> ZooKeeperOptions:
    assert isinstance(options, ZooKeeperOptions)
    return options


class ZooKeeper(ProgramDefaults):
    """Implements targets.target.Program."""

    name = "zookeeper"
    summary = "ZooKeeper, a tree of values by Zab (the program, from Debian's libzookeeper-java)"
    interfaces = frozenset(COMMANDS)
    option_type: type[msgspec.Struct] = ZooKeeperOptions
    fault_model = FaultModel(survives=frozenset({"partition", "kill", "pause", "restart-all", "slow", "loss", "rate"}))
    ports: Sequence[str] = ("client", "quorum", "election")
    installed: Sequence[str] = ("java", "-cp", JARS, "org.apache.zookeeper.version.VersionInfoMain")
    install = "apt-get install libzookeeper-java default-jre-headless"
    packages: Sequence[str] = ("default-jre-headless", "libzookeeper-java")
    version = r"ZooKeeper, version (\d+)\.(\d+)"
    version_min: Sequence[int] = (3, 8)
    library: Sequence[str] = ("kazoo", "themis-consistency[zookeeper]")
    asks_libc_for_time = True
    commands: Mapping[str, frozenset[str]] = COMMANDS
    after_up_timeout_s = 30.0
    lost_by_wipe: Sequence[str] = ("version-2",)
    log_alarms: Sequence[str] = (
        r"^# A fatal error has been detected by the Java Runtime Environment",
        r"java\.lang\.OutOfMemoryError",
        r"Unable to load database on disk",
    )
    """How Java and ZooKeeper write that they crashed, and that their files are damaged. Not "Digests are not matching", by which
    3.8.0 sometimes says after kills that replicas differ: docs/systems.md."""

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Sequential where values are read plainly; otherwise linearizable, as ZooKeeper's users expect."""
        is_plain = _typed(options).reads == "plain" and interface == "kv"
        return "sequential" if is_plain else "linearizable"

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """All nodes are alike. Raises ValueError for a time-out of sessions that no server grants."""
        chosen = _typed(options)
        low, high = (ticks * chosen.tick_ms for ticks in SESSION_TICKS)
        if not low <= chosen.session_timeout_ms <= high:
            raise ValueError(
                f"session_timeout_ms is {chosen.session_timeout_ms}, and servers whose tick_ms is {chosen.tick_ms} grant {low} "
                f"to {high}"
            )
        return PLAIN

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        """A shell that numbers the server and becomes it."""
        chosen = _typed(options)
        sync_ms = chosen.sync_ticks * chosen.tick_ms
        java = [
            *JVM,
            f"-Dzookeeper.snapCount={chosen.snapshot_count}",
            # Elections: connections are given up, and votes told again, in the time in which a silent server is given up.
            f"-Dzookeeper.cnxTimeout={sync_ms}",
            f"-Dzookeeper.electionPortBindRetry={BIND_TRIES}",
            f"-Dzookeeper.fastleader.maxNotificationInterval={sync_ms}",
        ]
        main = ("-cp", JARS, "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{place.config_dir}/zoo.cfg")
        return ("bash", "-c", START, "zookeeper-node", place.data_dir, str(_number(place, place.node)), *java, *main)

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """The configuration, with the list of all servers.

        A server binds the address by which that list names it, and tells it to the others, who dial it there. Where it listens on
        another address than the one that they dial, it is told to bind all addresses: then the others keep to their own list.
        """
        chosen = _typed(options)
        client = place.listen["client"]
        lines = [
            f"tickTime={chosen.tick_ms}",
            f"initLimit={chosen.init_ticks}",
            f"syncLimit={chosen.sync_ticks}",
            f"dataDir={place.data_dir}",
            f"clientPort={client.port}",
            f"clientPortAddress={client.host}",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=srvr",
        ]
        for node, ports in sorted(place.nodes.items()):
            host = ports["quorum"].host
            if node == place.node and place.listen["quorum"] != ports["quorum"]:
                host, ports = ALL_ADDRESSES, place.listen
            lines.append(f"server.{_number(place, node)}={host}:{ports['quorum'].port}:{ports['election'].port}")
        return {"zoo.cfg": "\n".join(lines) + "\n"}

    async def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> None:
        """Every server answers before there is a leader: wait until each has a session and knows where the data goes."""
        from kazoo.exceptions import KazooException, NodeExistsError

        from targets.zookeeper.session import Session

        for _, place in sorted(places.items()):
            session = Session(place.listen["client"], _typed(options).session_timeout_ms / 1000)
            pending = ["/", *(f"/{interface}" for interface in sorted(COMMANDS))]
            try:
                while pending:
                    await session.connected(1.0)
                    try:
                        await session.ask(*(("sync", "/") if pending[0] == "/" else ("create", pending[0])))
                    except NodeExistsError:
                        pass
                    except KazooException:
                        continue
                    pending.pop(0)
            finally:
                await session.end()

    async def status(self, node: Ports) -> Mapping[str, Any]:
        """What the server answers to `srvr`, which needs no quorum: its role and its last transaction, and so its epoch. A server
        that looks for a leader says only that."""
        at = node["client"]
        reader, writer = await asyncio.open_connection(at.host, at.port)
        try:
            writer.write(b"srvr")
            said = (await reader.read()).decode(errors="replace")
        finally:
            writer.close()
        return parse_status(said)

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The leader of the highest epoch."""
        return latest_leader(statuses)

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        """A client by kazoo."""
        from targets.zookeeper.client import ZooKeeperClient

        chosen = _typed(options)

        def connect(nodes: Mapping[NodeId, Ports]) -> ZooKeeperClient:
            return ZooKeeperClient(
                nodes,
                interface=interface,
                is_synced=chosen.reads == "sync",
                session_timeout_s=chosen.session_timeout_ms / 1000,
            )

        return connect


def parse_status(said: str) -> dict[str, Any]:
    """The answer to `srvr`: role ("leader", "follower", "standalone", "looking"), zxid, and term, its upper half. Raises ValueError
    for any other text."""
    if "not currently serving requests" in said:
        return {"role": "looking", "zxid": 0, "term": 0}
    mode, zxid = re.search(r"^Mode: (\w+)", said, re.MULTILINE), re.search(r"^Zxid: (0x[0-9a-f]+)", said, re.MULTILINE)
    if mode is None or zxid is None:
        raise ValueError(f"no status: {said[:200]!r}")
    last = int(zxid[1], 16)
    return {"role": mode[1], "zxid": last, "term": last >> 32}


def _number(place: Place, node: str) -> int:
    """The server's id, from 1."""
    return sorted(place.nodes).index(node) + 1


TARGET = ZooKeeper()
