"""A node passes on what another must serve: once, to a node that is there, and only what was certainly not carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from targets import gateway
from targets.gateway import UNKNOWN, Gateway
from targets.transport import Disconnected, Response

DONE = b'{"status":"ok","result":5}'
REFUSED = b'{"status":"not-leader"}'
SENT_TO_N2 = b'{"status":"not-leader","leader":"n2"}'
HERE = Response(200, b"{}")


class Scene:
    """A node whose core gives `own` one after another, the last for ever, and whose peers answer as `peers` says."""

    def __init__(self, own: Sequence[bytes], *peers: Response | Exception) -> None:
        self.own = list(own)
        self.peers = list(peers)
        self.asked: list[tuple[str, bytes | None]] = []

    async def core(self, _body: bytes) -> bytes:
        return self.own.pop(0) if len(self.own) > 1 else self.own[0]

    async def ask(self, peer: str, body: bytes | None) -> Response | Exception:
        self.asked.append((peer, body))
        return self.peers.pop(0)

    def answer(self) -> bytes:
        async def carried() -> bytes:
            carrier = Gateway(("n2", "n3"), self.core, self.ask)
            return await carrier.carry(b"body", self.core(b"body"))

        return asyncio.run(carried())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PAUSE_S", 0.0)


@pytest.mark.parametrize("own", [DONE, b'{"status":"refused","reason":"held"}', UNKNOWN, b"[1]", b'{"value":1}'])
def test_what_this_node_served_is_the_answer(own: bytes) -> None:
    scene = Scene([own])
    assert scene.answer() == own
    assert scene.asked == []


def test_the_leader_is_asked_when_it_has_answered_another_question() -> None:
    scene = Scene([SENT_TO_N2], HERE, Response(200, DONE))
    assert scene.answer() == DONE
    assert scene.asked == [("n2", None), ("n2", b"body")]


def test_a_leader_that_is_gone_is_not_sent_the_request() -> None:
    scene = Scene([SENT_TO_N2, REFUSED, DONE], Disconnected("gone"))
    assert scene.answer() == DONE
    assert scene.asked == [("n2", None)]


def test_one_that_leads_no_more_has_certainly_not_done_it() -> None:
    scene = Scene(
        [SENT_TO_N2, b'{"status":"not-leader","leader":"n3"}'],
        HERE,
        Response(200, REFUSED),
        HERE,
        Response(200, DONE),
    )
    assert scene.answer() == DONE
    assert [peer for peer, body in scene.asked if body] == ["n2", "n3"]


@pytest.mark.parametrize("lost", [Disconnected("gone"), TimeoutError("late"), Response(504, b"{}")])
def test_a_request_that_was_sent_and_not_answered_is_not_sent_again(lost: Response | Exception) -> None:
    scene = Scene([SENT_TO_N2], HERE, lost)
    assert scene.answer() == UNKNOWN
    assert scene.asked == [("n2", None), ("n2", b"body")]


def test_without_a_leader_the_refusal_comes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PATIENCE_S", 0.01)
    assert Scene([REFUSED]).answer() == REFUSED
    assert Scene([b'{"status":"not-leader","leader":"n9"}']).answer().startswith(b'{"status":"not-leader"')
