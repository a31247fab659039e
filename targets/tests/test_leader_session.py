"""What a client of a replicated machine asks, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from targets.leader_session import REDIRECTS_MAX, LeaderSession
from targets.machines.counter import CounterMachine
from targets.machines.fifo_queue import QueueMachine
from targets.machines.kv import Cas, KvMachine, Read, Txn, Write
from targets.machines.lock import LockMachine
from targets.machines.machine import Answer
from targets.session import Ask, Call, NoReply, Outcome

READ, WRITE, CAS = Call("read", "x"), Call("write", "x", 1), Call("cas", "x", [1, 2])


@pytest.mark.parametrize(
    ("call", "reply", "outcome"),
    [
        (READ, Answer("ok", 7), Outcome("ok", 7)),
        (READ, Answer("ok"), Outcome("ok", None)),
        (WRITE, Answer("ok"), Outcome("ok", 1)),
        (CAS, Answer("ok"), Outcome("ok", [1, 2])),
        (CAS, Answer("refused", reason="cas-mismatch"), Outcome("fail", [1, 2], "cas-mismatch", is_refused=True)),
        (WRITE, Answer("superseded"), Outcome("fail", 1, "superseded")),
        (READ, Answer("superseded"), Outcome("fail", None, "superseded")),
        (WRITE, Answer("unknown"), Outcome("info", 1, "unknown")),
        (CAS, Answer("unknown"), Outcome("info", [1, 2], "unknown")),
        (READ, Answer("unknown"), Outcome("fail", None, "unknown")),
        (WRITE, Answer("not-leader"), Outcome("fail", 1, "no-leader")),
        (WRITE, Answer("not-leader", leader="n2"), Ask(Write("x", value=1), "n2")),
        (READ, Answer("not-leader", leader="n2"), Ask(Read("x"), "n2")),
        (WRITE, NoReply("not-sent"), Outcome("fail", 1, "not-sent")),
        (WRITE, NoReply("timeout"), Outcome("info", 1, "timeout")),
        (CAS, NoReply("reset", "by peer"), Outcome("info", [1, 2], ["reset", "by peer"])),
        (WRITE, NoReply("bad-reply"), Outcome("info", 1, "bad-reply")),
        (READ, NoReply("timeout"), Outcome("fail", None, "timeout")),
        (READ, NoReply("bad-reply"), Outcome("fail", None, "bad-reply")),
    ],
)
def test_outcomes(call: Call, reply: Answer[Any] | NoReply, outcome: Outcome | Ask) -> None:
    session = LeaderSession(KvMachine)
    session.begin(call)
    assert session.on_reply(reply) == outcome


def test_the_first_question_is_the_command_that_the_call_names() -> None:
    session = LeaderSession(KvMachine)
    assert session.begin(READ) == Ask(Read("x"))
    assert session.begin(WRITE) == Ask(Write("x", value=1))
    assert session.begin(CAS) == Ask(Cas("x", value=(1, 2)))
    assert session.begin(Call("txn", None, [["r", 1, None], ["w", "a", 2]])) == Ask(
        Txn(value=(("r", 1, None), ("w", "a", 2)))
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("increment", "x"), "f: 'increment' is none of append, cas, read, txn, write"),
        (Call("cas", "x", 1), r"\$.value"),
        (Call("cas", "x", [1, 2, 3]), r"\$.value"),
        (Call("read", ["x"]), r"\$.key"),
        (Call("read", "x", 1), "value"),
        (Call("txn", None, []), r"\$.value"),
        (Call("txn", None, [["del", 1, None]]), r"\$.value"),
    ],
)
def test_a_call_that_is_no_command_is_refused_and_the_field_named(call: Call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LeaderSession(KvMachine).begin(call)


@pytest.mark.parametrize(
    ("machine", "call", "result", "value"),
    [
        (QueueMachine, Call("dequeue", 1), 7, 7),
        (QueueMachine, Call("dequeue", 1), None, None),
        (QueueMachine, Call("enqueue", 1, 7), None, 7),
        (LockMachine, Call("acquire", 1, 4), 12, 12),
        (LockMachine, Call("release", 1, 4), None, 4),
        (CounterMachine, Call("read", 1), 0, 0),
        (KvMachine, Call("txn", None, [["r", 1, None]]), [["r", 1, 5]], [["r", 1, 5]]),
    ],
)
def test_an_ok_op_has_the_result_and_where_there_is_none_what_was_asked(
    machine: Any, call: Call, result: Any, value: Any
) -> None:
    session = LeaderSession(machine)
    session.begin(call)
    assert session.on_reply(Answer("ok", result)) == Outcome("ok", value)


def test_a_transaction_of_reads_has_failed_when_nobody_answered_and_one_that_writes_may_have_happened() -> None:
    session = LeaderSession(KvMachine)
    for step, ended in ((["r", 1, None], "fail"), (["append", 1, 2], "info")):
        session.begin(Call("txn", None, [step]))
        outcome = session.on_reply(NoReply("timeout"))
        assert isinstance(outcome, Outcome)
        assert outcome.type == ended


def test_nodes_that_send_a_client_round_in_a_circle_are_left() -> None:
    session = LeaderSession(KvMachine)
    session.begin(WRITE)
    asks = [session.on_reply(Answer("not-leader", leader=f"n{number % 2}")) for number in range(REDIRECTS_MAX + 1)]
    assert [isinstance(ask, Ask) for ask in asks] == [True] * REDIRECTS_MAX + [False]
    assert asks[-1] == Outcome("fail", 1, "not-leader")
    session.begin(WRITE)
    assert session.on_reply(Answer("not-leader", leader="n2")) == Ask(Write("x", value=1), "n2")
