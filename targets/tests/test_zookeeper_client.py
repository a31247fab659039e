"""How ZooKeeper's answers and errors become outcomes, against a session that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)

from targets.session import Call, Outcome
from targets.target import Address, Place
from targets.zookeeper.client import ZooKeeperClient
from targets.zookeeper.target import TARGET, ZooKeeperOptions, parse_status

Script = Sequence[tuple[str, Any]]
"""What is asked, and what is answered; an exception is raised, and `HANG` waits for ever."""
HANG = object()


class Scripted:
    """Stands for a session."""

    def __init__(self, script: Script, is_connected: bool = True) -> None:
        self.script = list(script)
        self.is_connected = is_connected
        self.asked: list[tuple[Any, ...]] = []
        self.ended = 0

    async def connected(self, within_s: float) -> bool:
        return self.is_connected

    async def ask(self, request: str, *arguments: Any, **named: Any) -> Any:
        expected, answer = self.script.pop(0)
        assert request == expected, f"{request} {arguments} was asked, {expected} expected"
        self.asked.append((request, *arguments, named))
        if answer is HANG:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def end(self) -> None:
        self.ended += 1


def client_of(sessions: list[Scripted], interface: str, is_synced: bool = False) -> ZooKeeperClient:
    waiting = iter(sessions)
    return ZooKeeperClient(
        {"n1": {"client": Address("127.0.0.1", 1)}},
        interface=interface,
        is_synced=is_synced,
        session_timeout_s=1.0,
        open_session=lambda server, timeout_s: next(waiting),
    )


def outcomes(interface: str, calls: Sequence[Call], script: Script, is_synced: bool = False) -> list[Outcome]:
    async def ask() -> list[Outcome]:
        session = Scripted(script)
        client = client_of([session], interface, is_synced)
        found = [await client.call(call, "n1") for call in calls]
        await client.close()
        assert not session.script, f"never asked: {session.script}"
        assert session.ended == 1
        return found

    return asyncio.run(ask())


def stat(version: int = 0, czxid: int = 0) -> SimpleNamespace:
    return SimpleNamespace(version=version, czxid=czxid)


READ, WRITE, CAS = Call("read", 1), Call("write", 1, 2), Call("cas", 1, [1, 2])
ENQUEUE, DEQUEUE = Call("enqueue", 1, 7), Call("dequeue", 1)
ACQUIRE, RELEASE = Call("acquire", 1, 3), Call("release", 1, 3)
MISMATCH = Outcome("fail", [1, 2], "cas-mismatch", is_refused=True)
HELD = Outcome("fail", 3, "held", is_refused=True)
NOT_HELD = Outcome("fail", 3, "not-held", is_refused=True)
MADE = ("/lock/1/l-0000000004", stat(czxid=12))


@pytest.mark.parametrize(
    ("interface", "call", "script", "expected"),
    [
        ("kv", READ, [("get", (b"5", stat()))], Outcome("ok", 5)),
        ("kv", READ, [("get", NoNodeError())], Outcome("ok", None)),
        ("kv", WRITE, [("set", stat(4))], Outcome("ok", 2)),
        ("kv", WRITE, [("set", NoNodeError()), ("create", "/kv/1")], Outcome("ok", 2)),
        ("kv", WRITE, [("set", NoNodeError()), ("create", NodeExistsError()), ("set", stat(1))], Outcome("ok", 2)),
        ("kv", CAS, [("get", (b"1", stat(4))), ("set", stat(5))], Outcome("ok", [1, 2])),
        ("kv", CAS, [("get", (b"3", stat(4)))], MISMATCH),
        ("kv", CAS, [("get", NoNodeError())], MISMATCH),
        ("kv", CAS, [("get", (b"1", stat(4))), ("set", BadVersionError())], MISMATCH),
        ("kv", Call("cas", 1, [None, 2]), [("create", "/kv/1")], Outcome("ok", [None, 2])),
        ("queue", ENQUEUE, [("create", "/queue/1/e-0000000000")], Outcome("ok", 7)),
        ("queue", ENQUEUE, [("create", NoNodeError()), ("create", "/queue/1"), ("create", "")], Outcome("ok", 7)),
        ("queue", DEQUEUE, [("sync", "/"), ("get_children", NoNodeError())], Outcome("ok", None)),
        ("queue", DEQUEUE, [("sync", "/"), ("get_children", [])], Outcome("ok", None)),
        (
            "queue",
            DEQUEUE,
            [
                ("sync", "/"),
                ("get_children", ["e-0000000002", "e-0000000001"]),
                ("get", NoNodeError()),
                ("get", (b"8", stat())),
                ("delete", True),
            ],
            Outcome("ok", 8),
        ),
        (
            "queue",
            DEQUEUE,
            [
                ("sync", "/"),
                ("get_children", ["e-0000000001"]),
                ("get", (b"7", stat())),
                ("delete", NoNodeError()),
                ("sync", "/"),
                ("get_children", []),
            ],
            Outcome("ok", None),
        ),
        ("lock", ACQUIRE, [("create", MADE), ("get_children", ["l-0000000004"])], Outcome("ok", 12)),
        (
            "lock",
            ACQUIRE,
            [("create", MADE), ("get_children", ["l-0000000004", "l-0000000003"]), ("delete", True)],
            HELD,
        ),
    ],
)
def test_answers_become_an_outcome(interface: str, call: Call, script: Script, expected: Outcome) -> None:
    assert outcomes(interface, [call], script) == [expected]


def test_a_read_with_sync_syncs_first() -> None:
    assert outcomes("kv", [READ], [("sync", "/"), ("get", (b"5", stat()))], is_synced=True) == [Outcome("ok", 5)]


def test_cas_asks_for_the_version_with_which_its_expected_value_was_seen() -> None:
    async def ask() -> None:
        session = Scripted(
            [("get", (b"1", stat(4))), ("set", stat(5)), ("set", BadVersionError()), ("get", (b"9", stat(8)))]
        )
        client = client_of([session], "kv")
        await client.call(READ, "n1")
        assert (await client.call(CAS, "n1")).type == "ok"
        assert (await client.call(Call("cas", 1, [2, 3]), "n1")).type == "fail"
        # What was refused is not believed again.
        assert (await client.call(Call("cas", 1, [2, 4]), "n1")).type == "fail"
        assert [asked[3]["version"] for asked in session.asked if asked[0] == "set"] == [4, 5]
        await client.close()

    asyncio.run(ask())


def test_a_version_that_is_seen_late_does_not_hide_a_newer_one() -> None:
    client = client_of([], "kv")
    client._note("/kv/1", "new", 7)
    client._note("/kv/1", "old", 6)
    assert client._seen["/kv/1"] == ("new", 7)
    for number in range(200):
        client._note(f"/kv/{number}", 0, 9)
    assert len(client._seen) == 100


@pytest.mark.parametrize(("call", "expected"), [(READ, "fail"), (WRITE, "info"), (CAS, "info")])
def test_an_expired_session_leaves_it_open_whether_it_happened(call: Call, expected: str) -> None:
    first = "set" if call is WRITE else "get"
    script: list[tuple[str, Any]] = [(first, SessionExpiredError())]
    (found,) = outcomes("kv", [call], script)
    assert (found.type, found.error) == (expected, "SessionExpiredError")


def test_a_lost_connection_leaves_it_open_and_ends_the_session() -> None:
    async def ask() -> None:
        lost, fresh = Scripted([("set", ConnectionLoss())]), Scripted([("set", stat())])
        client = client_of([lost, fresh], "kv")
        with pytest.raises(ConnectionError):
            await client.call(WRITE, "n1")
        assert (await client.call(WRITE, "n1")).type == "ok"
        await client.close()
        assert (lost.ended, fresh.ended) == (1, 1)

    asyncio.run(ask())


def test_a_call_that_takes_too_long_holds_up_no_other() -> None:
    async def ask() -> None:
        hanging, fresh = Scripted([("set", HANG)]), Scripted([("get", (b"5", stat()))])
        client = client_of([hanging, fresh], "kv")
        slow = asyncio.create_task(client.call(WRITE, "n1"))
        await asyncio.sleep(0)
        assert await client.call(READ, "n1") == Outcome("ok", 5)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        await client.close()
        assert (hanging.ended, fresh.ended) == (1, 1)

    asyncio.run(ask())


def test_without_a_session_nothing_was_sent() -> None:
    async def ask() -> None:
        session = Scripted([], is_connected=False)
        client = client_of([session], "kv")
        assert await client.call(WRITE, "n1") == Outcome("fail", 2, ["not-sent", "no session with n1"])
        assert session.ended == 0  # It goes on trying to connect.
        await client.close()

    asyncio.run(ask())


TAKEN = [("create", MADE), ("get_children", ["l-0000000004"])]


def test_a_lock_is_released_in_the_session_that_holds_it() -> None:
    async def ask() -> None:
        holder, other = (
            Scripted([*TAKEN, ("delete", True)]),
            Scripted([("create", MADE), ("get_children", ["l-1"]), ("delete", 1)]),
        )
        client = client_of([holder, other], "lock")
        assert await client.call(ACQUIRE, "n1") == Outcome("ok", 12)
        assert (await client.call(Call("acquire", 1, 4), "n1")).error == "held"
        assert await client.call(Call("release", 1, 4), "n1") == Outcome("fail", 4, "not-held", is_refused=True)
        assert await client.call(RELEASE, "n1") == Outcome("ok", 3)
        assert await client.call(RELEASE, "n1") == NOT_HELD
        assert holder.asked[-1][:2] == ("delete", MADE[0])
        await client.close()
        assert (holder.ended, other.ended) == (1, 1)

    asyncio.run(ask())


def test_a_lock_whose_session_expired_is_not_held_any_more() -> None:
    assert outcomes("lock", [ACQUIRE, RELEASE], [*TAKEN, ("delete", NoNodeError())]) == [Outcome("ok", 12), NOT_HELD]


def test_a_lock_whose_owner_is_cut_off_stays_held_and_is_lost_when_the_session_expires() -> None:
    async def ask() -> None:
        cut_off, fresh = Scripted(TAKEN), Scripted(TAKEN)
        client = client_of([cut_off, fresh], "lock")
        await client.call(ACQUIRE, "n1")
        cut_off.is_connected = False
        assert await client.call(RELEASE, "n1") == Outcome("fail", 3, ["not-sent", "no session with n1"])
        assert await client.call(ACQUIRE, "n1") == Outcome("ok", 12)
        assert cut_off.ended == 0  # Behind the caller's back.
        await client.close()
        assert (cut_off.ended, fresh.ended) == (1, 1)

    asyncio.run(ask())


def test_a_release_in_doubt_ends_the_session_so_that_the_lock_is_free_in_the_end() -> None:
    async def ask() -> None:
        holder = Scripted([*TAKEN, ("delete", ConnectionLoss())])
        client = client_of([holder], "lock")
        await client.call(ACQUIRE, "n1")
        with pytest.raises(ConnectionError):
            await client.call(RELEASE, "n1")
        await client.close()
        assert holder.ended == 1

    asyncio.run(ask())


def test_an_op_that_the_interface_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="the interface kv of zookeeper has no append"):
        outcomes("kv", [Call("append", 1, 2)], [])


SERVING = """Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC
Latency min/avg/max: 0/0.0/0
Zxid: 0x300000002
Mode: leader
Node count: 5
"""


def test_the_answer_of_a_server_says_its_role_and_its_epoch() -> None:
    assert parse_status(SERVING) == {"role": "leader", "zxid": 0x300000002, "term": 3}
    looking = parse_status("This ZooKeeper instance is not currently serving requests\n")
    assert looking == {"role": "looking", "zxid": 0, "term": 0}
    with pytest.raises(ValueError, match="no status: 'srvr is not executed"):
        parse_status("srvr is not executed because it is not in the whitelist.\n")


def test_the_leader_of_the_latest_epoch_is_the_primary() -> None:
    statuses = {
        "n1": {"role": "leader", "term": 1},
        "n2": {"role": "leader", "term": 2},
        "n3": {"role": "follower", "term": 2},
    }
    assert TARGET.primary(statuses) == "n2"
    assert TARGET.primary({"n3": statuses["n3"]}) is None


def configuration(listen_host: str) -> list[str]:
    ports = ("client", "quorum", "election")
    nodes = {f"n{n}": {name: Address(f"127.1.1.{n}", 10 * n + i) for i, name in enumerate(ports)} for n in (1, 2, 3)}
    listen = {name: Address(listen_host, 90 + i) for i, name in enumerate(ports)}
    place = Place("n2", nodes["n2"] if listen_host == "127.1.1.2" else listen, nodes, "/c", "/d", "/l", "python3", "1")
    return TARGET.files(place, ZooKeeperOptions(), frozenset())["zoo.cfg"].splitlines()


def test_every_server_is_named_by_the_address_that_others_dial() -> None:
    found = configuration("127.1.1.2")
    assert [line for line in found if line.startswith("server.")] == [
        "server.1=127.1.1.1:11:12",
        "server.2=127.1.1.2:21:22",
        "server.3=127.1.1.3:31:32",
    ]
    assert "clientPortAddress=127.1.1.2" in found


def test_a_server_that_others_dial_elsewhere_tells_them_no_address_of_its_own() -> None:
    assert "server.2=0.0.0.0:91:92" in configuration("127.0.0.1")


def test_a_time_out_of_sessions_that_no_server_grants_is_refused() -> None:
    with pytest.raises(
        ValueError, match="session_timeout_ms is 9000, and servers whose tick_ms is 200 grant 400 to 4000"
    ):
        TARGET.topology(["n1", "n2", "n3"], msgspec.convert({"session_timeout_ms": 9000}, ZooKeeperOptions))


@pytest.mark.parametrize(
    ("interface", "reads", "claim"),
    [
        ("kv", "plain", "sequential"),
        ("kv", "sync", "linearizable"),
        ("lock", "plain", "linearizable"),
        ("queue", "plain", "linearizable"),
    ],
)
def test_what_is_claimed_follows_from_how_values_are_read(interface: str, reads: str, claim: str) -> None:
    assert TARGET.claimed_model(interface, msgspec.convert({"reads": reads}, ZooKeeperOptions)) == claim
