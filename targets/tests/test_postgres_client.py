"""How PostgreSQL's answers and errors become outcomes, against a connection that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors

from targets.postgres.client import PostgresClient, Unreachable
from targets.postgres.target import TARGET, PostgresOptions
from targets.session import Call, Outcome
from targets.target import Address, Place


class Server:
    """Stands for a Connection. answers: by the first word of a statement, one after the other; an exception is raised. done: the
    first words of all that was asked."""

    def __init__(self, answers: Mapping[str, Sequence[Any]], warnings: Sequence[str] = ()) -> None:
        self.is_committing = False
        self.warnings: list[str] = []
        self.is_usable = True
        self.is_home = True
        self.since_s = 0.0
        self.done: list[str] = []
        self.is_broken_off = False
        self._answers = {word: list(given) for word, given in answers.items()}
        self._warnings = warnings

    async def _answer(self, query: str) -> Any:
        word = query.split()[0]
        self.done.append(word)
        given = self._answers.get(word, [])
        answer = given.pop(0) if given else 1
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def rows(self, query: str, *values: Any) -> Any:
        return await self._answer(query)

    async def change(self, query: str, *values: Any) -> Any:
        return await self._answer(query)

    async def commit_alone(self, query: str, *values: Any) -> Any:
        self.is_committing = True
        self.warnings += self._warnings
        return await self._answer(query)

    async def begin(self) -> None:
        self.is_usable = False
        await self._answer("BEGIN")

    async def commit(self) -> None:
        self.is_committing = True
        await self._answer("COMMIT")
        self.is_usable = True

    async def roll_back(self) -> None:
        await self._answer("ROLLBACK")
        self.is_usable = True

    async def close(self) -> None:
        self.done.append("closed")

    def break_off(self) -> None:
        self.is_broken_off = True


class Client(PostgresClient):
    """Its connection is given."""

    def __init__(self, interface: str, server: Server | None) -> None:
        super().__init__({}, interface=interface, isolation="serializable", reads="primary", password="")
        self.server = server

    async def _connection(self, home: str, *, any_will_do: bool) -> Any:
        if self.server is None:
            raise Unreachable("n1: connection refused")
        return self.server


def outcome(interface: str, call: Call, server: Server | None) -> Outcome:
    return asyncio.run(Client(interface, server).call(call, "n1"))


class Told(psycopg.errors.Diagnostic):
    """What a server tells of an error."""

    def __init__(self, severity: str) -> None:
        self._severity = severity

    @property
    def severity_nonlocalized(self) -> str:
        return self._severity


def told(kind: type[psycopg.Error], severity: str, monkeypatch: pytest.MonkeyPatch) -> psycopg.Error:
    monkeypatch.setattr(psycopg.Error, "diag", Told(severity))
    return kind("said so")


WRITE, READ = Call("write", 1, 2), Call("read", 1)
TXN = Call("txn", None, [["r", 1, None], ["append", 2, 7], ["w", 3, 8]])
PAY = Call("transfer", None, {"from": 0, "to": 1, "amount": 3})


@pytest.mark.parametrize(
    ("interface", "call", "answers", "expected"),
    [
        ("kv", READ, {"SELECT": [[(5,)]]}, Outcome("ok", 5)),
        ("kv", READ, {"SELECT": [[]]}, Outcome("ok", None)),
        ("kv", WRITE, {}, Outcome("ok", 2)),
        ("kv", Call("cas", 1, [1, 2]), {"UPDATE": [1]}, Outcome("ok", [1, 2])),
        ("kv", Call("cas", 1, [1, 2]), {"UPDATE": [0]}, Outcome("fail", [1, 2], "cas-mismatch", is_refused=True)),
        ("kv", Call("cas", 1, [None, 2]), {"INSERT": [0]}, Outcome("fail", [None, 2], "cas-mismatch", is_refused=True)),
        ("kv", Call("append", 1, 2), {"INSERT": [0]}, Outcome("fail", 2, "not-a-list", is_refused=True)),
        ("kv", TXN, {"SELECT": [[([4],)]]}, Outcome("ok", [["r", 1, [4]], ["append", 2, 7], ["w", 3, 8]])),
        ("kv", TXN, {"SELECT": [[]], "INSERT": [0]}, Outcome("fail", TXN.value, "not-a-list", is_refused=True)),
        ("bank", Call("read"), {"SELECT": [[("0", 5), ("1", 7)]]}, Outcome("ok", {"0": 5, "1": 7})),
        ("bank", PAY, {"SELECT": [[(5,)], [(7,)]]}, Outcome("ok", PAY.value)),
        ("bank", PAY, {"SELECT": [[(2,)], [(7,)]]}, Outcome("fail", PAY.value, "insufficient-funds", is_refused=True)),
        ("bank", PAY, {"SELECT": [[(2,)], []]}, Outcome("fail", PAY.value, "no-account", is_refused=True)),
    ],
)
def test_an_answer_becomes_an_outcome(
    interface: str, call: Call, answers: Mapping[str, Sequence[Any]], expected: Outcome
) -> None:
    server = Server(answers)
    assert outcome(interface, call, server) == expected
    assert server.is_usable, "the next op may have the connection"
    if expected.is_refused and "BEGIN" in server.done:
        assert server.done[-1] == "ROLLBACK"


def test_no_connection_means_that_nothing_was_sent() -> None:
    assert outcome("kv", WRITE, None) == Outcome("fail", 2, ["not-sent", "n1: connection refused"])


def test_after_a_connection_was_refused_nobody_tries_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    async def refusing(*_: Any) -> Any:
        tried.append(1)
        raise psycopg.OperationalError("the database system is starting up")

    monkeypatch.setattr("targets.postgres.client.connect", refusing)
    monkeypatch.setattr("targets.postgres.client.RETRY_S", 3600)

    async def ask() -> list[Outcome]:
        nodes = {"n1": {"client": Address("127.0.0.1", 1)}}
        client = PostgresClient(nodes, interface="kv", isolation="serializable", reads="primary", password="")
        return [await client.call(WRITE, "n1") for _ in range(3)]

    assert {outcome.type for outcome in asyncio.run(ask())} == {"fail"}
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("call", "word", "kind", "severity", "expected"),
    [
        (WRITE, "INSERT", errors.SerializationFailure, "ERROR", "fail"),
        (TXN, "INSERT", errors.DeadlockDetected, "ERROR", "fail"),
        (TXN, "COMMIT", errors.SerializationFailure, "ERROR", "fail"),
        (WRITE, "INSERT", errors.AdminShutdown, "FATAL", "info"),
        (TXN, "COMMIT", errors.AdminShutdown, "FATAL", "info"),
        (WRITE, "INSERT", psycopg.OperationalError, "", "info"),
        (TXN, "COMMIT", psycopg.OperationalError, "", "info"),
        (TXN, "INSERT", psycopg.OperationalError, "", "fail"),
        (TXN, "INSERT", errors.AdminShutdown, "FATAL", "fail"),
        (READ, "SELECT", psycopg.OperationalError, "", "fail"),
    ],
)
def test_an_error_is_certain_unless_the_connection_ends_in_the_commit(
    call: Call, word: str, kind: type[psycopg.Error], severity: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server({"SELECT": [[]]} | {word: [told(kind, severity, monkeypatch)]})
    assert outcome("kv", call, server).type == expected


def test_a_commit_that_the_standby_may_not_have_is_not_acknowledged() -> None:
    """PostgreSQL answers with success and this warning where the wait for the standby was cancelled."""
    server = Server({}, ["canceling wait for synchronous replication due to user request"])
    assert outcome("kv", WRITE, server).type == "info"


def test_a_call_that_is_given_up_breaks_its_connection_off_and_cancels_nothing() -> None:
    async def give_up() -> Server:
        released = asyncio.Event()
        server = Server({"INSERT": [released]})
        client = Client("kv", server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.call(WRITE, "n1")
        assert server.is_broken_off
        released.set()
        await client.close()
        return server

    assert asyncio.run(give_up()).done == ["INSERT"]


def place(node: str, count: int, **more: Any) -> Place:
    nodes = {f"n{n}": {"client": Address("127.1.1.1", 10 * n)} for n in range(1, count + 1)}
    return Place(node, nodes[node], nodes, "/c", "/d", "/l", "python3", "1", **more)


def told_to(node: str, count: int, options: PostgresOptions | None = None, **more: Any) -> tuple[list[str], set[str]]:
    """What the script is told before the server's settings, and these."""
    argv = TARGET.argv(place(node, count, **more), options or PostgresOptions(), frozenset())
    assert "/d" in argv
    return list(argv[6:11]), set(argv[11:])


