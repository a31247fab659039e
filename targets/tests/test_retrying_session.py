"""What a client asks that asks again until it knows, and how its ops end."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from harness.clients.sessions import ASKS_MAX
from targets.machines.kv import KvMachine, Read, Write
from targets.machines.machine import Answer
from targets.machines.sessions import SESSION_ENDED, InSession, OpenSession
from targets.retrying_session import OPEN, RetryingSession
from targets.session import Ask, Call, NoReply, Outcome

NODES = ("n2", "n3", "n1")
READ, WRITE = Call("read", "x"), Call("write", "x", 1)
LATE = NoReply("late")


def command(session: int, number: int) -> InSession[Write]:
    return InSession(session=session, number=number, command=Write("x", value=1))


def opened(session: int = 7) -> RetryingSession:
    """In the middle of its first op: n3 has opened the session, and is asked to write."""
    client = RetryingSession(KvMachine, NODES)
    assert where(client.begin(WRITE)) == (OpenSession(), "n2")
    assert where(client.on_reply(Answer("not-leader", leader="n3"))) == (OPEN, "n3")
    assert where(client.on_reply(Answer("ok", session))) == (command(session, 1), "n3")
    return client


def where(ask: Ask | Outcome) -> tuple[Any, str | None]:
    assert isinstance(ask, Ask), ask
    return ask.body, ask.node


@pytest.mark.parametrize(
    "lost", [LATE, NoReply("reset"), NoReply("bad-reply"), Answer("unknown"), Answer("superseded")]
)
def test_a_command_whose_fate_is_not_known_is_asked_again_elsewhere_under_its_number(lost: Any) -> None:
    client = opened()
    assert where(client.on_reply(lost)) == (command(7, 1), "n1")
    assert where(client.on_reply(Answer("not-leader", leader="n3"))) == (command(7, 1), "n3")
    assert client.on_reply(Answer("ok")) == Outcome("ok", 1)
    assert where(client.begin(WRITE)) == (command(7, 2), "n2")


def test_a_refusal_tells_how_a_command_ended_also_when_it_was_asked_before() -> None:
    client = opened()
    client.on_reply(LATE)
    refused: Answer[Any] = Answer("refused", reason="cas-mismatch")
    assert client.on_reply(refused) == Outcome("fail", 1, "cas-mismatch", is_refused=True)


@pytest.mark.parametrize("before", [[], [Answer("not-leader")], [LATE]])
def test_when_its_time_is_over_a_command_under_way_is_indeterminate(before: list[Any]) -> None:
    client = opened()
    for reply in before:
        client.on_reply(reply)
    assert client.on_reply(NoReply("timeout")) == Outcome("info", 1, "timeout")


def test_an_op_that_got_no_further_than_its_session_has_failed() -> None:
    client = RetryingSession(KvMachine, NODES)
    client.begin(WRITE)
    assert where(client.on_reply(LATE)) == (OPEN, "n3")
    assert client.on_reply(NoReply("timeout")) == Outcome("fail", 1, "timeout")


def test_a_read_is_asked_again_without_a_session_and_fails_at_the_end() -> None:
    client = RetryingSession(KvMachine, NODES)
    assert where(client.begin(READ)) == (Read("x"), "n2")
    assert where(client.on_reply(LATE)) == (Read("x"), "n3")
    assert client.on_reply(NoReply("timeout")) == Outcome("fail", None, "timeout")


def test_a_session_that_ended_is_opened_anew_where_no_command_is_in_doubt() -> None:
    client = opened()
    ended: Answer[Any] = Answer("refused", reason=SESSION_ENDED)
    assert where(client.on_reply(ended)) == (OPEN, "n1")
    assert where(client.on_reply(Answer("ok", 9))) == (command(9, 1), "n1")
    assert client.on_reply(Answer("ok")) == Outcome("ok", 1)


def test_a_session_that_ended_leaves_a_command_in_doubt_indeterminate() -> None:
    client = opened()
    client.on_reply(LATE)
    assert client.on_reply(Answer("refused", reason=SESSION_ENDED)) == Outcome("info", 1, SESSION_ENDED)


def test_patience_and_pauses_grow() -> None:
    client = opened()
    asks = [ask for _ in range(6) if isinstance(ask := client.on_reply(LATE), Ask)]
    patience = [ask.patience_s or 0.0 for ask in asks]
    pauses = [ask.pause_s for ask in asks]
    assert len(asks) == 6
    assert patience == sorted(patience)
    assert pauses == sorted(pauses)
    assert min(*patience, *pauses) > 0


@pytest.mark.parametrize(("first", "type"), [(NoReply("not-sent"), "fail"), (LATE, "info")])
def test_it_gives_up_long_before_the_harness_would(first: NoReply, type: Literal["fail", "info"]) -> None:
    client = opened()
    answer: Ask | Outcome = client.on_reply(first)
    for _ in range(ASKS_MAX - 4):
        if isinstance(answer, Outcome):
            break
        answer = client.on_reply(Answer("not-leader", leader="n1"))
    assert answer == Outcome(type, 1, "no-leader")
