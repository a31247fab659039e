"""PostgreSQL as a target: one server, or a primary and a standby by streaming replication, as Debian packages it.

What it promises: transactions at read committed, repeatable read (which is snapshot isolation) and serializable
(https://www.postgresql.org/docs/15/transaction-iso.html); that a commit is durable unless synchronous_commit says otherwise
(https://www.postgresql.org/docs/15/wal-async-commit.html); and that a commit which waits for a synchronous standby survives the
loss of the primary (https://www.postgresql.org/docs/15/warm-standby.html#SYNCHRONOUS-REPLICATION). It does not promise to notice
that a primary failed: targets/postgres/node.py says what is done here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any, Literal

import msgspec

from targets.core import NodeId
from targets.postgres.node import FIND, RUN, START
from targets.target import Connect, FaultModel, Place, Ports, ProgramDefaults, latest_leader
from targets.topology import PLAIN, Topology

COMMANDS = {
    "kv": frozenset({"read", "write", "cas", "append", "txn"}),
    "bank": frozenset({"open", "transfer", "read"}),
}
"""The ops of each interface."""

MODELS = {"read-committed": "read-committed", "repeatable-read": "snapshot-isolation", "serializable": "serializable"}
"""Level -> what PostgreSQL documents that it is."""

STATUS = """
SELECT pg_is_in_recovery(), trim(E'\\n' from pg_read_file('era'))::int,
       (extract(epoch from clock_timestamp()) * 1000000)::bigint,
       (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')
"""


class PostgresOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """isolation: of all transactions (PostgreSQL's own default is read-committed). synchronous_commit: as PostgreSQL's setting; off
    acknowledges commits that a crash may lose. replication: whether the primary waits for its standby (2 nodes). failover: promote
    lets the standby become the primary when it has seen none for failover_s; none: nobody does. reads: of the primary, or of the
    home node, which may be a standby.
    """

    isolation: Literal["read-committed", "repeatable-read", "serializable"] = "serializable"
    synchronous_commit: Literal["on", "off", "local", "remote_write", "remote_apply"] = "on"
    replication: Literal["sync", "async"] = "sync"
    failover: Literal["none", "promote"] = "none"
    failover_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 3
    reads: Literal["primary", "home"] = "primary"


def _typed(options: msgspec.Struct) -> PostgresOptions:
    assert isinstance(options, PostgresOptions)
    return options


class Postgres(ProgramDefaults):
    """Implements targets.target.Program."""

    name = "postgres"
    summary = "PostgreSQL, alone or with a standby (the program, from Debian's postgresql)"
    interfaces = frozenset(COMMANDS)
    option_type: type[msgspec.Struct] = PostgresOptions
    fault_model = FaultModel(survives=frozenset({"partition", "kill", "pause", "restart-all", "slow", "loss", "rate"}))
    installed: Sequence[str] = ("bash", "-c", f'{FIND}; "$postgres" --version')
    install = "apt-get install postgresql"
    packages: Sequence[str] = ("postgresql",)
    version = r"\(PostgreSQL\) (\d+)\.(\d+)"
    version_min: Sequence[int] = (15, 0)
    library: Sequence[str] = ("psycopg", "themis-consistency[postgres]")
    container_capabilities: Sequence[str] = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
    """To become the user postgres, and to stop and wipe what belongs to that user."""
    asks_libc_for_time = True
    up_timeout_s = 60.0
    """Both nodes write some 40 MB and sync a thousand files, one after the other."""
    commands: Mapping[str, frozenset[str]] = COMMANDS
    log_alarms: Sequence[str] = (
        r"PANIC:(?!.*No space left on device)",
        r"was terminated by signal (?!9:)\d+",
        r"invalid page in block",
        r"page verification failed",
        r"could not read block",
    )
    """How a server writes that it cannot go on, that one of its processes crashed, and that its files are damaged. It panics by
    design when the disk of its log is full, and a process that was killed from outside has not crashed."""

    @cached_property
    def password(self) -> str:
        """Of this process's clusters: a server on loopback is open to all users of the machine."""
        return secrets.token_hex(16)

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """Single operations are linearizable, which applications hope of any database; transactions are what their level says."""
        return "linearizable" if interface == "kv" else MODELS[_typed(options).isolation]

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """It survives the loss of power too, unless commits are acknowledged before they are on the disk."""
        if _typed(options).synchronous_commit == "off":
            return self.fault_model
        return FaultModel(survives=self.fault_model.survives | {"disk/lose-unsynced"})

    def transaction_model(self, options: msgspec.Struct) -> str:
        """What the level says."""
        return MODELS[_typed(options).isolation]

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """All nodes are alike. Raises ValueError for more than two, and for a fail-over to nobody."""
        if len(nodes) > 2:
            raise ValueError(
                f"there are {len(nodes)} nodes; PostgreSQL is one server (--nodes 1) or a primary and a standby (2)"
            )
        if len(nodes) == 1 and _typed(options).failover != "none":
            raise ValueError("failover is promote, and one node has no standby: --nodes 2")
        return PLAIN

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        """A shell that becomes the server, or watches over it."""
        chosen = _typed(options)
        peer = next(iter(place.peers.values()), {}).get("client")
        begins = place.node == min(place.nodes) and not (peer and place.is_rejoining)
        failover_s = chosen.failover_s if chosen.failover == "promote" else 0
        settings = [f"--{name}={value}" for name, value in self._settings(place, chosen).items()]
        return (
            *("bash", "-c", START, "postgres-node", place.data_dir, RUN),
            *(place.node, "yes" if begins else "no"),
            *((peer.host, str(peer.port)) if peer else ("", "")),
            *(str(failover_s), *settings),
        )

    def _settings(self, place: Place, chosen: PostgresOptions) -> dict[str, Any]:
        """The server's, beyond its defaults. The same ones serve a primary and a standby."""
        listen = place.listen["client"]
        settings: dict[str, Any] = {
            "listen_addresses": listen.host,
            "port": listen.port,
            "unix_socket_directories": "",
            "cluster_name": place.node,
            "dynamic_shared_memory_type": "mmap",  # In data_dir; POSIX's would outlive a server that is killed.
            "shared_buffers": "32MB",
            "max_connections": 200,
            "synchronous_commit": chosen.synchronous_commit,
            "deadlock_timeout": "200ms",
            "jit": "off",
            "log_line_prefix": "%m [%p] ",
        }
        for peer, ports in place.peers.items():
            at = ports["client"]
            settings |= {
                "primary_conninfo": f"host={at.host} port={at.port} user=themis application_name={place.node} sslmode=disable "
                "gssencmode=disable connect_timeout=2",
                "synchronous_standby_names": peer if chosen.replication == "sync" else "",
                "wal_keep_size": "256MB",
                "wal_sender_timeout": "5s",
                "wal_receiver_timeout": "5s",
                "wal_retrieve_retry_interval": "200ms",
            }
        return settings

    def environment(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """The password, which is in no command line."""
        return {"PGPASSWORD": self.password}

    async def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> None:
        """Wait until the standby follows, and create the tables."""
        from targets.postgres.client import TABLES, connect

        first = places[min(places)].listen
        followers = len(places) - 1
        following = -1
        while following != followers:
            await asyncio.sleep(0.05)
            following = (await self.status(first))["standbys"]
        connection = await connect(first, self.password, "read-committed", "primary")
        async with connection:
            await connection.execute(TABLES)

    async def status(self, node: Ports) -> Mapping[str, Any]:
        """Its role, how many fail-overs its data has seen, and its clock. Raises ConnectionError."""
        import psycopg

        from targets.postgres.client import connect

        try:
            async with await connect(node, self.password, "read-committed", "any") as connection:
                row = await (await connection.execute(STATUS)).fetchone()
        except psycopg.Error as error:
            raise ConnectionError(" ".join(str(error).split())) from error
        assert row is not None
        is_standby, era, clock_us, standbys = row
        return {
            "role": "standby" if is_standby else "primary",
            "term": era,
            "standbys": standbys,
            "clock_ns": clock_us * 1000,
        }

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The primary of the latest era."""
        return latest_leader(statuses, role="primary")

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        """A client by psycopg."""
        from targets.postgres.client import PostgresClient

        chosen = _typed(options)
        return partial(
            PostgresClient,
            interface=interface,
            isolation=chosen.isolation,
            reads=chosen.reads,
            password=self.password,
        )


TARGET = Postgres()
