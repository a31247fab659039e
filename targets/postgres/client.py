"""Calls to PostgreSQL by psycopg 3, as an application makes them: to the one server, or to the primary among the nodes.

A client whose home is n2 stands for an application beside n2: it connects to n2 if that is the primary and otherwise to whichever
node is, as libpq does for a list of hosts with target_session_attrs=primary. Nothing is tried again: an application that repeats a
transaction must know whether it took place.

How a call ends: an ERROR of the server has rolled the transaction back (serialization failures, 40001, and deadlocks, 40P01, among
them), so it is `fail`. Everything that ends a connection, FATAL errors too, is `info` once the commit was sent, and `fail` before.

Source: https://www.postgresql.org/docs/15/libpq-connect.html and https://www.postgresql.org/docs/15/mvcc-serialization-failure-handling.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from targets.session import Call, Outcome
from targets.target import Ports

USER = "themis"
CONNECT_S_MAX = 1.0
"""To connect to one node, which a paused one never answers."""
BORROWED_S_MAX = 1.0
"""A connection to another node than the home is given up when it is so old: perhaps the home has been promoted since."""

RETRY_S = 0.1
"""So long nobody tries to connect again where it was in vain: a server forks a process for each connection that it refuses while
it recovers, and recovers the later for it."""

Reads = Literal["primary", "home"]

ISOLATION = {"read-committed": "read committed", "repeatable-read": "repeatable read", "serializable": "serializable"}
"""Option -> PostgreSQL's own name of the level."""

STANDBY_ISOLATION = {name: name for name in ISOLATION} | {"serializable": "repeatable-read"}
"""What comes next to it on a standby, which has no serializable transactions
(https://www.postgresql.org/docs/15/hot-standby.html#HOT-STANDBY-CAVEATS)."""

TABLES = """
CREATE TABLE IF NOT EXISTS kv (key text PRIMARY KEY, value jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (name text PRIMARY KEY, balance bigint NOT NULL)
"""

GET = "SELECT value FROM kv WHERE key = %s"
PUT = "INSERT INTO kv VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
PUT_NEW = "INSERT INTO kv VALUES (%s, %s) ON CONFLICT (key) DO NOTHING"
SWAP = "UPDATE kv SET value = %s WHERE key = %s AND value = %s"
APPEND = (
    "INSERT INTO kv VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = kv.value || excluded.value "
    "WHERE jsonb_typeof(kv.value) = 'array'"
)
OPEN = "INSERT INTO accounts VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
BALANCES = "SELECT name, balance FROM accounts"
BALANCE = "SELECT balance FROM accounts WHERE name = %s"
SET_BALANCE = "UPDATE accounts SET balance = %s WHERE name = %s"


