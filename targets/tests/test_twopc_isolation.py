"""What transactions see of each other at one shard and over several: locks, levels of isolation, and the bank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from targets.machines import bank
from targets.machines.kv import Append, Txn, Write
from targets.machines.machine import Refused
from targets.tests.paxos_stage import Letter, Stage, of_type
from targets.tests.twopc_stage import at_rest, both, core, from_to, reads, stage, timer_of_kind, voted
from targets.twopc import messages as told
from targets.twopc.locks import LockTable, Wanted
from targets.twopc.messages import TxnAnswer
from targets.twopc.store import Store, TooOld

# --- locks ------------------------------------------------------------------------------------------------------------


def test_wait_die_lets_the_older_wait_and_the_younger_give_up() -> None:
    on = stage(coordinators=("c", "d"))
    older = on.ask("c", Write(key="x", value=1))
    first = on.lose()
    younger = on.ask("d", Txn(value=(("w", "x", 2), ("w", "y", 2))))  # The number 1 too, and the later name.
    on.deliver(of_type(told.Prepare))
    on.hand_over(first[0])
    assert core(on, "p").status()["waiting_for_locks"] == 1
    on.deliver()
    assert (on.replies[older].status, on.replies[younger].status) == ("ok", "ok")
    on.ask("c", Write(key="x", value=3))
    on.deliver(of_type(told.Prepare))
    dies = on.ask("c", Write(key="x", value=4))
    on.deliver()
    assert on.replies[dies] == TxnAnswer("aborted", reason="locked by an older transaction")


def test_with_time_outs_everybody_waits_until_it_is_over() -> None:
    on = stage(locks="timeout")
    on.ask("c", Write(key="x", value=1))
    on.deliver(of_type(told.Prepare))
    number = on.ask("c", Write(key="x", value=2))
    on.deliver(of_type(told.Prepare))
    on.fire("p", timer_of_kind(on, "p", "lock"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="waited too long for a lock")
    assert at_rest(on)


def test_nobody_overtakes_one_that_waits_for_the_same_key() -> None:
    table = LockTable()
    table.hold(Wanted((3, "c"), ("x",), ()))
    table.wait(Wanted((2, "c"), (), ("x",)))
    assert table.conflicts(Wanted((1, "c"), ("x",), ())) == ((2, "c"),)
    assert table.conflicts(Wanted((1, "c"), ("y",), ())) == ()
    table.release((3, "c"))
    assert table.conflicts(Wanted((2, "c"), (), ("x",))) == ()


# --- levels -----------------------------------------------------------------------------------------------------------


def test_a_snapshot_does_not_see_what_commits_after_it() -> None:
    on = stage(isolation="snapshot")
    on.ask("c", both(1))
    on.deliver()
    number = on.ask("c", reads())
    late = on.lose(from_to("c", "q"))
    on.deliver()
    on.ask("c", both(2))
    on.deliver()
    on.hand_over(late[0])
    on.deliver()
    assert on.replies[number].result == [["r", "x", [1]], ["r", "y", [1]]]


def test_the_second_of_two_writers_with_overlapping_snapshots_aborts() -> None:
    on = stage(isolation="snapshot")
    number = on.ask("c", Append(key="x", value=1))
    late = on.lose()
    on.ask("c", Append(key="x", value=2))
    on.deliver()
    on.hand_over(late[0])
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="another wrote first")


def test_read_committed_reads_past_locks_and_never_what_is_prepared() -> None:
    on = stage(isolation="read-committed")
    voted(on)
    number = on.ask("c", reads())
    on.deliver(_of_number(2))
    assert on.replies[number].result == [["r", "x", None], ["r", "y", None]]


def _of_number(number: int) -> Callable[[Letter], bool]:
    return lambda letter: getattr(letter[2], "txn", (0, ""))[0] == number


def test_a_store_that_has_dropped_a_version_says_so() -> None:
    store = Store(2)
    for at in (2, 4, 6):
        store.put("x", at, at)
    assert (store.at("x", 5), store.newest("x"), store.written_at("x")) == (4, 6, 6)
    with pytest.raises(TooOld):
        store.at("x", 3)
    assert store.at("y", 3) is None


# --- the bank ---------------------------------------------------------------------------------------------------------


def _bank(on: Stage, command: Any) -> TxnAnswer:
    number = on.ask("c", command)
    on.deliver()
    answer = on.replies[number]
    assert isinstance(answer, TxnAnswer)
    return answer


def test_a_bank_over_shards_answers_as_the_machine_does() -> None:
    on, machine = stage(), bank.BankMachine()
    there = bank.Transfer(value=bank.Transferred("x", "y", 7))
    commands: list[Any] = [bank.Read(), there, bank.Open(value={"x": 10}), there, bank.Open(value={"x": 99, "y": 1})]
    for command in [*commands, there, bank.Read(), there, bank.Read()]:
        result, answer = machine.apply(command), _bank(on, command)
        if isinstance(result, Refused):
            assert answer == TxnAnswer("refused", reason=result.reason)
        else:
            assert answer == TxnAnswer("ok", result)
    assert at_rest(on)


def test_no_scan_misses_an_account_that_is_being_opened() -> None:
    on = stage(locks="timeout")
    on.ask("c", bank.Open(value={"x": 1, "y": 1}))
    on.deliver(of_type(told.Prepare))
    number = on.ask("c", bank.Read())
    on.deliver(of_type(told.Prepare))
    assert core(on, "p").status()["waiting_for_locks"] == 1
    on.deliver()
    assert on.replies[number] == TxnAnswer("ok", {"x": 1, "y": 1})
