"""Each command of a session is carried out once (Ongaro's dissertation, section 6.3)."""

from __future__ import annotations

from typing import Any

import msgspec

from targets.machines.counter import Add, CounterMachine, Read
from targets.machines.kv import Cas, KvMachine
from targets.machines.machine import Machine, Refused
from targets.machines.sessions import (
    NUMBER_PAST,
    SESSION_ENDED,
    InSession,
    OpenSession,
    SessionMachine,
    session_commands,
)


def add(session: int, number: int, value: int = 1) -> InSession[Add]:
    return InSession(session=session, number=number, command=Add(value=value))


def counting(sessions_max: int = 10, opened_count: int = 1, **planted: bool) -> SessionMachine:
    machine = SessionMachine(CounterMachine(), sessions_max, **planted)
    assert [machine.apply(OpenSession()) for _ in range(opened_count)] == list(range(1, opened_count + 1))
    return machine


def copied(machine: SessionMachine, inner: Machine, sessions_max: int = 10) -> SessionMachine:
    """Another replica that starts from the snapshot."""
    copy = SessionMachine(inner, sessions_max)
    copy.restore(msgspec.json.decode(msgspec.json.encode(machine.snapshot())))
    return copy


def test_a_command_that_comes_again_changes_nothing_and_has_the_answer_that_it_had() -> None:
    machine = SessionMachine(KvMachine(), 10)
    session = machine.apply(OpenSession())
    swap = InSession(session=session, number=1, command=Cas("x", value=(None, 1)))
    assert machine.apply(swap) is None
    assert machine.apply(swap) is None, "carried out anew, it would be refused"
    refused = InSession(session=session, number=2, command=Cas("x", value=(7, 8)))
    assert machine.apply(refused) == machine.apply(refused) == Refused("cas-mismatch")


def test_sessions_number_their_commands_each_for_itself() -> None:
    machine = counting(opened_count=2)
    for command in (add(1, 1), add(2, 1), add(1, 2), add(2, 1), add(1, 2)):
        machine.apply(command)
    assert machine.query(Read()) == 3


def test_an_earlier_command_that_comes_late_is_not_carried_out() -> None:
    machine = counting()
    machine.apply(add(1, 1))
    machine.apply(add(1, 2))
    assert machine.apply(add(1, 1)) == Refused(NUMBER_PAST)
    assert machine.query(Read()) == 2


def test_a_command_without_a_session_is_carried_out_as_often_as_it_comes() -> None:
    machine = counting()
    machine.apply(Add(value=1))
    machine.apply(Add(value=1))
    assert machine.query(Read()) == 2


def test_one_session_too_many_ends_the_one_that_was_used_least_lately() -> None:
    """§6.3: all servers must end the same one, and so it is by the log."""
    machine = counting(sessions_max=2, opened_count=2)
    machine.apply(add(1, 1))
    assert machine.apply(OpenSession()) == 3
    assert machine.apply(add(2, 1)) == Refused(SESSION_ENDED)
    machine.apply(add(1, 2))
    assert machine.query(Read()) == 2
    assert machine.apply(add(9, 1)) == Refused(SESSION_ENDED), "a session that there never was"


def test_a_command_that_comes_again_keeps_its_session_alive() -> None:
    machine = counting(sessions_max=2, opened_count=2)
    machine.apply(add(1, 1))
    machine.apply(add(2, 1))
    machine.apply(add(1, 1))
    machine.apply(OpenSession())
    assert machine.apply(add(2, 2)) == Refused(SESSION_ENDED)
    assert machine.apply(add(1, 1)) is None


def test_a_snapshot_holds_the_sessions_in_the_order_of_their_use() -> None:
    machine = SessionMachine(KvMachine(), 3)
    for _ in range(3):
        machine.apply(OpenSession())
    machine.apply(InSession(session=1, number=1, command=Cas("x", value=(5, 6))))
    copy = copied(machine, KvMachine(), 3)
    assert copy.snapshot() == machine.snapshot()
    for one in (machine, copy):
        assert one.apply(InSession(session=1, number=1, command=Cas("x", value=(None, 6)))) == Refused("cas-mismatch")
        assert one.apply(OpenSession()) == 4
    assert list(copy.snapshot()["sessions"]) == list(machine.snapshot()["sessions"])


def test_the_planted_bugs_carry_a_command_out_twice() -> None:
    twice = counting(checks_numbers=False)
    twice.apply(add(1, 1))
    twice.apply(add(1, 1))
    assert twice.query(Read()) == 2
    forgetful = counting(snapshots_answers=False)
    forgetful.apply(add(1, 1))
    forgetful.apply(add(1, 1))
    assert forgetful.query(Read()) == 1
    copy = copied(forgetful, CounterMachine())
    copy.apply(add(1, 1))
    assert copy.query(Read()) == 2


def test_its_commands_are_told_apart_on_the_wire() -> None:
    commands: Any = session_commands(CounterMachine.command_type)
    for command in (add(3, 4), OpenSession(), Add("k", value=2), Read()):
        assert msgspec.json.decode(msgspec.json.encode(command), type=commands) == command