class Refused(Exception):
    """The state of the data forbids the op; its transaction is rolled back."""


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class Connection:
    """One connection, as the client uses it. since_s: when it was made, by the loop's clock. is_home: to the process's home node.
    is_committing: what was sent last may have committed something. warnings: of the server, since the last call began."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], *, since_s: float, is_home: bool) -> None:
        self.since_s = since_s
        self.is_home = is_home
        self.is_committing = False
        self.warnings: list[str] = []
        self._connection = connection
        connection.add_notice_handler(self._notice)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warnings.append(str(notice.message_primary))

    @property
    def is_usable(self) -> bool:
        """It is open, and idle."""
        connection = self._connection
        return not connection.closed and connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE

    async def rows(self, query: str, *values: Any) -> list[Any]:
        """What the query finds."""
        cursor = await self._connection.execute(query, values)
        return await cursor.fetchall()

    async def change(self, query: str, *values: Any) -> int:
        """How many rows the statement, which is no query, has changed."""
        return (await self._connection.execute(query, values)).rowcount

    async def commit_alone(self, query: str, *values: Any) -> int:
        """The same, as a transaction of its own."""
        self.is_committing = True
        return await self.change(query, *values)

    async def begin(self) -> None:
        """A transaction begins."""
        await self._connection.execute("BEGIN")

    async def commit(self) -> None:
        """It ends; what it has done is there to stay."""
        self.is_committing = True
        await self._connection.execute("COMMIT")

    async def roll_back(self) -> None:
        """It ends; what it has done is gone."""
        await self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """It is closed."""
        await self._connection.close()

    def break_off(self) -> None:
        """The network to the server is gone, at once: whoever waits for an answer hears so, and the server is asked for nothing.

        psycopg would ask it to cancel the statement. A commit that waits for its standby and is cancelled is there all the same on
        the primary alone (https://www.postgresql.org/docs/15/warm-standby.html#SYNCHRONOUS-REPLICATION-HA).
        """
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as twin,
        ):
            twin.shutdown(socket.SHUT_RDWR)


class PostgresClient:
    """Implements ProgramClient, for the interfaces kv and bank. Belongs to one event loop.

    isolation: of every transaction, as in ISOLATION. reads: "home" lets the home node answer reads, a standby too. password: of
    the role USER.
    """

    def __init__(
        self, nodes: Mapping[str, Ports], *, interface: str, isolation: str, reads: Reads, password: str
    ) -> None:
        self._nodes = nodes
        self._interface = interface
        self._isolation = isolation
        self._reads = reads
        self._password = password
        self._free: dict[tuple[str, bool], list[Connection]] = {}
        """By home node, and whether a standby will do: connections that nobody uses."""
        self._refused: dict[tuple[str, bool], tuple[float, Unreachable]] = {}
        """By the same: when to try again to connect, and why it was in vain."""
        self._tasks: set[asyncio.Task[Outcome]] = set()

    async def call(self, call: Call, node: str) -> Outcome:
        """Put the call to the primary, or to the home node; see ProgramClient."""
        any_will_do = self._reads == "home" and is_read(call)
        try:
            connection = await self._connection(node, any_will_do=any_will_do)
        except Unreachable as error:
            return Outcome("fail", call.value, ["not-sent", str(error)])
        # A task of its own: this one may be cancelled, and psycopg must not hear of it. See break_off.
        task = asyncio.create_task(self._called(call, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            connection.break_off()
            raise
        if connection.is_usable:
            self._free.setdefault((node, any_will_do), []).append(connection)
        else:
            await connection.close()
        return outcome

    async def close(self) -> None:
        """No connection is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in (each for free in self._free.values() for each in free):
            await connection.close()
        self._free.clear()

    async def _connection(self, home: str, *, any_will_do: bool) -> Connection:
        """One that nobody uses. Raises Unreachable."""
        now_s = asyncio.get_running_loop().time()
        free = self._free.setdefault((home, any_will_do), [])
        while free:
            found = free.pop()
            if found.is_usable and (found.is_home or now_s - found.since_s < BORROWED_S_MAX):
                return found
            await found.close()
        again_s, refused = self._refused.get((home, any_will_do), (now_s, None))
        if refused is not None and now_s < again_s:
            raise refused
        errors = []
        for node in (home, *sorted(self._nodes.keys() - {home})):
            if any_will_do and node != home:
                break
            try:
                if any_will_do:
                    opened = await connect(self._nodes[node], self._password, STANDBY_ISOLATION[self._isolation], "any")
                else:
                    opened = await connect(self._nodes[node], self._password, self._isolation, "primary")
            except (psycopg.Error, TimeoutError) as error:
                errors.append(f"{node}: {_words(error) or 'no answer'}")
                continue
            return Connection(opened, since_s=now_s, is_home=node == home)
        refused = Unreachable("; ".join(errors))
        self._refused[home, any_will_do] = asyncio.get_running_loop().time() + RETRY_S, refused
        raise refused

    async def _called(self, call: Call, connection: Connection) -> Outcome:
        connection.is_committing = False
        connection.warnings.clear()
        try:
            outcome = await self._done(call, connection)
        except Refused as refused:
            if not connection.is_usable:
                with contextlib.suppress(psycopg.Error):  # Rolled back it is, whether the server says so or not.
                    await connection.roll_back()
            return Outcome("fail", call.value, str(refused), is_refused=True)
        except psycopg.Error as error:
            is_certain = error.diag.severity_nonlocalized == "ERROR" or not connection.is_committing
            if is_certain:
                with contextlib.suppress(psycopg.Error):
                    await connection.roll_back()
            return Outcome(
                "fail" if is_certain else "info", call.value, [error.sqlstate or "connection", _words(error)]
            )
        if connection.warnings and connection.is_committing:
            return Outcome("info", call.value, ["warning", *connection.warnings])
        return outcome

    async def _done(self, call: Call, connection: Connection) -> Outcome:
        key, value = str(call.key), call.value
        match self._interface, call.f:
            case "kv", "read":
                rows = await connection.rows(GET, key)
                return Outcome("ok", rows[0][0] if rows else None)
            case "kv", "write":
                await connection.commit_alone(PUT, key, Jsonb(value))
            case "kv", "append":
                if not await connection.commit_alone(APPEND, key, Jsonb([value])):
                    raise Refused("not-a-list")
            case "kv", "cas":
                old, new = value
                if old is None:
                    is_done = await connection.commit_alone(PUT_NEW, key, Jsonb(new))
                else:
                    is_done = await connection.commit_alone(SWAP, Jsonb(new), key, Jsonb(old))
                if not is_done:
                    raise Refused("cas-mismatch")
            case "kv", "txn":
                return Outcome("ok", await _transaction(value, connection))
            case "bank", "open":
                await connection.begin()
                for account, balance in sorted(value.items()):
                    await connection.change(OPEN, account, balance)
                await connection.commit()
            case "bank", "transfer":
                await _transfer(str(value["from"]), str(value["to"]), value["amount"], connection)
            case "bank", "read":
                return Outcome("ok", dict(await connection.rows(BALANCES)))
            case _:
                raise ValueError(f"the interface {self._interface} of postgres has no {call.f}")
        return Outcome("ok", value)


def is_read(call: Call) -> bool:
    """It changes nothing."""
    return call.f == "read" or (call.f == "txn" and all(f == "r" for f, _, _ in call.value))


async def connect(
    ports: Ports, password: str, isolation: str, wanted: Literal["any", "primary"]
) -> psycopg.AsyncConnection[Any]:
    """A connection whose transactions have this isolation. Raises psycopg.Error, and TimeoutError where no answer comes."""
    at = ports["client"]
    async with asyncio.timeout(CONNECT_S_MAX):
        return await psycopg.AsyncConnection.connect(
            host=at.host,
            port=at.port,
            user=USER,
            password=password,
            dbname="postgres",
            sslmode="disable",
            gssencmode="disable",
            target_session_attrs=wanted,
            # Sequential scans of small tables would lock them whole, and fail more transactions than need be
            # (https://www.postgresql.org/docs/15/transaction-iso.html#XACT-SERIALIZABLE).
            options=f"-c default_transaction_isolation={ISOLATION[isolation].replace(' ', chr(92) + ' ')} -c enable_seqscan=off",
            autocommit=True,
        )


async def _transaction(steps: Sequence[Sequence[Any]], connection: Connection) -> list[list[Any]]:
    """The steps with what each read saw, committed. Raises Refused."""
    result = []
    await connection.begin()
    for f, key, value in steps:
        if f == "r":
            rows = await connection.rows(GET, str(key))
            result.append([f, key, rows[0][0] if rows else None])
            continue
        if f == "w":
            await connection.change(PUT, str(key), Jsonb(value))
        elif not await connection.change(APPEND, str(key), Jsonb([value])):
            raise Refused("not-a-list")
        result.append([f, key, value])
    await connection.commit()
    return result


async def _transfer(source: str, target: str, amount: int, connection: Connection) -> None:
    """The application reads both balances, decides, and writes both: as Jepsen's bank does. Raises Refused."""
    await connection.begin()
    balances = [await connection.rows(BALANCE, account) for account in (source, target)]
    if not all(balances):
        raise Refused("no-account")
    (held,), (other,) = balances[0][0], balances[1][0]
    if held < amount:
        raise Refused("insufficient-funds")
    await connection.change(SET_BALANCE, held - amount, source)
    await connection.change(SET_BALANCE, other + amount, target)
    await connection.commit()


def _words(error: BaseException) -> str:
    """An error's text in one line."""
    return " ".join(str(error).split())
