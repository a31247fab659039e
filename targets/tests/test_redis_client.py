"""How Redis's answers and errors become outcomes, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from targets.redis.client import RedisClient
from targets.redis.target import TARGET, RedisOptions
from targets.session import Call, Outcome
from targets.target import Address, Place


class Server:
    """Stands for redis-py's client. answers: by the first word of a command; an exception is raised."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.queued: list[str] = []

    async def execute_command(self, *command: Any) -> Any:
        return self._answer(command[0])

    async def get(self, key: str) -> Any:
        return self._answer("GET")

    async def sismember(self, key: str, member: str) -> Any:
        return self._answer("SISMEMBER")

    async def smembers(self, key: str) -> Any:
        return self._answer("SMEMBERS")

    def _answer(self, word: str) -> Any:
        answer = self.answers[word]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self.answers)


class Pipeline:
    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.queued: list[Any] = []

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    def execute_command(self, *command: Any) -> None:
        self.queued.append(self.answers[command[0]])

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return self.queued


def outcome(interface: str, call: Call, answers: Mapping[str, Any], wait_replicas: int = 0) -> Outcome:
    async def ask() -> Outcome:
        client = RedisClient(
            {"n1": {"client": Address("127.0.0.1", 1)}},
            interface=interface,
            is_watched=False,
            wait_replicas=wait_replicas,
            wait_ms=10,
            lock_ttl_ms=0,
        )
        await client.close()
        server: Any = Server(answers)
        client._servers["n1"] = server
        return await client.call(call, "n1")

    return asyncio.run(ask())


def refused() -> RedisConnectionError:
    error = RedisConnectionError("Error 111 connecting")
    error.__cause__ = ConnectionRefusedError()
    return error


READ, WRITE = Call("read", 1), Call("write", 1, 2)


@pytest.mark.parametrize(
    ("interface", "call", "answers", "expected"),
    [
        ("kv", READ, {"GET": b"5"}, Outcome("ok", 5)),
        ("kv", READ, {"GET": None}, Outcome("ok", None)),
        ("kv", WRITE, {"SET": True}, Outcome("ok", 2)),
        ("kv", WRITE, {"SET": ReadOnlyError("You can't write against a read only replica.")}, None),
        ("kv", WRITE, {"SET": ResponseError("NOREPLICAS Not enough good replicas to write.")}, None),
        ("kv", WRITE, {"SET": ResponseError("UNBLOCKED force unblock")}, "info"),
        ("kv", WRITE, {"SET": refused()}, None),
        ("kv", WRITE, {"SET": MasterNotFoundError("No master found for 'themis'")}, None),
        ("kv", Call("cas", 1, [1, 2]), {"EVAL": 1}, Outcome("ok", [1, 2])),
        ("kv", Call("cas", 1, [1, 2]), {"EVAL": 0}, Outcome("fail", [1, 2], "cas-mismatch", is_refused=True)),
        ("set", Call("contains", 1, 2), {"SISMEMBER": 1}, Outcome("ok", True)),
        ("set", READ, {"SMEMBERS": {b"3", b"1"}}, Outcome("ok", [1, 3])),
        ("counter", READ, {"GET": None}, Outcome("ok", 0)),
        ("counter", Call("add", 1, 4), {"INCRBY": 9}, Outcome("ok", 4)),
        ("queue", Call("dequeue", 1), {"LPOP": None}, Outcome("ok", None)),
        ("queue", Call("dequeue", 1), {"LPOP": b"7"}, Outcome("ok", 7)),
        ("lock", Call("acquire", 1, 3), {"EVAL": 12}, Outcome("ok", 12)),
        ("lock", Call("acquire", 1, 3), {"EVAL": 0}, Outcome("fail", 3, "held", is_refused=True)),
        ("lock", Call("release", 1, 3), {"EVAL": 0}, Outcome("fail", 3, "not-held", is_refused=True)),
    ],
)
def test_an_answer_becomes_an_outcome(interface: str, call: Call, answers: Mapping[str, Any], expected: Any) -> None:
    """None: it certainly did not happen."""
    found = outcome(interface, call, answers)
    if isinstance(expected, Outcome):
        assert found == expected
    else:
        assert found.type == (expected or "fail")


@pytest.mark.parametrize("error", [RedisConnectionError("Connection closed by server."), RedisTimeoutError("read")])
def test_a_connection_that_breaks_leaves_it_open_whether_it_happened(error: Exception) -> None:
    with pytest.raises(ConnectionError):
        outcome("kv", WRITE, {"SET": error})


@pytest.mark.parametrize(("replicas", "expected"), [(2, "ok"), (1, "info")])
def test_a_write_that_too_few_replicas_have_may_be_lost(replicas: int, expected: str) -> None:
    assert outcome("kv", WRITE, {"SET": True, "WAIT": replicas}, wait_replicas=2).type == expected


def test_an_error_of_a_write_before_wait_is_an_error() -> None:
    found = outcome("kv", WRITE, {"SET": ResponseError("NOREPLICAS few"), "WAIT": 0}, wait_replicas=1)
    assert found.type == "fail"


def places(count: int) -> list[Place]:
    nodes = {
        f"n{n}": {"client": Address("127.1.1.1", 10 * n), "sentinel": Address("127.1.1.1", 10 * n + 1)}
        for n in range(1, count + 1)
    }
    return [Place(n, nodes[n], nodes, "/c", "/d", "/l", "python3", "1") for n in nodes]


def test_one_node_is_a_server_by_itself_and_more_have_a_master_replicas_and_sentinels() -> None:
    (alone,) = places(1)
    assert TARGET.files(alone, RedisOptions(), frozenset()).keys() == {"redis.conf"}
    files = [TARGET.files(place, RedisOptions(), frozenset()) for place in places(3)]
    assert ["replicaof" in each["redis.conf"] for each in files] == [False, True, True]
    assert all("sentinel monitor themis 127.1.1.1 10 2\n" in each["sentinel.conf"] for each in files)


@pytest.mark.parametrize("option", ["min_replicas_to_write", "wait_replicas"])
def test_more_replicas_than_there_are_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} is 3, and 3 nodes have 2 replicas"):
        TARGET.topology(["n1", "n2", "n3"], msgspec.convert({option: 3}, RedisOptions))


def test_the_master_of_the_latest_fail_over_is_the_primary() -> None:
    def status(role: str, term: int, replicas: int) -> dict[str, Any]:
        return {"role": role, "term": term, "connected_slaves": replicas}

    statuses = {"n1": status("master", 1, 0), "n2": status("master", 2, 1), "n3": status("slave", 2, 0)}
    assert TARGET.primary(statuses) == "n2"
    assert TARGET.primary({"n3": statuses["n3"]}) is None
