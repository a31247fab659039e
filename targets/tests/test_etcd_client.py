"""How etcd's answers become outcomes, against a gateway that answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from targets.etcd.client import EtcdClient, Reads, text
from targets.etcd.target import TARGET, EtcdOptions
from targets.session import Call, Outcome
from targets.target import Address, Place


class Gateway:
    """answers: path below /v3/ -> status and body. asked: the bodies of the requests, by path."""

    def __init__(self, answers: Mapping[str, tuple[int, Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def serve(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/v3/")
        self.asked.append((path, await request.json()))
        status, body = self.answers[path]
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


def outcome(
    interface: str, call: Call, answers: Mapping[str, tuple[int, Any]], reads: Reads = "linearizable"
) -> tuple[Outcome, list[tuple[str, Any]]]:
    gateway = Gateway(answers)

    async def ask() -> Outcome:
        app = web.Application()
        app.router.add_post("/v3/{path:.*}", gateway.serve)
        async with TestServer(app) as server:
            assert server.port is not None
            client = EtcdClient({"n1": {"client": Address("127.0.0.1", server.port)}}, interface, reads, 2)
            try:
                return await client.call(call, "n1")
            finally:
                await client.close()

    return asyncio.run(ask()), gateway.asked


PAIR = {"kvs": [{"key": "", "value": text(5)}]}
NO_LEADER = (503, {"error": "etcdserver: no leader", "code": 14})
GRANTED = (200, {"ID": "77", "TTL": "2"})


@pytest.mark.parametrize(
    ("interface", "call", "answers", "expected"),
    [
        ("kv", Call("read", 1), {"kv/range": (200, PAIR)}, Outcome("ok", 5)),
        ("kv", Call("read", 1), {"kv/range": (200, {})}, Outcome("ok", None)),
        ("kv", Call("read", 1), {"kv/range": NO_LEADER}, Outcome("fail", None, "etcdserver: no leader")),
        ("kv", Call("write", 1, 2), {"kv/put": (200, {})}, Outcome("ok", 2)),
        ("kv", Call("write", 1, 2), {"kv/put": NO_LEADER}, Outcome("info", 2, "etcdserver: no leader")),
        (
            "kv",
            Call("write", 1, 2),
            {"kv/put": (429, {"error": "etcdserver: too many requests"})},
            Outcome("fail", 2, "etcdserver: too many requests"),
        ),
        ("kv", Call("write", 1, 2), {"kv/put": (500, "<html>")}, Outcome("info", 2, "status 500: b'<html>'")),
        ("kv", Call("cas", 1, [1, 2]), {"kv/txn": (200, {"succeeded": True})}, Outcome("ok", [1, 2])),
        (
            "kv",
            Call("cas", 1, [1, 2]),
            {"kv/txn": (200, {})},
            Outcome("fail", [1, 2], "cas-mismatch", is_refused=True),
        ),
        ("set", Call("contains", 1, 2), {"kv/range": (200, {"count": "1"})}, Outcome("ok", True)),
        ("set", Call("contains", 1, 2), {"kv/range": (200, {})}, Outcome("ok", False)),
        ("set", Call("read", 1), {"kv/range": (200, PAIR)}, Outcome("ok", [5])),
        (
            "lock",
            Call("acquire", 1, 4),
            {"lease/grant": GRANTED, "kv/txn": (200, {"succeeded": True, "header": {"revision": "9"}})},
            Outcome("ok", 9),
        ),
        (
            "lock",
            Call("acquire", 1, 4),
            {"lease/grant": GRANTED, "kv/txn": (200, {"header": {"revision": "9"}})},
            Outcome("fail", 4, "held", is_refused=True),
        ),
        ("lock", Call("release", 1, 4), {"kv/txn": (200, {})}, Outcome("fail", 4, "not-held", is_refused=True)),
    ],
)
def test_an_answer_becomes_an_outcome(
    interface: str, call: Call, answers: Mapping[str, tuple[int, Any]], expected: Outcome
) -> None:
    assert outcome(interface, call, answers)[0] == expected


def test_a_node_that_nobody_listens_for_was_not_asked() -> None:
    async def ask() -> Outcome:
        client = EtcdClient({"n1": {"client": Address("127.0.0.1", 9)}}, "kv", "linearizable", 2)
        try:
            return await client.call(Call("write", 1, 2), "n1")
        finally:
            await client.close()

    assert asyncio.run(ask()).type == "fail"


@pytest.mark.parametrize(("reads", "asked"), [("linearizable", False), ("serializable", True)])
def test_only_serializable_reads_are_asked_of_the_node_alone(reads: Reads, asked: bool) -> None:
    _, bodies = outcome("kv", Call("read", 1), {"kv/range": (200, PAIR)}, reads)
    assert bodies[0][1]["serializable"] is asked


def test_sets_whose_keys_begin_alike_are_told_apart() -> None:
    import base64

    _, bodies = outcome("set", Call("read", 1), {"kv/range": (200, {})})
    body = bodies[0][1]
    first, end = (base64.b64decode(body[name]).decode() for name in ("key", "range_end"))
    assert first <= 'set/1/"x"' < end
    assert not first <= "set/10/2" < end


def test_every_node_is_configured_with_the_same_members() -> None:
    nodes = {f"n{n}": {"client": Address("h", 10 * n), "peer": Address("h", 10 * n + 1)} for n in (1, 2, 3)}
    configs = [
        json.loads(
            TARGET.files(Place(n, nodes[n], nodes, "/c", "/d", "/l", "python3", "1"), EtcdOptions(), frozenset())[
                "etcd.json"
            ]
        )
        for n in nodes
    ]
    assert {config["initial-cluster"] for config in configs} == {"n1=http://h:11,n2=http://h:21,n3=http://h:31"}
    assert [config["name"] for config in configs] == ["n1", "n2", "n3"]


def test_the_leader_of_the_latest_term_is_the_primary() -> None:
    statuses = {
        "n1": {"role": "leader", "term": 2},
        "n2": {"role": "leader", "term": 3},
        "n3": {"role": "follower", "term": 3},
    }
    assert TARGET.primary(statuses) == "n2"
    assert TARGET.primary({"n3": statuses["n3"]}) is None


def test_the_key_space_is_compacted_at_the_revision_of_the_node_that_is_asked() -> None:
    compacted = asyncio.Event()
    gateway = Gateway({"kv/range": (200, {"header": {"revision": "41"}}), "kv/compaction": (200, {})})

    async def serve(request: web.Request) -> web.Response:
        answer = await gateway.serve(request)
        if request.path.endswith("compaction"):
            compacted.set()
        return answer

    async def wait() -> None:
        app = web.Application()
        app.router.add_post("/v3/{path:.*}", serve)
        async with TestServer(app) as server:
            assert server.port is not None
            at = {"n1": {"client": Address("127.0.0.1", server.port)}}
            client = EtcdClient(at, "kv", "linearizable", 2, compact_every_s=0.05)
            await compacted.wait()
            await client.close()

    asyncio.run(wait())
    assert ("kv/compaction", {"revision": "41", "physical": True}) in gateway.asked