def test_the_first_node_makes_the_database_and_the_other_copies_it() -> None:
    assert told_to("n1", 1)[0] == ["n1", "yes", "", "", "0"]
    assert told_to("n1", 2)[0] == ["n1", "yes", "127.1.1.1", "20", "0"]
    assert told_to("n2", 2)[0] == ["n2", "no", "127.1.1.1", "10", "0"]
    assert told_to("n1", 2, is_rejoining=True)[0][1] == "no", "the other one has the data"
    assert told_to("n1", 1, is_rejoining=True)[0][1] == "yes"


def test_each_of_two_waits_for_the_other_unless_replication_is_asynchronous() -> None:
    assert "--synchronous_standby_names=n2" in told_to("n1", 2)[1]
    assert "--synchronous_standby_names=n1" in told_to("n2", 2)[1]
    assert "--synchronous_standby_names=" in told_to("n1", 2, PostgresOptions(replication="async"))[1]


def test_the_password_is_in_no_command_line() -> None:
    argv = TARGET.argv(place("n1", 2), PostgresOptions(), frozenset())
    assert len(TARGET.password) == 32
    assert not any(TARGET.password in word for word in argv)
    assert TARGET.environment(place("n1", 2), PostgresOptions(), frozenset()) == {"PGPASSWORD": TARGET.password}


@pytest.mark.parametrize(
    ("options", "nodes", "said"),
    [
        ({}, ("n1", "n2", "n3"), "there are 3 nodes"),
        ({"failover": "promote"}, ("n1",), "one node has no standby"),
    ],
)
def test_a_cluster_that_does_not_fit_is_refused(options: Mapping[str, Any], nodes: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TARGET.topology(nodes, msgspec.convert(options, PostgresOptions))


def test_the_primary_of_the_latest_era_leads() -> None:
    statuses = {"n1": {"role": "primary", "term": 1}, "n2": {"role": "primary", "term": 2}}
    assert TARGET.primary(statuses) == "n2"
    assert TARGET.primary({"n1": {"role": "standby", "term": 1}}) is None


def test_transactions_are_what_their_level_says_and_single_operations_are_linearizable() -> None:
    options = PostgresOptions(isolation="repeatable-read")
    assert TARGET.claimed_model("kv", options) == "linearizable"
    assert TARGET.claimed_model("bank", options) == TARGET.transaction_model(options) == "snapshot-isolation"
